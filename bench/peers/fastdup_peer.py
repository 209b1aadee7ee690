"""fastdup's own nearest-neighbour run on the same vectors, as it ships.

https://github.com/visual-layer/fastdup, ``run_mode=2``: HNSW over given feature vectors, pairs
above the threshold, connected components of them. Its ``nearest_neighbors_k`` is left at its
default of 2, itself included. It runs under a Python of its own (``--fastdup-python``): the
package is closed, and wants older libraries than Winnow does. It is told to send no telemetry.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.csv as pc

from bench.peers.base import Clock, Found, Ints, Job, lowest_of_each, write_keepers

_SCRIPT = Path(__file__).with_name("fastdup_alone.py")


def run(job: Job, clock: Clock) -> Found:
    """Run fastdup in its own process and read its components and pairs.

    Raises:
        RuntimeError: If it fails, with the end of what it printed.
    """
    with tempfile.TemporaryDirectory(dir=job.folder) as place:
        Path(place, "job.json").write_text(json.dumps(vars(job)), encoding="utf-8")
        environment = {**os.environ, "SENTRY_OPT_OUT": "1", "HOME": place}
        done = subprocess.run(
            [job.fastdup_python, str(_SCRIPT), place],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        told = Path(place, "told.json")
        if not told.exists():
            raise RuntimeError(f"fastdup failed: {(done.stdout + done.stderr)[-2000:]}")
        answer = json.loads(told.read_text(encoding="utf-8"))
        for phase, seconds in answer["seconds"].items():
            clock.add(phase, seconds)
        clock.cores += answer["cores"]
        with clock("write"):
            labels = _components(Path(place, "work"), job.count)
            keep = lowest_of_each(labels)
            write_keepers(job.folder, labels, keep)
        src, dst = _pairs(Path(place, "work"))
    return Found(labels, keep, src, dst, peak=answer["peak"])


def _components(work: Path, count: int) -> Ints:
    table = pc.read_csv(work / "connected_components.csv")
    labels = np.arange(count, 2 * count, dtype=np.int64)  # a row it leaves out stands alone
    labels[table.column("__id").to_numpy()] = table.column("component_id").to_numpy()
    return labels


def _pairs(work: Path) -> tuple[Ints, Ints]:
    """The pairs of its list, which holds each in both directions."""
    table = pc.read_csv(work / "similarity.csv")
    ends = (table.column(name).to_pylist() for name in ("from", "to"))
    src, dst = (np.array([int(Path(name).stem) for name in names], np.int64) for names in ends)
    return np.minimum(src, dst), np.maximum(src, dst)
