"""Communities inside components, and their levels.

**Levels nest by construction.** The finest level partitions the nodes. The next one
partitions a graph whose nodes are the communities of the finer level: its node sizes are
the communities' sizes and its edge weights the sums of the edges between them, counting the
edges of its own, lower threshold. A coarser community is therefore a union of finer ones.

**CPM is unmoved by that aggregation.** The Constant Potts Model (Traag, Van Dooren and
Nesterov, Physical Review E 84 (2011) 016114) scores a partition with

    H = sum over communities C, over pairs i < j in C, of (w_ij - g * n_i * n_j)

where w_ij is 0 without an edge. For a union of finer communities the sums over the
aggregated graph and over the nodes differ by a constant only, the pairs inside the finer
communities. Nor does any optimal community cross components: splitting it there loses no
w_ij and saves g * n_i * n_j >= 0 for every pair across. Components can be solved one by one.

**Pairs and cliques need no solver.** In a component where every pair has an edge with
w_ij >= g * n_i * n_j, each pair contributes at least 0 to H. The partition into one
community collects the contribution of every pair, so no other partition scores higher.
A pair of near-copies is the smallest such component, and with the default resolution
(a share of the threshold below 1, g < threshold <= w_ij, n_i = 1) every clique is one.

For the other qualities the same is a definition and no theorem: a component in which every
item is a neighbour of every other has no boundary to find, and stays whole. (Surprise and
significance, both relative to the component's own density, would be indifferent there.)

Similarities below 0 count as weight 0: they are never a reason to belong together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dedup.arrays import Bools, Ints
from dedup.components import components
from dedup.graph import NeighbourGraph
from dedup.leiden import WeightedGraph, check_solver, solve
from dedup.options import CommunityOptions, Level


def find_communities(
    graph: NeighbourGraph,
    levels: Sequence[Level],
    options: CommunityOptions | None = None,
    ids: Ints | None = None,
    seed: int = 0,
) -> dict[str, Ints]:
    """Cut the graph into nested communities.

    The result depends on the ids, the edges, the options and the seed; it does not depend on
    the order in which components are solved, as each has a random generator of its own.

    Args:
        graph: Edges down to the lowest threshold of the levels.
        levels: From the finest to the loosest, thresholds not rising.
        options: How to cut.
        ids: Stable, ascending ids of the nodes, int64 (n,); they seed the components.
            ``None`` for the node numbers.
        seed: Of the solver.

    Returns:
        By level name, for each node the lowest node of its community, int64 (n,).

    Raises:
        ImportError: If the quality needs leidenalg and it is not installed.
        ValueError: If a level lies below the graph's floor or above the level before it.
    """
    options = options or CommunityOptions()
    check_solver(options.quality)
    _check_levels(graph, levels)
    ids = np.arange(graph.count, dtype=np.int64) if ids is None else ids
    labels = np.arange(graph.count, dtype=np.int64)
    found: dict[str, Ints] = {}
    for level in levels:
        firsts, node = np.unique(labels, return_inverse=True)
        coarse = _aggregate(graph.above(level.threshold), node, len(firsts))
        resolution = options.resolution_at(level.threshold)
        merged = _solve_components(coarse, ids[firsts], f"{seed}/{level.name}", options, resolution)
        labels = firsts[merged][node]
        found[level.name] = labels
    return found


def _check_levels(graph: NeighbourGraph, levels: Sequence[Level]) -> None:
    above = 1.0
    for level in levels:
        if level.threshold > above:
            raise ValueError(
                f"level {level.name!r} at {level.threshold:g} lies above the finer level "
                f"at {above:g}: give the levels from the highest threshold to the lowest"
            )
        above = level.threshold
    if levels and above < graph.floor:
        raise ValueError(
            f"level {levels[-1].name!r} at {above:g} lies below the graph's floor "
            f"{graph.floor:g}: search again with a lower floor"
        )


def _aggregate(graph: NeighbourGraph, node: Ints, count: int) -> WeightedGraph:
    """The graph between communities: sizes, and summed weights (loops for what is inside)."""
    weight = np.maximum(graph.similarity.astype(np.float64), 0.0)
    left, right = node[graph.src], node[graph.dst]
    keys = np.minimum(left, right) * count + np.maximum(left, right)
    pairs, place = np.unique(keys, return_inverse=True)
    src, dst = np.divmod(pairs, max(count, 1))
    return WeightedGraph(
        sizes=np.bincount(node, minlength=count).astype(np.int64),
        src=src,
        dst=dst,
        weight=np.bincount(place, weights=weight, minlength=len(pairs)).astype(np.float64),
    )


def _solve_components(
    graph: WeightedGraph, ids: Ints, seed: str, options: CommunityOptions, resolution: float
) -> Ints:
    component = components(len(graph), graph.src, graph.dst)
    labels = component.copy()
    hard = ~_is_whole(graph, component, options, resolution)
    edge_order = np.argsort(component[graph.src], kind="stable")
    edge_owner = component[graph.src][edge_order]
    node_order = np.argsort(component, kind="stable")
    node_owner = component[node_order]
    for first in np.flatnonzero(hard):
        nodes = node_order[slice(*np.searchsorted(node_owner, [first, first + 1]))]
        edges = edge_order[slice(*np.searchsorted(edge_owner, [first, first + 1]))]
        part = WeightedGraph(
            sizes=graph.sizes[nodes],
            src=np.searchsorted(nodes, graph.src[edges]),
            dst=np.searchsorted(nodes, graph.dst[edges]),
            weight=graph.weight[edges],
        )
        own_seed = f"{seed}/{ids[first]}"
        found = solve(part, options.quality, resolution, own_seed, options.iterations)
        labels[nodes] = nodes[found]
    return labels


def _is_whole(
    graph: WeightedGraph, component: Ints, options: CommunityOptions, resolution: float
) -> Bools:
    """Which components stay in one piece without a solver, by lowest node; see the module."""
    count = len(graph)
    sizes = np.bincount(component, minlength=count)
    across = graph.src != graph.dst
    src, dst, weight = graph.src[across], graph.dst[across], graph.weight[across]
    owner = component[src]
    edges = np.bincount(owner, minlength=count)
    complete = edges == sizes * (sizes - 1) // 2
    if options.quality == "cpm":
        loses = weight < resolution * graph.sizes[src] * graph.sizes[dst]
    else:
        loses = (graph.sizes[src] > 1) | (graph.sizes[dst] > 1)
    return complete & (np.bincount(owner[loses], minlength=count) == 0)
