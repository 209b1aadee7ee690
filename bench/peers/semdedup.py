"""SemDeDup, written anew from its paper.

Abbas, Tirumala, Simig, Ganguli and Morcos, "SemDeDup: Data-efficient learning at web-scale
through semantic deduplication", arXiv 2303.09540: spherical k-means over all embeddings; in each
cluster, items sorted by distance to the centroid, the farthest first; all pairs compared; an
item goes if an item before it has similarity of at least 1 - epsilon.

Settings: 20 iterations on all points, as the issue behind this benchmark names them (the
authors' released configuration has 100). The paper's main experiment puts 440 million items
into 50,000 clusters, 8,800 to a cluster; the count of clusters here follows from that, and a
second peer takes 1,000 to a cluster, which compares less and spends it on k-means instead.

Helped where that changes no result: only the triangle of pairs that decides is multiplied, in
blocks, so that memory does not grow with the square of a cluster; and k-means runs on torch's
matrix products, several times faster than FAISS's where its OpenBLAS does not know the processor.

The paper has no groups. Here a group is what hangs together by each removed item's most similar
predecessor, the one that the rule removed it for.
"""

from __future__ import annotations

import numpy as np
import torch

from bench.peers.base import (
    Clock,
    Floats,
    Found,
    Ints,
    Job,
    peak_memory,
    unit_blocks,
    write_keepers,
)

ITERATIONS = 20
_ASSIGNED = 16_384
_BLOCK = 2048


def run(job: Job, clock: Clock, per_cluster: int) -> Found:
    """Cluster, compare within clusters, keep one of each neighbourhood."""
    torch.set_num_threads(job.threads)
    rows = job.rows()
    clusters = max(1, round(job.count / per_cluster))
    with clock("load"):
        units = np.empty(rows.shape, dtype=np.float32)
        for start, block in unit_blocks(rows):
            units[start : start + len(block)] = block
    with clock("k-means"):
        cell, distance = _clustered(units, clusters, job.seed)
    with clock("pairs"):
        before, similarity = _most_similar_before(units, cell, distance)
        removed = similarity >= job.threshold
    with clock("write"):
        labels = _roots(np.where(removed, before, np.arange(job.count)))
        write_keepers(job.folder, labels, ~removed)
    return Found(labels, ~removed, cell=cell, peak=peak_memory())


def _clustered(units: Floats, clusters: int, seed: int) -> tuple[Ints, Floats]:
    """Cluster of each row, int64 (n,), and cosine distance to its centroid, float32 (n,)."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.from_numpy(units)
    centroids = rows[torch.randperm(len(rows), generator=generator)[:clusters]]
    for _ in range(ITERATIONS):
        cell, _ = _assigned(rows, centroids)
        sums = torch.zeros_like(centroids).index_add_(0, cell, rows)
        # A cluster that has lost all its rows starts again from any row.
        empty = torch.bincount(cell, minlength=clusters) == 0
        fresh = torch.randint(len(rows), (int(empty.sum()),), generator=generator)
        sums[empty] = rows[fresh]
        centroids = torch.nn.functional.normalize(sums, dim=1)
    cell, similarity = _assigned(rows, centroids)
    return cell.numpy(), (1.0 - similarity).numpy()


def _assigned(rows: torch.Tensor, centroids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest centroid of each row, and the cosine to it."""
    best = [(block @ centroids.T).max(dim=1) for block in rows.split(_ASSIGNED)]
    return torch.cat([found.indices for found in best]), torch.cat([found.values for found in best])


def _most_similar_before(units: Floats, cell: Ints, distance: Floats) -> tuple[Ints, Floats]:
    """For each row the most similar one before it in its cluster, and that similarity."""
    best = np.arange(len(units), dtype=np.int64)
    similarity = np.full(len(units), -1.0, dtype=np.float32)
    order = np.lexsort((-distance, cell))
    for members in np.split(order, np.flatnonzero(np.diff(cell[order])) + 1):
        inside = torch.from_numpy(units[members])
        for start in range(0, len(members), _BLOCK):
            stop = min(start + _BLOCK, len(members))
            products = inside[start:stop] @ inside[:stop].T
            products[:, start:].masked_fill_(torch.ones(stop - start, stop - start).triu() > 0, -1)
            most, place = products.max(dim=1)
            best[members[start:stop]] = members[place.numpy()]
            similarity[members[start:stop]] = most.numpy()
    return best, similarity


def _roots(parent: Ints) -> Ints:
    """Where each row ends up by following its parents."""
    while True:
        further = parent[parent]
        if np.array_equal(further, parent):
            return parent
        parent = further
