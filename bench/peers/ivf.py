"""FAISS IVF-Flat, then Leiden or connected components.

``knn_and_leiden`` is what one would write first: a k-nearest-neighbour graph (Johnson, Douze
and Jegou, "Billion-scale similarity search with GPUs", arXiv 1702.08734), cut at the threshold,
and the Leiden algorithm on it (Traag, Waltman and van Eck, Scientific Reports 9 (2019) 5233)
with leidenalg and the Constant Potts Model.

``range_and_components`` is a range search and the connected components of what it finds, the
route that the Z-Image report (arXiv 2511.22699, section 2.2) says it left for the former.

Both keep the lowest row of each cluster. Both are helped where that changes no result: vectors
are converted block by block, and k-means sees 64 rows a centroid instead of FAISS's 256.
"""

from __future__ import annotations

from math import sqrt

import faiss
import numpy as np

from bench.peers.base import (
    Bools,
    Clock,
    Floats,
    Found,
    Ints,
    Job,
    lowest_of_each,
    peak_memory,
    unit,
    unit_blocks,
    write_keepers,
)

NPROBE = 4
#: Share of the threshold, as Winnow's own default, so that both solve the same problem.
CPM_SHARE = 0.6
_TRAINED_PER_LIST = 64
_SEARCH_ROWS = 8192


def knn_and_leiden(job: Job, clock: Clock, k: int) -> Found:
    """Each row's ``k`` nearest, cut at the threshold, and communities of that graph."""
    import igraph
    import leidenalg

    index = _built(job, clock)
    with clock("search"):
        src, dst, similarity = _neighbours(index, job, k)
    with clock("leiden"):
        graph = igraph.Graph(n=job.count, edges=np.column_stack([src, dst]).tolist())
        found = leidenalg.find_partition(
            graph,
            leidenalg.CPMVertexPartition,
            weights=similarity.tolist(),
            resolution_parameter=CPM_SHARE * job.threshold,
            seed=job.seed,
        )
        labels = np.asarray(found.membership, dtype=np.int64)
    return _keep_one(job, clock, labels, src, dst)


def range_and_components(job: Job, clock: Clock) -> Found:
    """All rows within the threshold, as far as the probed lists hold them; components."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    index = _built(job, clock)
    with clock("search"):
        src, dst = _in_range(index, job)
    with clock("components"):
        ones = np.ones(len(src), dtype=np.float32)
        graph = coo_array((ones, (src, dst)), shape=(job.count, job.count)).tocsr()
        _, found = connected_components(graph, directed=False)
    return _keep_one(job, clock, found.astype(np.int64), src, dst)


def _keep_one(job: Job, clock: Clock, labels: Ints, src: Ints, dst: Ints) -> Found:
    with clock("write"):
        keep = lowest_of_each(labels)
        write_keepers(job.folder, labels, keep)
    return Found(labels, keep, src, dst, peak=peak_memory())


def _built(job: Job, clock: Clock) -> faiss.IndexIVFFlat:
    """An IVF-Flat index of 4 sqrt(n) lists over all rows."""
    rows = job.rows()
    count, width = rows.shape
    lists = max(1, min(round(4 * sqrt(count)), count // 39))
    quantizer = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFFlat(quantizer, width, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.spherical = True
    index.cp.seed = job.seed + 1
    index.cp.max_points_per_centroid = _TRAINED_PER_LIST
    index.nprobe = NPROBE
    with clock("train"):
        wanted = min(count, _TRAINED_PER_LIST * lists)
        sample = np.random.default_rng(job.seed).choice(count, wanted, replace=False)
        index.train(unit(rows[np.sort(sample)]))
    with clock("add"):
        for _, block in unit_blocks(rows):
            index.add(block)
    return index


def _neighbours(index: faiss.IndexIVFFlat, job: Job, k: int) -> tuple[Ints, Ints, Floats]:
    """The pairs at or above the threshold among each row's ``k`` nearest, once each."""
    low: list[Ints] = []
    high: list[Ints] = []
    alike: list[Floats] = []
    for start, block in unit_blocks(job.rows(), _SEARCH_ROWS):
        similarity, found = index.search(block, k + 1)  # a row is its own first neighbour
        row = np.arange(start, start + len(block))[:, None]
        hit = (similarity >= job.threshold) & (found >= 0) & (found != row)
        left, place = np.nonzero(hit)
        low.append(np.minimum(left + start, found[left, place]))
        high.append(np.maximum(left + start, found[left, place]))
        alike.append(similarity[left, place])
    src, dst = np.concatenate(low), np.concatenate(high)
    chosen = _first_of_pairs(src, dst, job.count)
    return src[chosen], dst[chosen], np.concatenate(alike)[chosen]


def _in_range(index: faiss.IndexIVFFlat, job: Job) -> tuple[Ints, Ints]:
    """The pairs that a range search returns, once each."""
    low: list[Ints] = []
    high: list[Ints] = []
    for start, block in unit_blocks(job.rows(), _SEARCH_ROWS):
        bounds, _, found = index.range_search(block, job.threshold)
        row = np.repeat(np.arange(start, start + len(block)), np.diff(bounds.astype(np.int64)))
        other: Bools = found != row
        low.append(np.minimum(row, found)[other])
        high.append(np.maximum(row, found)[other])
    src, dst = np.concatenate(low), np.concatenate(high)
    chosen = _first_of_pairs(src, dst, job.count)
    return src[chosen], dst[chosen]


def _first_of_pairs(src: Ints, dst: Ints, count: int) -> Ints:
    """Where each pair stands first."""
    _, first = np.unique(src * count + dst, return_index=True)
    return first
