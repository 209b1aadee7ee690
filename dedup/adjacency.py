"""Compiled pieces that the community solvers share: graphs, labels and scratch space.

What makes them fast, most of it on small graphs:

- All arrays are made once for many graphs, with room for the largest; how many nodes there are
  goes beside them.
- Numbers of nodes are unsigned: numba then leaves out the check for negative indices.
- What is called once or for every node is inlined (``forceinline``), and takes arrays out of
  tuples before its loops: numba can then drop most of the counting of references, which are
  atomic additions.
- Loops over edges do not branch where the guess would often be wrong.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.arrays import Bools, Codes, Doubles, Hashes, Ints

Nodes: TypeAlias = NDArray[np.uint32]
"""Numbers or labels of nodes."""
MOST_NODES = (1 << 32) - 2
"""In a graph; one number more is no node."""
WAITING = np.uint8(1)
FRESH = np.uint8(2)
State: TypeAlias = NDArray[np.uint64]
"""Of a random generator, uint64 (1,); any value is a seed."""


class Graph(NamedTuple):
    """The neighbours of node i are ``ends[starts[i]:starts[i + 1]]``; no loops.

    Args:
        starts: uint64.
        ends: Each edge stands at both of its ends.
        weights: All above 0.
        sizes: Of the nodes, whole numbers: sums of them are exact in any order.
    """

    starts: Hashes
    ends: Nodes
    weights: Doubles
    sizes: Doubles


class Desk(NamedTuple):
    """Scratch space for graphs of up to n nodes.

    Args:
        linked: Sums of weights by label, (n + 1,), all 0 between uses; the last place takes
            what is read by nobody.
        seen: Labels with such a sum, (n + 1,).
        order: Of visits; the length is a power of two.
        number: To number things with.
        mark: Of nodes: ``WAITING``, in the queue; ``FRESH``, their ``cut`` is known.
        alone: Nodes that no other node joined.
        cut: Weight from each node, or part of a community, to the rest of its community.
        whole: The size of each community.
        total: The size of each part.
        spare: A stack of unused communities; later, the part of each community that grows.
        community: Of each node.
        part: Of its community that holds each node.
        place: The node of the smaller graph that holds each node of the first.
        member: Community of each node of the first graph.
    """

    linked: Doubles
    seen: Nodes
    order: Nodes
    number: Nodes
    mark: Codes
    alone: Bools
    cut: Doubles
    whole: Doubles
    total: Doubles
    spare: Nodes
    community: Nodes
    part: Nodes
    place: Nodes
    member: Nodes


@njit(cache=True, nogil=True)
def new_graph(nodes: int, edges: int) -> Graph:
    """Room for a graph."""
    return Graph(
        np.empty(nodes + 1, np.uint64),
        np.empty(2 * edges + 1, np.uint32),
        np.empty(2 * edges + 1, np.float64),
        np.empty(nodes, np.float64),
    )


@njit(cache=True, nogil=True)
def new_desk(nodes: int) -> Desk:
    """Scratch space for graphs of up to so many nodes."""
    ring = 1
    while ring < nodes:
        ring *= 2
    return Desk(
        np.zeros(nodes + 1, np.float64),
        np.empty(nodes + 1, np.uint32),
        np.empty(ring, np.uint32),
        np.empty(nodes + 1, np.uint32),
        np.empty(nodes, np.uint8),
        np.empty(nodes, np.bool_),
        np.empty(nodes, np.float64),
        np.empty(nodes, np.float64),
        np.empty(nodes, np.float64),
        np.empty(nodes, np.uint32),
        np.empty(nodes, np.uint32),
        np.empty(nodes, np.uint32),
        np.empty(nodes, np.uint32),
        np.empty(nodes, np.uint32),
    )


@njit(cache=True, nogil=True)
def fill_graph(graph: Graph, count: int, src: Ints, dst: Ints, weight: Doubles) -> None:
    """Write a graph of edges given once each; loops and edges without weight are left out."""
    starts, ends, weights, _ = graph
    first = starts.view(np.int64)
    for node in range(count + 1):
        first[node] = 0
    for edge in range(len(src)):
        if src[edge] != dst[edge] and weight[edge] > 0.0:
            first[np.uint64(src[edge])] += 1
            first[np.uint64(dst[edge])] += 1
    total = 0
    for node in range(count):  # where each node ends, for now: its edges are written backwards
        total += first[node]
        first[node] = total
    first[count] = total
    for edge in range(len(src) - 1, -1, -1):
        if src[edge] != dst[edge] and weight[edge] > 0.0:
            one, other = np.uint64(src[edge]), np.uint64(dst[edge])
            first[other] -= 1
            ends[first[other]] = one
            weights[first[other]] = weight[edge]
            first[one] -= 1
            ends[first[one]] = other
            weights[first[one]] = weight[edge]


@njit(cache=True, nogil=True)
def shrink(graph: Graph, count: int, label: Nodes, groups: int, smaller: Graph, desk: Desk) -> None:
    """Write the graph between groups of nodes, with summed weights and sizes.

    ``label`` numbers the groups from 0 to ``groups - 1``.
    """
    starts, ends, weights, sizes = graph
    new_starts, new_ends, new_weights, new_sizes = smaller
    linked, order, first = desk.linked, desk.order, desk.number
    _sort_members(label, count, groups, order, first)
    nowhere = np.uint32(len(linked) - 1)
    new_starts[0] = 0
    total = 0
    for group in range(groups):
        begin = total
        size = 0.0
        for which in range(first[group], first[group + 1]):
            node = order[which]
            size += sizes[node]
            for at in range(starts[node], starts[node + 1]):
                other = label[ends[at]]
                inside = other == group  # such a place of ``linked`` stays 0
                before = linked[other]
                new_ends[total] = other
                total += (before == 0.0) & (not inside)
                linked[nowhere if inside else other] = before + weights[at]
        for at in range(begin, total):
            new_weights[at] = linked[new_ends[at]]
            linked[new_ends[at]] = 0.0
        new_starts[group + 1] = total
        new_sizes[group] = size
    linked[nowhere] = 0.0


@njit(cache=True, nogil=True, forceinline=True)
def _sort_members(label: Nodes, count: int, groups: int, order: Nodes, first: Nodes) -> None:
    """Nodes by label, ascending, and where each label starts."""
    for group in range(groups + 1):
        first[group] = 0
    for node in range(count):
        first[label[node]] += 1
    for group in range(groups):
        first[group + 1] += first[group]
    for node in range(count - 1, -1, -1):
        first[label[node]] -= 1
        order[first[label[node]]] = node


@njit(cache=True, nogil=True, forceinline=True)
def renumber(label: Nodes, count: int, bound: int, number: Nodes) -> int:
    """Number labels in 0..bound-1 by first appearance, in place; how many there are."""
    for each in range(bound):
        number[each] = 0  # plus 1; 0 where not seen yet
    found = 0
    for node in range(count):
        if number[label[node]] == 0:
            found += 1
            number[label[node]] = found
        label[node] = number[label[node]] - 1
    return found


@njit(cache=True, nogil=True)
def connected_groups(graph: Graph, count: int, label: Nodes, piece: Nodes, desk: Desk) -> None:
    """The connected pieces of each group, by their lowest nodes, into ``piece``."""
    starts, ends, _, _ = graph
    left, stack = desk.number, desk.order
    for node in range(count):
        left[node] = 0
        piece[node] = count  # none yet
    for node in range(count):
        left[label[node]] += 1
    for lowest in range(count):
        if piece[lowest] != count:
            continue
        group = label[lowest]
        piece[lowest], stack[0], waiting = lowest, lowest, 1
        left[group] -= 1
        # In a dense group the first few nodes reach all the others.
        while waiting and left[group]:
            waiting -= 1
            node = stack[waiting]
            for at in range(starts[node], starts[node + 1]):
                other = ends[at]
                if label[other] == group and piece[other] == count:
                    piece[other] = lowest
                    left[group] -= 1
                    stack[waiting] = other
                    waiting += 1


@njit(cache=True, nogil=True)
def score(graph: Graph, count: int, label: Nodes, resolution: float, total: Doubles) -> float:
    """What the Constant Potts Model makes of the groups, labels below n; loops not counted."""
    starts, ends, weights, sizes = graph
    for node in range(count):
        total[node] = 0.0
    gained = 0.0
    for node in range(count):
        own = label[node]
        gained -= resolution * sizes[node] * total[own]
        total[own] += sizes[node]
        for at in range(starts[node], starts[node + 1]):
            if ends[at] < node and label[ends[at]] == own:
                gained += weights[at]
    return gained


@njit(cache=True, nogil=True, forceinline=True)
def shuffle(order: Nodes, count: int, state: State) -> None:
    """Write the numbers 0..count-1 in random order; ``state`` moves on."""
    for node in range(count):
        order[node] = node
    for last in range(count - 1, 0, -1):
        # The bias of the remainder is below count / 2^64.
        chosen = _random(state) % np.uint64(last + 1)
        order[last], order[chosen] = order[chosen], order[last]


@njit(cache=True, nogil=True, forceinline=True)
def _random(state: State) -> np.uint64:
    """The next 64 bits of splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    bits = state[0]
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
