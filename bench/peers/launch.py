"""Running one peer after the other, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.peers.base import Found, Job

ROOT = Path(__file__).resolve().parents[2]
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class PeerFailed(RuntimeError):  # noqa: N818 - it is no error of ours
    """A peer's process ended without an answer."""


@dataclass(frozen=True)
class Outcome:
    """What one run gave.

    Args:
        seconds: By phase, from vectors on disk to keepers on disk.
        cores: Seconds of all cores in all.
        peak: Highest resident memory in bytes, pages of mapped files included.
        found: The answer.
    """

    seconds: dict[str, float]
    cores: float
    peak: int
    found: Found


def run_peer(name: str, job: Job, openblas_core: str = "") -> Outcome:
    """Run a peer and wait for it.

    The vectors are read once before, so that every peer finds them in the page cache.

    Args:
        name: Of the peer.
        job: What it is to do, and where.
        openblas_core: Kernels that OpenBLAS is told to use; empty for its own choice. The one
            in FAISS's wheel may not know a newer processor, and then falls back to its slowest.

    Raises:
        PeerFailed: If it ends without an answer, with the end of what it printed.
    """
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    job.write(folder / "job.json")
    _warm(Path(job.vectors))
    environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(job.threads))}
    if openblas_core:
        environment["OPENBLAS_CORETYPE"] = openblas_core
    done = subprocess.run(
        [sys.executable, "-m", "bench.peers", name, str(folder / "job.json")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PeerFailed((done.stdout + done.stderr).strip()[-2000:])
    times = json.loads((folder / "times.json").read_text(encoding="utf-8"))
    found = Found.load(folder / "found.npz")
    (folder / "found.npz").unlink()
    return Outcome(times["seconds"], times["cores"], found.peak, found)


def _warm(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        room = bytearray(1 << 24)
        while file.readinto(room):
            pass
