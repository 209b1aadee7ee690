"""Who is kept, and which kept item is the witness of each removal.

Nodes are taken in policy order. A node is kept unless a node kept before it is a
neighbour; then it is removed, and names the most similar of those as its witness (ties: the
one earlier in policy order). The witness is thus kept, similar enough, and better by policy.

What is guaranteed, for a graph that holds every pair at or above the threshold:

- In either mode, every removed node has a kept witness with similarity >= threshold.
- Within *components*, the kept nodes are a maximal independent set of the graph: no two kept
  nodes are neighbours. A second run over what was kept therefore removes nothing, and
  chains do no harm: a-b-c with b best keeps b alone, with a best keeps a and c.
- Within *communities*, only neighbours of the same community compete. Two kept nodes of
  different communities may be neighbours, and a second run over what was kept, which sees
  them without the nodes that pulled them apart, may remove one of them.

Within components is the default: the witness rule alone keeps chains from being merged, so
the cut by communities adds no safety and leaves near-copies behind. Within communities suits
corpora where a lasting difference between dense groups matters more than the last near-copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dedup.arrays import Bools, Floats, Ints
from dedup.graph import NeighbourGraph


@dataclass(frozen=True)
class Keepers:
    """The decision for every node.

    Args:
        keep: Which nodes are kept, bool (n,).
        witness: The kept node that each removed node names, int64 (n,); -1 where kept.
        similarity: To the witness, float32 (n,); NaN where kept.
    """

    keep: Bools
    witness: Ints
    similarity: Floats


def choose_keepers(graph: NeighbourGraph, rank: Ints, group: Ints | None = None) -> Keepers:
    """Keep the best of each neighbourhood.

    Args:
        graph: The pairs at or above the threshold, and no others.
        rank: Place of each node in policy order, int64 (n,), all different.
        group: Only neighbours of the same group compete, int64 (n,); ``None``: all do.

    Returns:
        The decisions.
    """
    if group is not None:
        graph = graph.where(group[graph.src] == group[graph.dst])
    forward = rank[graph.src] < rank[graph.dst]
    better = np.where(forward, graph.src, graph.dst)
    worse = np.where(forward, graph.dst, graph.src)
    removed = _removed(graph.count, better, worse, rank)
    witness = np.full(graph.count, -1, dtype=np.int64)
    similarity = np.full(graph.count, np.nan, dtype=np.float32)
    testify = ~removed[better] & removed[worse]
    better, worse, alike = better[testify], worse[testify], graph.similarity[testify]
    # Written from the weakest to the strongest witness: the last write stands.
    order = np.lexsort((-rank[better], alike))
    witness[worse[order]] = better[order]
    similarity[worse[order]] = alike[order]
    return Keepers(~removed, witness, similarity)


def _removed(count: int, better: Ints, worse: Ints, rank: Ints) -> Bools:
    order = np.argsort(rank[better], kind="stable")
    better, worse = better[order], worse[order]
    bounds = np.flatnonzero(np.diff(better, prepend=-1, append=-1))  # a run per better node
    removed = np.zeros(count, dtype=np.bool_)
    for start, stop in pairwise(bounds.tolist()):
        node = better[start]
        # All nodes before this one in policy order have had their say: it is settled.
        if not removed[node]:
            removed[worse[start:stop]] = True
    return removed
