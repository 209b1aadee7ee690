"""Features of a set of pictures by every peer, each in a process of its own, on one thread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.peers.copysets import CopySet
from bench.peers.launch import ROOT, PeerFailed

OURS = "builtin"
FASTDUP = "fastdup"
HASHES = (
    "imagehash phash",
    "imagededup PHash",
    "imagededup DHash",
    "imagededup AHash",
    "imagededup WHash",
)
PEERS = (OURS, FASTDUP, *HASHES)

_SCRIPT = Path(__file__).with_name("copies_alone.py")
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


@dataclass(frozen=True)
class Features:
    """What a peer made of a set of pictures.

    Args:
        rows: Vectors, or bits of hashes (uint8): one row a picture.
        cores: Seconds of all cores, from files to features.
    """

    rows: NDArray[Any]
    cores: float

    @property
    def rate(self) -> float:
        """Pictures a second of one core."""
        return len(self.rows) / self.cores

    def similar(self) -> NDArray[np.float32]:
        """Similarity of all to all: cosine, or the share of bits that agree."""
        rows = self.rows.astype(np.float32)
        if self.rows.dtype == np.uint8:
            signs = 2 * rows - 1
            return (1 + signs @ signs.T / rows.shape[1]) / 2
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / np.where(lengths > 0, lengths, 1)
        # As stored in a corpus.
        rows = rows.astype(np.float16).astype(np.float32)
        return rows @ rows.T


def compute(peer: str, pictures: CopySet, python: str, work: Path) -> Features:
    """Run one peer.

    Args:
        peer: One of ``PEERS``.
        pictures: What it works on.
        python: The Python it is installed for.
        work: Where it may write.

    Raises:
        PeerFailed: If it ends without an answer, with the end of what it printed.
    """
    work.mkdir(parents=True, exist_ok=True)
    name = f"{pictures.name}-{peer}".replace(" ", "-")
    files = [str(path.absolute()) for path in pictures.files]
    job: dict[str, Any] = {
        "root": str(ROOT),
        "folder": os.path.commonpath(files),
        "files": files,
        "out": str((work / name).absolute()),
    }
    told = work / f"{name}.job.json"
    told.write_text(json.dumps(job), encoding="utf-8")
    # fastdup leaves files in the home folder, and reports runs unless told not to.
    environment = {**os.environ, **_ONE_THREAD, "SENTRY_OPT_OUT": "1"}
    if peer == FASTDUP:
        environment["HOME"] = str(work.absolute())
    done = subprocess.run(
        [python or sys.executable, str(_SCRIPT), peer, str(told)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not Path(job["out"] + ".npy").exists():
        raise PeerFailed(f"{peer}: {(done.stdout + done.stderr).strip()[-1500:]}")
    times = json.loads(Path(job["out"] + ".json").read_text(encoding="utf-8"))
    return Features(np.load(job["out"] + ".npy"), times["cores"])
