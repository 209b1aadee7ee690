"""One peer's features of pictures: ``PYTHON copies_alone.py PEER JOB.json``.

Runs under the Python that the peer is installed for, and so knows nothing of the repository but
for the peer ``builtin``. The job holds ``folder`` (nothing but the pictures), ``files`` (absolute)
and ``out``; written are OUT.npy (float32 vectors, or uint8 bits of hashes; a row a file) and
OUT.json (seconds of all cores, and on the clock, from files to features; imports and the loading
of a model count where the peer does both in one call).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def fastdup_features(job: dict[str, Any]) -> tuple[Any, dict[str, float]]:
    """What fastdup sees: its own features, run_mode 1; it finds the pictures below a folder."""
    import fastdup
    import numpy as np

    with tempfile.TemporaryDirectory() as place:
        clock = Clock()
        failed = fastdup.run(job["folder"], work_dir=place, run_mode=1, num_threads=1)
        times = clock.stop()
        if failed:
            sys.exit(f"fastdup.run returned {failed}")
        names, rows = fastdup.load_binary_feature(place + "/atrain_features.dat")
    place_of = {Path(name).name: row for row, name in enumerate(names)}
    found = [place_of.get(Path(name).name, -1) for name in job["files"]]
    features = np.zeros((len(found), rows.shape[1]), np.float32)
    for at, row in enumerate(found):
        if row >= 0:  # what it cannot read stays zero: like nothing
            features[at] = rows[row]
    return features, times


def imagehash_bits(job: dict[str, Any]) -> tuple[Any, dict[str, float]]:
    """The 64 bits of imagehash.phash."""
    import imagehash
    import numpy as np
    from PIL import Image

    clock = Clock()
    rows = []
    for name in job["files"]:
        with Image.open(name) as image:
            rows.append(imagehash.phash(image).hash.ravel())
    return np.array(rows, np.uint8), clock.stop()


def imagededup_bits(job: dict[str, Any], method: str) -> tuple[Any, dict[str, float]]:
    """The 64 bits of one of imagededup's hashes."""
    import imagededup.methods
    import numpy as np

    hasher = getattr(imagededup.methods, method)(verbose=False)
    clock = Clock()
    rows = [hasher.encode_image(image_file=name) for name in job["files"]]
    times = clock.stop()
    bits = [[int(bit) for bit in f"{int(row, 16):064b}"] for row in rows]
    return np.array(bits, np.uint8), times


def builtin_vectors(job: dict[str, Any]) -> tuple[Any, dict[str, float]]:
    """Winnow's embedder, file by file, as a caller would."""
    sys.path[0] = job["root"]
    import numpy as np
    from PIL import Image

    from stages.embedders import create_embedder

    embedder = create_embedder("builtin")
    embedder.load("cpu", 1)
    embedder.embed([Image.new("RGB", (64, 64))])
    clock = Clock()
    parts, size = [], 64
    for first in range(0, len(job["files"]), size):
        prepared = []
        for name in job["files"][first : first + size]:
            with Image.open(name) as image:
                prepared.append(embedder.prepare(image.convert("RGB")))
        parts.append(embedder.encode(prepared))
    return np.concatenate(parts), clock.stop()


class Clock:
    """Seconds since it was made, of all cores of the process and on the wall."""

    def __init__(self) -> None:
        self._wall, self._cores = time.perf_counter(), time.process_time()

    def stop(self) -> dict[str, float]:
        """Both, as the job's answer has them."""
        return {
            "wall": time.perf_counter() - self._wall,
            "cores": time.process_time() - self._cores,
        }


def main() -> None:
    """Compute and write."""
    import numpy as np

    peer = sys.argv[1]
    job = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    if peer == "builtin":
        features, times = builtin_vectors(job)
    elif peer == "fastdup":
        features, times = fastdup_features(job)
    elif peer == "imagehash phash":
        features, times = imagehash_bits(job)
    else:
        features, times = imagededup_bits(job, peer.split()[1])
    np.save(job["out"] + ".npy", features)
    Path(job["out"] + ".json").write_text(json.dumps(times), encoding="utf-8")


if __name__ == "__main__":
    main()
