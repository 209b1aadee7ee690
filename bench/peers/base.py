"""What every peer is given, and what it has to give back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Job:
    """One run of one peer.

    Args:
        vectors: An .npy file of unit rows, float16 (n, d), n at least ``count``.
        count: Rows that take part, from the first.
        folder: Where the peer may write, and writes its keepers.
        threads: Threads it may use.
        threshold: Cosine similarity from which two rows are near-copies.
        seed: Of whatever it draws.
        method: Of Winnow's neighbour graph.
        floor: Lowest similarity of Winnow's neighbour graph, at most ``threshold``.
        memory_gb: What Winnow's search aims to stay within, in GiB; 0 for its default.
        fastdup_python: The Python that fastdup is installed for; empty for none.
    """

    vectors: str
    count: int
    folder: str
    threads: int = 2
    threshold: float = 0.9
    seed: int = 0
    method: str = "cells"
    floor: float = 0.9
    memory_gb: float = 0.0
    fastdup_python: str = ""

    def rows(self) -> NDArray[np.float16]:
        """The vectors, memory-mapped, float16 (count, d)."""
        return np.load(self.vectors, mmap_mode="r")[: self.count]

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Job:
        """What ``write`` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Found:
    """What a peer decided.

    Args:
        labels: Cluster of each row, int64 (n,).
        keep: Which rows are kept, bool (n,).
        src: One end of each pair it found, int64 (p,); ``None`` where ``cell`` says it.
        dst: The other end, int64 (p,).
        cell: For peers that compare all rows of a cell: the cell of each row, int64 (n,).
        witness: Row that each removed row names, int64 (n,), -1 where kept; ``None`` for
            peers that name none.
        peak: Highest memory in bytes, where the peer measured it in a process of its own.
    """

    labels: Ints
    keep: Bools
    src: Ints | None = None
    dst: Ints | None = None
    cell: Ints | None = None
    witness: Ints | None = None
    peak: int = 0

    def save(self, path: Path) -> None:
        """Write the arrays to an .npz file."""
        arrays = {name: value for name, value in vars(self).items() if value is not None}
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Found:
        """What ``save`` wrote."""
        with np.load(path) as arrays:
            values: dict[str, Any] = {name: arrays[name] for name in arrays.files}
        return cls(**{**values, "peak": int(values["peak"])})


@dataclass
class Clock:
    """Seconds by phase, in the order of the phases, and seconds of all cores in all.

    On a machine that has other work, the seconds of the cores tell more than those of the wall.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    cores: float = 0.0

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Add the time spent inside to a phase."""
        started, cores = time.perf_counter(), time.process_time()
        yield
        self.add(phase, time.perf_counter() - started, time.process_time() - cores)

    def add(self, phase: str, seconds: float, cores: float = 0.0) -> None:
        """Add time to a phase."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds
        self.cores += cores


def unit_blocks(rows: NDArray[np.float16], step: int = 32_768) -> Iterator[tuple[int, Floats]]:
    """First row and unit rows, float32, of one block after the other."""
    for start in range(0, len(rows), step):
        yield start, unit(rows[start : start + step])


def unit(rows: NDArray[Any]) -> Floats:
    """Rows of unit length, float32; float16 rows are off by up to 2^-11 an entry."""
    wide = rows.astype(np.float32)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide


def lowest_of_each(labels: Ints) -> Bools:
    """Keep-one by the plainest policy: the lowest row of each cluster, bool (n,)."""
    _, first = np.unique(labels, return_index=True)
    keep = np.zeros(len(labels), dtype=np.bool_)
    keep[first] = True
    return keep


def write_keepers(folder: str, labels: Ints, keep: Bools) -> None:
    """What all peers have to leave on disk: row, cluster and keep, as Parquet."""
    rows = np.arange(len(labels), dtype=np.int64)
    table = pa.table({"row": rows, "cluster": labels, "keep": keep})
    pq.write_table(table, Path(folder) / "keepers.parquet")


def peak_memory() -> int:
    """Highest resident memory of this process in bytes, pages of mapped files included."""
    # Not ru_maxrss: that one starts with what the parent had when it started this process.
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM: peak memory is measured on Linux only")
