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

**Protected nodes** come before all others, whatever their rank, and are never removed: two of
them may be neighbours and both stay. What holds then:

- Every protected node is kept. Every removed node is unprotected and has a kept witness with
  similarity >= threshold; where a protected node is among its neighbours (that compete with
  it), the witness is the most similar protected one, even if an unprotected one is closer.
- Within components, two kept nodes are neighbours only if both are protected, and every
  unprotected node is either kept, with no kept neighbour, or removed. A second run over what
  was kept, with the same protection, removes nothing.

Within components is the default: the witness rule alone keeps chains from being merged, so
the cut by communities adds no safety and leaves near-copies behind. Within communities suits
corpora where a lasting difference between dense groups matters more than the last near-copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

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


def choose_keepers(
    graph: NeighbourGraph, rank: Ints, group: Ints | None = None, protect: Bools | None = None
) -> Keepers:
    """Keep the best of each neighbourhood.

    One sort of the nodes by rank; all else is linear in nodes and edges.

    Args:
        graph: The pairs at or above the threshold, and no others.
        rank: Place of each node in policy order, int64 (n,), all different.
        group: Only neighbours of the same group compete, int64 (n,); ``None``: all do.
        protect: Nodes that are never removed, bool (n,); ``None``: none are.

    Returns:
        The decisions.

    Raises:
        ValueError: If rank, group or protect do not have one entry per node.
    """
    for name, given in (("rank", rank), ("group", group), ("protect", protect)):
        if given is not None and given.shape != (graph.count,):
            raise ValueError(f"{name} must have shape ({graph.count},), got {given.shape}")
    order = np.argsort(rank, kind="stable")
    if protect is None:
        protect = np.zeros(graph.count, dtype=np.bool_)
    else:
        order = np.concatenate([order[protect[order]], order[~protect[order]]])
    group = np.zeros(0, dtype=np.int64) if group is None else group
    starts, worse, alike = _by_better(order, graph.src, graph.dst, graph.similarity, group, protect)
    witness, similarity = _greedy(order, starts, worse, alike, protect)
    return Keepers(witness < 0, witness, similarity)


@njit(cache=True, nogil=True)
def _by_better(
    order: Ints, src: Ints, dst: Ints, similarity: Floats, group: Ints, protect: Bools
) -> tuple[Ints, Ints, Floats]:
    """The neighbours that come after each node, nodes in order: starts, neighbours, likeness."""
    count = len(order)
    place = np.empty(count, np.int64)
    for at in range(count):
        place[order[at]] = at
    starts = np.zeros(count + 1, np.int64)
    competes = np.empty(len(src), np.bool_)
    for edge in range(len(src)):
        one, other = src[edge], dst[edge]
        competes[edge] = not (protect[one] and protect[other])
        if len(group):
            competes[edge] &= group[one] == group[other]
        if competes[edge]:
            starts[min(place[one], place[other]) + 1] += 1
    for at in range(count):
        starts[at + 1] += starts[at]
    free = starts.copy()
    worse = np.empty(starts[count], np.int64)
    alike = np.empty(starts[count], np.float32)
    for edge in range(len(src)):
        if competes[edge]:
            one, other = place[src[edge]], place[dst[edge]]
            at = free[min(one, other)]
            free[min(one, other)] += 1
            worse[at] = order[max(one, other)]
            alike[at] = similarity[edge]
    return starts, worse, alike


@njit(cache=True, nogil=True)
def _greedy(
    order: Ints, starts: Ints, worse: Ints, alike: Floats, protect: Bools
) -> tuple[Ints, Floats]:
    """The witness of each node, -1 where kept, and the similarity to it."""
    witness = np.full(len(order), -1, np.int64)
    similarity = np.full(len(order), np.nan, np.float32)
    for at in range(len(order)):
        node = order[at]
        # All nodes before this one in policy order have had their say: it is settled.
        if witness[node] >= 0:
            continue
        for edge in range(starts[at], starts[at + 1]):
            other = worse[edge]
            named = witness[other]
            # A tie stays with the witness that came first, and so does a protected one.
            closer = alike[edge] > similarity[other] and protect[node] == protect[named]
            if named < 0 or closer:
                witness[other] = node
                similarity[other] = alike[edge]
    return witness, similarity
