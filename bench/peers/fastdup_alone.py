"""fastdup on a job's vectors: ``PYTHON fastdup_alone.py FOLDER`` with FOLDER/job.json.

Runs under the Python that fastdup is installed for, and so knows nothing of the repository.
Writes FOLDER/told.json (seconds by phase, peak memory) and leaves fastdup's files in FOLDER/work.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import fastdup
import numpy as np


def main() -> None:
    """Hand the vectors over as feature files, and run from there on."""
    place = Path(sys.argv[1])
    job = json.loads((place / "job.json").read_text(encoding="utf-8"))
    for name in ("in", "work"):
        (place / name).mkdir()
    started, cores = time.perf_counter(), time.process_time()
    rows = np.load(job["vectors"], mmap_mode="r")[: job["count"]].astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names = [f"{row:09d}.jpg" for row in range(len(rows))]
    fastdup.save_binary_feature(str(place / "work"), names, rows)
    handed = time.perf_counter()
    failed = fastdup.run(
        str(place / "in"),
        work_dir=str(place / "work"),
        run_mode=2,
        d=rows.shape[1],
        threshold=job["threshold"],
        num_threads=job["threads"],
        turi_param=f"nnmodel=0,ccthreshold={job['threshold']}",
    )
    seconds = {"load": handed - started, "run": time.perf_counter() - handed}
    cores = time.process_time() - cores
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    if not failed:
        told = json.dumps({"seconds": seconds, "cores": cores, "peak": peak})
        (place / "told.json").write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main()
