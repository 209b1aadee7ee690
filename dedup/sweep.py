"""Kernels of the threshold explorer: one pass over the pairs serves every threshold."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.arrays import Ints

Words: TypeAlias = NDArray[np.uint64]

#: Thresholds that one pass of ``removed_by_level`` answers: a bit each.
WORD = 64


@njit(cache=True, nogil=True)
def group_by(keys: Ints, count: int) -> tuple[Ints, Ints]:
    """Positions grouped by key, as (start of each key (count + 1,), positions (p,))."""
    start = np.zeros(count + 1, dtype=np.int64)
    for key in keys:
        start[key + 1] += 1
    for key in range(count):
        start[key + 1] += start[key]
    place = start[:-1].copy()
    positions = np.empty(len(keys), dtype=np.int64)
    for at in range(len(keys)):
        key = keys[at]
        positions[place[key]] = at
        place[key] += 1
    return start, positions


@njit(cache=True, nogil=True)
def removed_by_level(start: Ints, better: Ints, levels: Words, safe: int, width: int) -> Ints:
    """How many nodes the greedy keepers remove at each of up to 64 thresholds.

    Nodes are numbered in policy order, so when a node's turn comes, all that come before it
    are settled, at every threshold. A bit stands for a threshold: a node is removed where a
    better neighbour is kept and the pair reaches the threshold.

    Args:
        start: Where each node's better neighbours begin, int64 (n + 1,).
        better: The neighbours, int64 (p,).
        levels: The thresholds that each pair reaches, a bit each, uint64 (p,).
        safe: The first so many nodes are never removed.
        width: How many thresholds there are, 1..64.

    Returns:
        Nodes removed at each threshold, int64 (width,).
    """
    count = len(start) - 1
    kept = np.zeros(count, dtype=np.uint64)
    removed = np.zeros(width, dtype=np.int64)
    kept[:safe] = ~np.uint64(0)
    for node in range(safe, count):
        lost = np.uint64(0)
        for at in range(start[node], start[node + 1]):
            lost |= kept[better[at]] & levels[at]
        kept[node] = ~lost
        if lost:
            for bit in range(width):
                removed[bit] += np.int64((lost >> np.uint64(bit)) & np.uint64(1))
    return removed


@njit(cache=True, nogil=True)
def root_of(parent: Ints, node: int) -> int:
    """The root of a node's component; halves the path to it."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def roots_of(parent: Ints, nodes: Ints) -> Ints:
    """The root of each node's component, int64 (p,)."""
    roots = np.empty(len(nodes), dtype=np.int64)
    for at in range(len(nodes)):
        roots[at] = root_of(parent, nodes[at])
    return roots


@njit(cache=True, nogil=True)
def unite(
    parent: Ints, sizes: Ints, src: Ints, dst: Ints, clusters: int, largest: int
) -> tuple[int, int]:
    """Add pairs to the components.

    Args:
        parent: Union-find forest, int64 (n,); changed in place.
        sizes: Items of each root's component, int64 (n,); changed in place.
        src: One end of each pair, int64 (p,).
        dst: The other end, int64 (p,).
        clusters: Components of more than one item so far.
        largest: Items of the largest one so far.

    Returns:
        The two figures with the pairs added.
    """
    for at in range(len(src)):
        left, right = root_of(parent, src[at]), root_of(parent, dst[at])
        if left == right:
            continue
        if sizes[left] < sizes[right]:
            left, right = right, left
        clusters += 1 - int(sizes[left] > 1) - int(sizes[right] > 1)
        parent[right] = left
        sizes[left] += sizes[right]
        largest = max(largest, sizes[left])
    return clusters, largest
