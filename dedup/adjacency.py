"""Compiled pieces that the community solvers share: adjacency lists and labels.

A graph is a tuple of arrays ``(starts, ends, weights)``: the neighbours of node i are
``ends[starts[i]:starts[i + 1]]``, int64, each edge standing at both of its ends; no loops, all
weights above 0, float64.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.arrays import Doubles, Ints
from dedup.components import find_root

Adjacency: TypeAlias = tuple[Ints, Ints, Doubles]
State: TypeAlias = NDArray[np.uint64]
"""Of a random generator, uint64 (1,); any value is a seed."""


@njit(cache=True, nogil=True)
def adjacency(count: int, src: Ints, dst: Ints, weight: Doubles) -> Adjacency:
    """The graph of edges given once each; loops and edges without weight are left out."""
    starts = np.zeros(count + 1, np.int64)
    for edge in range(len(src)):
        if src[edge] != dst[edge] and weight[edge] > 0.0:
            starts[src[edge] + 1] += 1
            starts[dst[edge] + 1] += 1
    for node in range(count):
        starts[node + 1] += starts[node]
    ends = np.empty(starts[count], np.int64)
    weights = np.empty(starts[count], np.float64)
    place = starts.copy()
    for edge in range(len(src)):
        if src[edge] != dst[edge] and weight[edge] > 0.0:
            for one, other in ((src[edge], dst[edge]), (dst[edge], src[edge])):
                ends[place[one]] = other
                weights[place[one]] = weight[edge]
                place[one] += 1
    return starts, ends, weights


@njit(cache=True, nogil=True)
def shrink(graph: Adjacency, label: Ints, count: int) -> Adjacency:
    """The graph between groups of nodes, with summed weights.

    ``label`` numbers the groups from 0 to ``count - 1``.
    """
    starts, ends, weights = graph
    order, first = _members(label, count)
    new_starts = np.zeros(count + 1, np.int64)
    new_ends = np.empty(len(ends), np.int64)
    new_weights = np.empty(len(ends), np.float64)
    linked = np.zeros(count, np.float64)
    total = 0
    for group in range(count):
        begin = total
        for which in range(first[group], first[group + 1]):
            node = order[which]
            for at in range(starts[node], starts[node + 1]):
                other = label[ends[at]]
                if other != group:
                    if linked[other] == 0.0:
                        new_ends[total] = other
                        total += 1
                    linked[other] += weights[at]
        for at in range(begin, total):
            new_weights[at] = linked[new_ends[at]]
            linked[new_ends[at]] = 0.0
        new_starts[group + 1] = total
    return new_starts, new_ends[:total].copy(), new_weights[:total].copy()


@njit(cache=True, nogil=True)
def _members(label: Ints, count: int) -> tuple[Ints, Ints]:
    """Nodes by label, ascending, and where each label starts."""
    first = np.zeros(count + 1, np.int64)
    for node in range(len(label)):
        first[label[node] + 1] += 1
    for at in range(count):
        first[at + 1] += first[at]
    place = first.copy()
    order = np.empty(len(label), np.int64)
    for node in range(len(label)):
        order[place[label[node]]] = node
        place[label[node]] += 1
    return order, first


@njit(cache=True, nogil=True)
def renumber(label: Ints, bound: int) -> tuple[Ints, int]:
    """Labels in 0..bound-1 renumbered by first appearance, and how many there are."""
    number = np.zeros(bound, np.int64)  # plus 1; 0 where not seen yet
    dense = np.empty(len(label), np.int64)
    count = 0
    for node in range(len(label)):
        if number[label[node]] == 0:
            count += 1
            number[label[node]] = count
        dense[node] = number[label[node]] - 1
    return dense, count


@njit(cache=True, nogil=True)
def connected_groups(graph: Adjacency, label: Ints) -> Ints:
    """The connected pieces of each group, by their lowest nodes."""
    starts, ends, _ = graph
    parent = np.arange(len(label))
    for node in range(len(label)):
        for at in range(starts[node], starts[node + 1]):
            if ends[at] < node and label[ends[at]] == label[node]:
                one, other = find_root(parent, node), find_root(parent, ends[at])
                parent[max(one, other)] = min(one, other)
    for node in range(len(label)):
        parent[node] = parent[parent[node]]
    return parent


@njit(cache=True, nogil=True)
def score(graph: Adjacency, size: Doubles, label: Ints, resolution: float) -> float:
    """What the Constant Potts Model makes of the groups, labels below n; loops not counted."""
    starts, ends, weights = graph
    count = len(label)
    total = np.zeros(count, np.float64)
    gained = 0.0
    for node in range(count):
        gained -= resolution * size[node] * total[label[node]]
        total[label[node]] += size[node]
        for at in range(starts[node], starts[node + 1]):
            if ends[at] < node and label[ends[at]] == label[node]:
                gained += weights[at]
    return gained


@njit(cache=True, nogil=True)
def shuffled(count: int, state: State) -> Ints:
    """The numbers 0..count-1 in random order; ``state`` is uint64 (1,) and moves on."""
    order = np.arange(count)
    for last in range(count - 1, 0, -1):
        # The bias of the remainder is below count / 2^64.
        chosen = np.int64(_random(state) % np.uint64(last + 1))
        order[last], order[chosen] = order[chosen], order[last]
    return order


@njit(cache=True, nogil=True)
def _random(state: State) -> np.uint64:
    """The next 64 bits of splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    bits = state[0]
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
