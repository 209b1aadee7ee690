"""Winnow itself, through its public face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from bench.peers.base import Clock, Found, Job, peak_memory
from dedup import GraphOptions, find_duplicates

_WARM_UP = 4096


def run(job: Job, clock: Clock) -> Found:
    """``find_duplicates`` on the memory-mapped file, and its table as Parquet.

    Compiled kernels are loaded by a run on a few random rows before the clock starts; the
    peers' come compiled with their libraries.
    """
    options: dict[str, Any] = {"method": job.method, "threads": job.threads}
    if job.memory_gb:
        options["memory_gb"] = job.memory_gb
    graph = GraphOptions(**options)
    rows = job.rows()
    random = np.random.default_rng(0).standard_normal((_WARM_UP, rows.shape[1]))
    _ = find_duplicates(random.astype(np.float16), job.threshold, graph=graph).keep
    with clock("graph"):
        result = find_duplicates(rows, job.threshold, job.seed, floor=job.floor, graph=graph)
    with clock("solve"):
        labels, keep, witness = result.labels, result.keep, result.witness
    with clock("write"):
        pq.write_table(result.to_table(), Path(job.folder) / "keepers.parquet")
    peak = peak_memory()
    pairs = result.pairs()
    src, dst = (pairs.column(name).to_numpy() for name in ("src", "dst"))
    return Found(labels, keep, src, dst, witness=witness, peak=peak)
