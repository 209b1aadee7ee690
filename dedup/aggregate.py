"""Graphs between communities, and the pieces of them that a solver takes, in linear time.

An aggregated graph has a node for each community of the finer level: its size is the number
of items inside, and its edges carry the summed similarities of the edges between them.
Everything here is sorting by counting: O(nodes + edges), whatever the number of components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from dedup.arrays import Bools, Doubles, Floats, Ints
from dedup.graph import NeighbourGraph


@dataclass(frozen=True)
class WeightedGraph:
    """A graph for a solver: undirected, each edge once, loops allowed.

    Args:
        sizes: Items that each node stands for, int64 (n,).
        src: One end of each edge, int64 (p,), in 0..n-1.
        dst: The other end, int64 (p,).
        weight: Edge weights, at least 0, float64 (p,).
    """

    sizes: Ints
    src: Ints
    dst: Ints
    weight: Doubles

    def __len__(self) -> int:
        return len(self.sizes)


@dataclass(frozen=True)
class Parts:
    """Several graphs in one set of arrays; made of arrays alone, so that it travels.

    Args:
        node_start: Where the nodes of each graph start, int64 (parts + 1,).
        edge_start: Where its edges start, int64 (parts + 1,).
        nodes: Number of each node in the graph that the parts were taken from, int64.
        sizes: Items that each node stands for, int64.
        src: One end of each edge, numbered within its graph, int64.
        dst: The other end, int64.
        weight: Edge weights, float64.
    """

    node_start: Ints
    edge_start: Ints
    nodes: Ints
    sizes: Ints
    src: Ints
    dst: Ints
    weight: Doubles

    def __len__(self) -> int:
        return len(self.node_start) - 1

    def __getitem__(self, part: int) -> WeightedGraph:
        nodes = slice(self.node_start[part], self.node_start[part + 1])
        edges = slice(self.edge_start[part], self.edge_start[part + 1])
        return WeightedGraph(
            self.sizes[nodes], self.src[edges], self.dst[edges], self.weight[edges]
        )

    def between(self, start: int, stop: int) -> Parts:
        """The graphs from ``start`` to ``stop - 1``, as views."""
        nodes = slice(self.node_start[start], self.node_start[stop])
        edges = slice(self.edge_start[start], self.edge_start[stop])
        return Parts(
            self.node_start[start : stop + 1] - self.node_start[start],
            self.edge_start[start : stop + 1] - self.edge_start[start],
            self.nodes[nodes],
            self.sizes[nodes],
            self.src[edges],
            self.dst[edges],
            self.weight[edges],
        )

    def relabel(self, found: Ints, labels: Ints) -> None:
        """Write what was found in each graph over labels of the graph they were taken from.

        Args:
            found: For each node a node of the same graph, numbered within it, int64.
            labels: Of the nodes of the whole graph, int64 (n,); changed in place.
        """
        offset = np.repeat(self.node_start[:-1], np.diff(self.node_start))
        labels[self.nodes] = self.nodes[offset + found]


def aggregate(
    graph: NeighbourGraph,
    threshold: float,
    node: Ints,
    count: int,
    loops: bool,
    raised: Doubles | None = None,
) -> WeightedGraph:
    """The graph between communities.

    Similarities below 0 count as 0. Sums are taken in float64: those of float32 similarities
    of at least 0.5 are exact up to 2^28 of them, so that the order of the edges is no matter.

    Args:
        graph: Edges between items.
        threshold: Lowest similarity of an edge that counts.
        node: Community of each item, int64 (n,), in 0..count-1.
        count: Number of communities.
        loops: Whether the edges inside a community become a loop, or are left out.
        raised: For each community a threshold that replaces a lower one for the edges
            between it and others, float64 (count,); ``None``: nowhere.

    Returns:
        Edges sorted by lower and then higher end, each pair once.
    """
    if raised is None and count == graph.count and _single(node):
        weight, plain = _plain(graph.src, graph.dst, graph.similarity, np.float64(threshold))
        if plain:
            return WeightedGraph(np.ones(count, dtype=np.int64), graph.src, graph.dst, weight)
    raised = np.zeros(0) if raised is None else raised
    least = np.float64(threshold)
    edges = (graph.src, graph.dst, graph.similarity)
    low, high, weight = _merge(*_between(*edges, node, count, least, raised, loops))
    sizes = np.bincount(node, minlength=count).astype(np.int64)
    return WeightedGraph(sizes, low, high, weight)


def take_parts(graph: WeightedGraph, component: Ints, roots: Ints) -> Parts:
    """Cut some of the components out of a graph.

    Args:
        graph: The graph.
        component: Lowest node of each node's component, int64 (n,).
        roots: Lowest nodes of the components wanted, int64 (parts,), in any order.

    Returns:
        The components as graphs of their own, in the order of ``roots``; their nodes and edges
        are in the order of the graph.
    """
    part = np.full(len(graph), -1, dtype=np.int64)
    part[roots] = np.arange(len(roots))
    part = part[component]
    node_start, nodes, local = _group_nodes(part, len(roots))
    edge_start, src, dst, weight = _group_edges(
        graph.src, graph.dst, graph.weight, part, local, len(roots)
    )
    return Parts(node_start, edge_start, nodes, graph.sizes[nodes], src, dst, weight)


def dense(labels: Ints) -> tuple[Ints, Ints]:
    """Number groups without gaps.

    Args:
        labels: The lowest member of each member's group, int64 (n,).

    Returns:
        The lowest member of each group, ascending, and the group of each member, int64.
    """
    is_first: Bools = labels == np.arange(len(labels))
    return np.flatnonzero(is_first), (np.cumsum(is_first) - 1)[labels]


@njit(cache=True, nogil=True)
def _single(node: Ints) -> bool:
    """Whether each item is a community of its own, all in order."""
    wrong = 0
    for item in range(len(node)):
        wrong |= node[item] != item
    return wrong == 0


@njit(cache=True, nogil=True)
def _plain(src: Ints, dst: Ints, similarity: Floats, threshold: float) -> tuple[Doubles, bool]:
    """Weights of edges between items; whether all count, the edges ascend, and none is a loop."""
    weight = np.empty(len(src), np.float64)
    wrong = 0
    for edge in range(len(src)):
        alike = np.float64(similarity[edge])
        weight[edge] = max(alike, 0.0)
        wrong |= (not alike >= threshold) | (src[edge] >= dst[edge])
    for edge in range(1, len(src)):
        rises = (src[edge] == src[edge - 1]) & (dst[edge] > dst[edge - 1])
        wrong |= not ((src[edge] > src[edge - 1]) | rises)
    return weight, wrong == 0


@njit(cache=True, nogil=True)
def _between(
    src: Ints,
    dst: Ints,
    similarity: Floats,
    node: Ints,
    count: int,
    threshold: float,
    raised: Doubles,
    loops: bool,
) -> tuple[Ints, Ints, Doubles]:
    """The edges that count, by the lower of their communities, in their old order there.

    Returns:
        Where the edges of each community start, int64 (count + 1,); the higher communities and
        the weights.
    """
    chosen = np.zeros(len(src), np.bool_)
    starts = np.zeros(count + 1, np.int64)
    for edge in range(len(src)):
        alike = np.float64(similarity[edge])
        if not alike >= threshold:
            continue
        one, other = node[src[edge]], node[dst[edge]]
        chosen[edge] = loops if one == other else True
        if len(raised) and one != other:
            chosen[edge] = alike >= raised[one] and alike >= raised[other]
        starts[min(one, other) + 1] += chosen[edge]
    for at in range(count):
        starts[at + 1] += starts[at]
    free = starts[:-1].copy()
    ends = np.empty(starts[count], np.int64)
    weight = np.empty(starts[count], np.float64)
    for edge in range(len(src)):
        if chosen[edge]:
            one, other = node[src[edge]], node[dst[edge]]
            at = free[min(one, other)]
            free[min(one, other)] += 1
            ends[at] = max(one, other)
            weight[at] = max(np.float64(similarity[edge]), 0.0)
    return starts, ends, weight


@njit(cache=True, nogil=True)
def _merge(starts: Ints, ends: Ints, added: Doubles) -> tuple[Ints, Ints, Doubles]:
    """One edge for each pair, sorted by lower and then higher end; written over."""
    count = len(starts) - 1
    linked = np.zeros(count, np.float64)
    seen = np.zeros(count, np.bool_)
    total = 0
    for node in range(count):
        begin = total
        for at in range(starts[node], starts[node + 1]):
            other = ends[at]
            if not seen[other]:
                seen[other] = True
                ends[total] = other  # behind what is still to be read
                total += 1
            linked[other] += added[at]
        _sort(ends, begin, total)
        for at in range(begin, total):
            added[at] = linked[ends[at]]
            linked[ends[at]], seen[ends[at]] = 0.0, False
        starts[node] = begin
    starts[count] = total
    low = np.empty(total, np.int64)
    for node in range(count):
        low[starts[node] : starts[node + 1]] = node
    return low, ends[:total].copy(), added[:total].copy()


@njit(cache=True, nogil=True)
def _sort(values: Ints, begin: int, end: int) -> None:
    """Sort values[begin:end] in place, by Shell's method: mostly there are a handful."""
    gap = 1
    while 3 * gap < end - begin:
        gap = 3 * gap + 1
    while gap > 0:
        for at in range(begin + gap, end):
            value, to = values[at], at
            while to >= begin + gap and values[to - gap] > value:
                values[to] = values[to - gap]
                to -= gap
            values[to] = value
        gap //= 3


@njit(cache=True, nogil=True)
def _group_nodes(part: Ints, parts: int) -> tuple[Ints, Ints, Ints]:
    """Nodes by part, and the number of each node within its part."""
    starts = np.zeros(parts + 1, np.int64)
    local = np.full(len(part), -1, np.int64)
    for node in range(len(part)):
        if part[node] >= 0:
            local[node] = starts[part[node] + 1]
            starts[part[node] + 1] += 1
    for at in range(parts):
        starts[at + 1] += starts[at]
    nodes = np.empty(starts[parts], np.int64)
    for node in range(len(part)):
        if part[node] >= 0:
            nodes[starts[part[node]] + local[node]] = node
    return starts, nodes, local


@njit(cache=True, nogil=True)
def _group_edges(
    src: Ints, dst: Ints, weight: Doubles, part: Ints, local: Ints, parts: int
) -> tuple[Ints, Ints, Ints, Doubles]:
    """Edges by part, in their old order, their ends numbered within the part."""
    starts = np.zeros(parts + 1, np.int64)
    for edge in range(len(src)):
        if part[src[edge]] >= 0:
            starts[part[src[edge]] + 1] += 1
    for at in range(parts):
        starts[at + 1] += starts[at]
    place = starts[:-1].copy()
    one = np.empty(starts[parts], np.int64)
    other = np.empty(starts[parts], np.int64)
    heavy = np.empty(starts[parts], np.float64)
    edge = 0
    while edge < len(src):
        # Mostly many edges of a node follow each other, and so they do in its part.
        node, start = src[edge], edge
        while edge < len(src) and src[edge] == node:
            edge += 1
        owner = part[node]
        if owner >= 0:
            shift = place[owner] - start
            place[owner] += edge - start
            for each in range(start, edge):
                one[shift + each] = local[node]
                other[shift + each] = local[dst[each]]
                heavy[shift + each] = weight[each]
    return starts, one, other, heavy
