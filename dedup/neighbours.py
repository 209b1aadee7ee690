"""All pairs of unit vectors with cosine at or above a floor, found with FAISS: the reference.

A k-nearest-neighbour search finds them if k is large enough. A row is *saturated* when
all its k neighbours reach the floor: there may be more. Saturated rows are searched again
with k doubled, up to ``max_k``. With ``faiss-flat`` the result is therefore exact unless
rows stay saturated at ``max_k``; the graph says how many did.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, sqrt
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from dedup.arrays import Floats, Ints
from dedup.graph import NeighbourGraph, unique_pairs
from dedup.options import GraphOptions, check_threshold
from dedup.units import cosine

_BLOCK_RESULTS = 1 << 22
_TRAIN_PER_LIST = 64


class Index(Protocol):
    """What is used of a FAISS index."""

    def search(self, queries: Floats, k: int, /) -> tuple[Floats, Ints]:
        """The k best per query, best first: scores and row numbers, -1 where there are fewer."""
        ...


def import_faiss() -> ModuleType:
    """FAISS, or an ImportError that says how to install it."""
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "the neighbour search needs FAISS: install winnow[cpu], or winnow[gpu] on a "
            "machine with an NVIDIA GPU (one of them, never both)"
        ) from error
    return faiss


def find_neighbours(
    vectors: Floats, floor: float, options: GraphOptions, seed: int = 0
) -> NeighbourGraph:
    """Find the pairs of rows with cosine >= ``floor`` with FAISS.

    Args:
        vectors: Unit rows, float32 (n, d), C-contiguous.
        floor: Lowest similarity wanted, in [-1, 1].
        options: How to search; ``method`` is ``faiss-flat`` or ``faiss-ivf``.
        seed: Of the k-means that ``faiss-ivf`` builds its lists with.

    Returns:
        The graph; node numbers are row numbers.

    Raises:
        ImportError: If FAISS is not installed.
        ValueError: If the floor is out of range.
    """
    check_threshold("floor", floor)
    count = len(vectors)
    nothing = np.zeros(0, dtype=np.int64)
    src, dst, reach = nothing, nothing, np.zeros(0, dtype=np.float32)
    if count > 1:
        with faiss_threads(options.threads) as faiss:
            index = _build(faiss, vectors, options, seed)
            left, right, reach = _search(index, vectors, floor, options)
        src, dst = unique_pairs(count, left, right)
    similarity = cosine(vectors, src, dst)
    graph = NeighbourGraph(count, src, dst, similarity, floor, options.method, reach)
    return graph.above(floor)


@contextmanager
def faiss_threads(threads: int | None) -> Iterator[ModuleType]:
    """FAISS with its thread count set for a while."""
    faiss = import_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads or before)
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(before)


def _build(faiss: ModuleType, vectors: Floats, options: GraphOptions, seed: int) -> Index:
    count, width = vectors.shape
    if options.method == "faiss-flat":
        index = _on_device(faiss, faiss.IndexFlatIP(width), options)
        index.add(vectors)
        return index
    lists = max(1, min(ceil(4 * sqrt(count)), count // 39))
    quantizer = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFFlat(quantizer, width, lists, faiss.METRIC_INNER_PRODUCT)
    index.own_fields = True
    quantizer.this.disown()
    index.cp.seed = seed
    index.cp.spherical = True
    index.cp.min_points_per_centroid = 1
    index.cp.max_points_per_centroid = _TRAIN_PER_LIST
    index.nprobe = min(options.nprobe, lists)
    index = _on_device(faiss, index, options)
    index.train(vectors)
    index.add(vectors)
    return index


def _on_device(faiss: ModuleType, index: Any, options: GraphOptions) -> Any:  # noqa: ANN401
    """The index on the first GPU where one is asked for and FAISS can use it."""
    able = hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0
    if options.device == "cpu" or (options.device == "auto" and not able):
        return index
    if not able:
        raise ValueError(
            "device is cuda and FAISS has no GPU to use: install winnow[gpu] in place of "
            "winnow[cpu] on a machine with an NVIDIA GPU, or set device to cpu"
        )
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)


def _search(
    index: Index, vectors: Floats, floor: float, options: GraphOptions
) -> tuple[Ints, Ints, Floats]:
    """Candidate pairs, and how far down the lists of the rows that stay saturated reach."""
    count, width = vectors.shape
    # A float32 dot product of unit vectors is off by at most d rounding steps, whatever
    # the order of summation: search that much lower, and let the re-scoring decide.
    low = np.float32(floor - 4e-6 - width * 2.0**-24)
    limit = min(options.max_k + 1, count)  # a row is its own first neighbour
    k = min(options.k + 1, limit)
    rows = np.arange(count, dtype=np.int64)
    lefts: list[Ints] = []
    rights: list[Ints] = []
    while True:
        again: list[Ints] = []
        worst: list[Floats] = []
        step = max(64, _BLOCK_RESULTS // k)
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            similarity, found = index.search(vectors[block], k)
            full = (similarity[:, -1] >= low) & (k < count)
            hits = (similarity >= low) & (found >= 0) & (found != block[:, None])
            if k < limit:
                hits[full] = False  # searched again with a larger k
            left, place = np.nonzero(hits)
            lefts.append(block[left])
            rights.append(found[left, place])
            again.append(block[full])
            worst.append(similarity[full, -1])
        rows = np.concatenate(again)
        if k >= limit or not len(rows):
            return np.concatenate(lefts), np.concatenate(rights), np.concatenate(worst)
        k = min(2 * k, limit)
