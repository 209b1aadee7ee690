"""The neighbour graph: which items are alike, and how much."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numba import njit

from dedup.arrays import Bools, Floats, Ints

#: Lists up to this long are sorted by insertion, longer ones digit by digit.
_INSERTED = 40
_DIGITS = 11


def _no_floats() -> Floats:
    return np.zeros(0, dtype=np.float32)


@dataclass(frozen=True)
class NeighbourGraph:
    """Undirected edges between nodes 0..count-1.

    Each pair stands once, ``src < dst``, sorted by ``src`` and then ``dst``.

    Args:
        count: Number of nodes.
        src: Lower end of each edge, int64 (p,).
        dst: Higher end, int64 (p,).
        similarity: Cosine in [-1, 1], float32 (p,).
        floor: No pair below this similarity was kept.
        method: What searched it.
        reach: For each node whose neighbour list was full at the largest k allowed, the
            lowest similarity in that list, float32: below it neighbours may be missing.
    """

    count: int
    src: Ints
    dst: Ints
    similarity: Floats
    floor: float
    method: str = "given"
    reach: Floats = field(default_factory=_no_floats)

    def __len__(self) -> int:
        return len(self.src)

    def saturated(self, threshold: float) -> int:
        """Nodes that may have more neighbours at or above ``threshold`` than were listed."""
        return int(np.count_nonzero(self.reach >= np.float64(threshold)))

    def reaches(self, threshold: float) -> Bools:
        """Which edges have similarity >= ``threshold``, bool (p,)."""
        # Compared in float64: float32 would round 0.9 down and let 0.89999998 pass.
        return _reaches(self.similarity, np.float64(threshold))

    def above(self, threshold: float) -> NeighbourGraph:
        """The graph of the pairs with similarity >= ``threshold``."""
        return replace(self.where(self.reaches(threshold)), floor=threshold)

    def across(self, group: Ints) -> NeighbourGraph:
        """The graph of the pairs between groups, int64 (n,), such as communities."""
        return self.where(_differ(group, self.src, self.dst))

    def has(self, src: Ints, dst: Ints) -> Bools:
        """Which of some pairs, ``src < dst``, are edges, bool (q,)."""
        keys = self.src * self.count + self.dst
        wanted = src * self.count + dst
        place = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        return keys[place] == wanted if len(keys) else np.zeros(len(wanted), dtype=np.bool_)

    def where(self, chosen: Bools) -> NeighbourGraph:
        """The graph of the chosen edges, bool (p,): itself where all are."""
        total = int(np.count_nonzero(chosen))
        if total == len(self):
            return self
        src, dst, alike = _chosen(chosen, total, self.src, self.dst, self.similarity)
        return replace(self, src=src, dst=dst, similarity=alike)


@njit(cache=True, nogil=True)
def _reaches(similarity: Floats, threshold: float) -> Bools:
    chosen = np.empty(len(similarity), np.bool_)
    for edge in range(len(similarity)):
        chosen[edge] = np.float64(similarity[edge]) >= threshold
    return chosen


@njit(cache=True, nogil=True)
def _chosen(
    chosen: Bools, total: int, src: Ints, dst: Ints, similarity: Floats
) -> tuple[Ints, Ints, Floats]:
    """The chosen edges, so many in all."""
    low, high = np.empty(total, np.int64), np.empty(total, np.int64)
    alike = np.empty(total, np.float32)
    at = 0
    for edge in range(len(src)):
        if chosen[edge]:
            low[at], high[at], alike[at] = src[edge], dst[edge], similarity[edge]
            at += 1
    return low, high, alike


@njit(cache=True, nogil=True)
def _by_digits(
    ends: Ints, alike: Floats, bound: int, places: Ints, other_ends: Ints, other_alike: Floats
) -> None:
    """Sort a list by its ends, all below a bound, in place: a round of counting per digit."""
    count, shift = len(ends), 0
    mask = np.int64((1 << _DIGITS) - 1)
    while bound >> shift:
        places[:] = 0
        for at in range(count):
            places[((ends[at] >> shift) & mask) + 1] += 1
        for digit in range(1 << _DIGITS):
            places[digit + 1] += places[digit]
        for at in range(count):
            digit = (ends[at] >> shift) & mask
            to = places[digit]
            places[digit] += 1
            other_ends[to], other_alike[to] = ends[at], alike[at]
        for at in range(count):
            ends[at], alike[at] = other_ends[at], other_alike[at]
        shift += _DIGITS


@njit(cache=True, nogil=True)
def _differ(group: Ints, src: Ints, dst: Ints) -> Bools:
    chosen = np.empty(len(src), np.bool_)
    for edge in range(len(src)):
        chosen[edge] = group[src[edge]] != group[dst[edge]]
    return chosen


def sorted_pairs(count: int, src: Ints, dst: Ints, similarity: Floats) -> tuple[Ints, Ints, Floats]:
    """Pairs in order of their lower end, then the higher.

    Args:
        count: Number of nodes.
        src: Lower ends, int64 or int32 (p,), in 0..count-1.
        dst: Higher ends, the same.
        similarity: float32 (p,).

    Returns:
        Both ends, int64 (p,) each, and similarities.
    """
    return _by_ends(count, src, dst, similarity)[:3]


@njit(cache=True, nogil=True)
def _by_ends(
    count: int, left: Ints, right: Ints, similarity: Floats
) -> tuple[Ints, Ints, Floats, bool]:
    """Pairs sorted by lower and then higher end; whether there are neither loops nor repeats."""
    starts = np.zeros(count + 1, np.int64)
    for pair in range(len(left)):
        starts[min(left[pair], right[pair]) + 1] += 1
    for node in range(count):
        starts[node + 1] += starts[node]
    free = starts[:-1].copy()
    ends = np.empty(len(left), np.int64)
    alike = np.empty(len(left), np.float32)
    for pair in range(len(left)):
        low, high = min(left[pair], right[pair]), max(left[pair], right[pair])
        at = free[low]
        free[low] += 1
        ends[at], alike[at] = high, similarity[pair]
    src = np.empty(len(left), np.int64)
    for node in range(count):
        src[starts[node] : starts[node + 1]] = node
    return src, ends, alike, _sort_lists(starts, ends, alike)


@njit(cache=True, nogil=True)
def _sort_lists(starts: Ints, ends: Ints, alike: Floats) -> bool:
    """Sort the list of each node by its ends; whether no node is in its own, or twice in one."""
    longest, count = np.int64(0), len(starts) - 1
    for node in range(count):
        longest = max(longest, starts[node + 1] - starts[node])
    places = np.empty((1 << _DIGITS) + 1, np.int64)
    spare = np.empty(longest, np.int64), np.empty(longest, np.float32)
    distinct = True
    for node in range(count):
        low, high = starts[node], starts[node + 1]
        # Pairs come from few files, sorted there: hardly a list is in disorder.
        if not _ascending(ends[low:high]):
            if high - low > _INSERTED:
                _by_digits(ends[low:high], alike[low:high], count, places, *spare)
            else:
                _by_insertion(ends[low:high], alike[low:high])
            for at in range(low + 1, high):
                distinct &= ends[at - 1] != ends[at]
        distinct &= low == high or ends[low] != node  # all others are at least as high
    return distinct


@njit(cache=True, nogil=True)
def _ascending(ends: Ints) -> bool:
    """Whether a list is sorted, and nothing in it twice."""
    wrong = 0
    for at in range(1, len(ends)):
        wrong |= ends[at - 1] >= ends[at]
    return wrong == 0


@njit(cache=True, nogil=True)
def _by_insertion(ends: Ints, alike: Floats) -> None:
    """Sort a short list by its ends, in place."""
    for at in range(1, len(ends)):
        end, value = ends[at], alike[at]
        back = at
        while back > 0 and ends[back - 1] > end:
            ends[back], alike[back] = ends[back - 1], alike[back - 1]
            back -= 1
        ends[back], alike[back] = end, value


def distinct_pairs(
    count: int, left: Ints, right: Ints, similarity: Floats
) -> tuple[Ints, Ints, Floats]:
    """Each unordered pair once, the lower node first, in order; loops are dropped.

    Of a pair that stands twice, as where two nodes became one, the higher similarity counts.

    Args:
        count: Number of nodes, below 3e9 so that a pair fits an int64.
        left: One end of each pair, int64 or int32 (p,).
        right: The other end, the same.
        similarity: float32 (p,).
    """
    src, dst, similarity, distinct = _by_ends(count, left, right, similarity)
    if distinct:
        return src, dst, similarity
    again = (src[1:] == src[:-1]) & (dst[1:] == dst[:-1])
    loops = src == dst
    starts = np.flatnonzero(np.concatenate([[True], ~again]))
    similarity = np.maximum.reduceat(similarity, starts)
    plain = ~loops[starts]
    return src[starts][plain], dst[starts][plain], similarity[plain]


def unique_pairs(count: int, left: Ints, right: Ints) -> tuple[Ints, Ints]:
    """Each unordered pair once, with the lower node first, sorted; loops are dropped.

    Args:
        count: Number of nodes, below 3e9 so that a pair fits an int64.
        left: One end of each pair, int64 (p,).
        right: The other end, int64 (p,).

    Returns:
        Lower and higher ends, int64 (q,) each.
    """
    keys = np.unique(np.minimum(left, right) * count + np.maximum(left, right))
    src, dst = np.divmod(keys, max(count, 1))
    different = src != dst
    return src[different], dst[different]
