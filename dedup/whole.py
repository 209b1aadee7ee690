"""Which components provably stay in one piece, without a solver.

With a_ij = w_ij - g * n_i * n_j the Constant Potts Model scores a partition of a component
with the sum of a_ij over the pairs inside communities. One community collects every pair. Any
other partition loses the pairs across, which are half of the sum, over its communities A, of
the cut(A) = sum of a_ij over i in A, j not in A. So **a component is best left whole if no cut
is negative** (and only then: a negative cut is a better partition of two).

**Cliques.** If every pair has an edge with w_ij >= g * n_i * n_j, no a_ij is negative and
neither is any cut (nor at g = 0, whatever the edges). A pair of near-copies is the smallest
such component, and with the default resolution (a share of the threshold below 1, so that
g < threshold <= w_ij, n_i = 1) every clique is one.

**Near-cliques, by degree.** Write N for the sum of the sizes n_i, s_i for the sum of the
weights at node i, D_i = s_i - g * n_i * (N - n_i) for the sum of a_ij over all j, and r for an
upper bound, at least 0, on all a_ij / (n_i * n_j). Of the two sides of a cut take as A the one
with at most N / 2 of the items. The other nodes of A hold at most N / 2 - n_i items, so that

    cut(A) = sum over i in A of (D_i - sum over the other j in A of a_ij)
          >= sum over i in A of (D_i - r * n_i * (N / 2 - n_i)).

**If D_i >= r * n_i * (N / 2 - n_i) for every node with n_i <= N / 2, no cut is negative.**
(A larger node is never in A.) For n items of size 1, with weights near 1, that asks each of
them for n * (1 + g) / 2 neighbours or so: three in four at g = 0.54.

For the other qualities wholeness is a definition and no theorem: a component in which every
item is a neighbour of every other has no boundary to find. (Surprise and significance, both
relative to the component's own density, would be indifferent there.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from dedup.aggregate import WeightedGraph
from dedup.arrays import Bools, Doubles, Ints


@dataclass(frozen=True)
class Census:
    """What is known of each component, by its lowest node; 0 and False elsewhere.

    Args:
        nodes: Nodes, int64 (n,).
        edges: Edges without loops, int64 (n,).
        whole: Whether it stays in one piece, bool (n,); true of single nodes too.
    """

    nodes: Ints
    edges: Ints
    whole: Bools


def take_census(graph: WeightedGraph, component: Ints, resolution: float | None) -> Census:
    """Count nodes and edges by component, and find the provably whole ones.

    Args:
        graph: The graph.
        component: Lowest node of each node's component, int64 (n,).
        resolution: The g of the Constant Potts Model, at least 0; ``None`` for another
            quality, where the cliques of single items are whole.

    Returns:
        The census.
    """
    nodes = np.bincount(component, minlength=len(graph)).astype(np.int64)
    edges, least, strength, densest = _measure(
        component, graph.sizes, graph.src, graph.dst, graph.weight
    )
    complete = edges == nodes * (nodes - 1) // 2
    if resolution is None:
        plural = np.bincount(component[graph.sizes > 1], minlength=len(graph))
        whole = complete & ((plural == 0) | (nodes == 1))
    else:
        whole = (complete & (least >= resolution)) | (resolution == 0)
        whole |= _held_by_degree(
            component, graph.sizes, strength, densest, whole, np.float64(resolution)
        )
    return Census(nodes, edges, whole & (nodes > 0))


@njit(cache=True, nogil=True)
def _measure(
    component: Ints, sizes: Ints, src: Ints, dst: Ints, weight: Doubles
) -> tuple[Ints, Doubles, Doubles, Doubles]:
    """By component: edges, least and largest weight per pair of items; by node: strength."""
    count = len(component)
    edges = np.zeros(count, np.int64)
    least = np.full(count, np.inf)
    densest = np.zeros(count, np.float64)
    strength = np.zeros(count, np.float64)
    edge = 0
    while edge < len(src):
        # The edges of a node mostly follow each other; sums keep their order all the same.
        one, root = src[edge], component[src[edge]]
        size, mine = np.float64(sizes[one]), strength[one]
        low, high, start = least[root], densest[root], edge
        loops = 0
        while edge < len(src) and src[edge] == one:
            other = dst[edge]
            if other == one:
                loops += 1
            else:
                density = weight[edge] / (size * np.float64(sizes[other]))
                low, high = min(low, density), max(high, density)
                mine += weight[edge]
                strength[other] += weight[edge]
            edge += 1
        edges[root] += edge - start - loops
        least[root], densest[root], strength[one] = low, high, mine
    return edges, least, strength, densest


@njit(cache=True, nogil=True)
def _held_by_degree(
    component: Ints,
    sizes: Ints,
    strength: Doubles,
    densest: Doubles,
    whole: Bools,
    resolution: float,
) -> Bools:
    """The components, not whole already, whose every node passes the test by degree."""
    count = len(component)
    total = np.zeros(count, np.float64)
    for node in range(count):
        total[component[node]] += sizes[node]
    held = np.zeros(count, np.bool_)
    for node in range(count):
        held[node] = component[node] == node and not whole[node]
    for node in range(count):
        root = component[node]
        size, half = np.float64(sizes[node]), total[root] / 2.0
        if held[root] and size <= half:
            surplus = strength[node] - resolution * size * (total[root] - size)
            ratio = max(densest[root] - resolution, 0.0)
            held[root] = surplus >= ratio * size * (half - size)
    return held
