"""Single operations that dedup is made of, timed on this machine for a moment each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.plan.model import PRODUCT_EFFICIENCY, search_products

_BUDGET_S = 0.8
_BLOCK = 1024
_GPU_BLOCK = 8192
_DISK_BYTES = 128 << 20
_CHUNK_BYTES = 8 << 20
_NODES = 1_000_000
_EDGES = 2_000_000
#: More than one cell holds.
_PLANTED = 40_000
_WARM = 1000
_TOPICS, _CONCEPTS = 40, 2000
_LARGEST_GROUP = 1000
_DIGESTS = 200_000
_MIN_INNER = 16


def products(dim: int) -> dict[str, float]:
    """Multiply-adds and looks at results per second and core, for vectors of ``dim``.

    ``products`` are exact products of int8 codes, ``scan`` is the comparison of every product
    with a limit.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        codes = _codes(_BLOCK, dim, "cpu")
        result = torch._int_mm(codes, codes.T)
        scanned = result.numpy()
        limit = int(scanned.max()) // 2
        count = _BLOCK * _BLOCK
        return {
            "products": per_second(lambda: torch._int_mm(codes, codes.T), count * dim),
            "scan": per_second(lambda: np.flatnonzero(scanned.ravel() >= limit), count),
        }
    finally:
        torch.set_num_threads(threads)


def gpu_products(dim: int) -> dict[str, float]:
    """The same on the first CUDA device, per GPU."""
    import torch

    codes = _codes(_GPU_BLOCK, dim, "cuda")
    result = torch._int_mm(codes, codes.T)
    limit = int(result.max()) // 2
    count = _GPU_BLOCK * _GPU_BLOCK

    def timed(function: Callable[[], Any], amount: float) -> float:
        def call() -> None:
            function()
            torch.cuda.synchronize()

        return per_second(call, amount, time.perf_counter)

    return {
        "products@gpu": timed(lambda: torch._int_mm(codes, codes.T), count * dim),
        "scan@gpu": timed(lambda: torch.nonzero(result >= limit), count),
    }


def disk(folder: Path) -> dict[str, float]:
    """Bytes per second that the disk of a folder writes, synced, and reads, uncached."""
    block = np.random.default_rng(0).integers(0, 256, _CHUNK_BYTES, dtype=np.uint8).tobytes()
    file = folder / "disk"
    started = time.perf_counter()
    with file.open("wb") as stream:
        for _ in range(_DISK_BYTES // _CHUNK_BYTES):
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())
    written = time.perf_counter() - started
    with file.open("rb") as stream:
        if hasattr(os, "posix_fadvise"):  # or the read would come from memory
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        started = time.perf_counter()
        while stream.read(_CHUNK_BYTES):
            pass
        read = time.perf_counter() - started
    file.unlink()
    return {"disk_write": _DISK_BYTES / written, "disk_read": _DISK_BYTES / read}


def searching(dim: int, rates: dict[str, float]) -> dict[str, float]:
    """What a search does besides products, in numbers (items x dimensions) per second and core.

    Timed is ``find_duplicates`` on planted vectors, one thread; what its products take by the
    model is taken off. ``solve`` is all that follows from the graph, in
    items per second.

    Args:
        dim: Width of the vectors.
        rates: ``products`` and ``scan``.
    """
    from dedup import GraphOptions, find_duplicates

    options = GraphOptions(threads=1)
    find_duplicates(planted(_WARM, dim), threshold=0.9, seed=0, graph=options)
    vectors = planted(_PLANTED, dim)
    started = time.process_time()
    found = find_duplicates(vectors, threshold=0.9, seed=0, graph=options)
    spent = time.process_time() - started
    count = search_products(_PLANTED) / PRODUCT_EFFICIENCY
    multiplying = count * dim / rates["products"] + count / rates["scan"]
    thresholds = iter(np.linspace(0.85, 0.8999, 1000))
    _ = found.keep  # what loads at the first use
    return {
        "handle": _PLANTED * dim / max(spent - multiplying, 0.1 * spent),
        # Each threshold is decided anew, without a search.
        "solve": per_second(lambda: found.rethreshold(float(next(thresholds))).keep, _PLANTED),
    }


def joining() -> dict[str, float]:
    """Components by edges and equal files by items, per second on one core."""
    import pyarrow as pa

    from dedup.components import components
    from dedup.exact import first_of_equal

    rng = np.random.default_rng(0)
    src, dst = rng.integers(0, _NODES, (2, _EDGES))
    digests = pa.array([f"{value:064x}" for value in rng.integers(0, 1 << 62, _DIGESTS)])
    components(_NODES, src[:1000], dst[:1000])
    return {
        "components": per_second(lambda: components(_NODES, src, dst), _EDGES),
        "exact": per_second(lambda: first_of_equal(digests), _DIGESTS),
    }


def planted(count: int, width: int, seed: int = 0) -> Any:  # noqa: ANN401 - an array
    """Vectors under topics and concepts, a third in groups of near-copies, float16 (count, width).

    Two of one concept have a cosine of about 0.5, two of one topic of about 0.25, two near-copies
    of about 0.93, as in ``bench/vectors.py``.
    """
    rng = np.random.default_rng(seed)

    def units(rows: int) -> Any:  # noqa: ANN401 - an array
        return _unit(rng.standard_normal((rows, width), dtype=np.float32))

    topics, concepts = units(_TOPICS), units(_CONCEPTS)
    concept = rng.integers(0, _CONCEPTS, count)
    rows = 0.5 * topics[concept % _TOPICS] + 0.5 * concepts[concept] + 0.7071 * units(count)
    start = 0
    while start < count // 3:
        # Heavy-tailed: half of them are pairs or triples, a few have hundreds.
        members = min(int(np.ceil(2 * rng.random() ** (-1 / 1.6))), _LARGEST_GROUP, count - start)
        noise = rng.standard_normal((members - 1, width), dtype=np.float32) * (0.4 / width**0.5)
        rows[start + 1 : start + members] = rows[start] + noise
        start += members
    return _unit(rows).astype(np.float16)


def _unit(rows: Any) -> Any:  # noqa: ANN401 - an array
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def per_second(
    call: Callable[[], object], amount: float, clock: Callable[[], float] = time.process_time
) -> float:
    """How much a call gets done in a second: its fastest round within the time allowed.

    Args:
        call: One round.
        amount: What a round gets done.
        clock: Seconds; by default those that a core was busy, which other load does not change.
    """
    best = float("inf")
    started = time.perf_counter()
    call()
    while time.perf_counter() - started < _BUDGET_S or best == float("inf"):
        before = clock()
        call()
        best = min(best, clock() - before)
    return amount / max(best, 1e-9)


def _codes(count: int, dim: int, device: str) -> Any:  # noqa: ANN401 - torch is imported late
    import torch

    width = -(-dim // _MIN_INNER) * _MIN_INNER  # as the codes of the engine are padded
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-127, 128, (count, width), dtype=torch.int8, generator=generator)
    return codes.to(device)
