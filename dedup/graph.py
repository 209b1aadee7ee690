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

    def above(self, threshold: float) -> NeighbourGraph:
        """The graph of the pairs with similarity >= ``threshold``."""
        # Compared in float64: float32 would round 0.9 down and let 0.89999998 pass.
        chosen = self.similarity >= np.float64(threshold)
        return replace(self if chosen.all() else self.where(chosen), floor=threshold)

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
        """The graph of the chosen edges, bool (p,)."""
        return replace(
            self,
            src=self.src[chosen],
            dst=self.dst[chosen],
            similarity=self.similarity[chosen],
        )


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
    """Pairs in order of ``src``, then ``dst``.

    Args:
        count: Number of nodes.
        src: Lower ends, int64 (p,), in 0..count-1.
        dst: Higher ends, int64 (p,).
        similarity: float32 (p,).
    """
    starts = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(src, minlength=count), out=starts[1:])
    ends, alike = _by_src(starts, src, dst, similarity)
    return np.repeat(np.arange(count), np.diff(starts)), ends, alike


@njit(cache=True, nogil=True)
def _by_src(starts: Ints, src: Ints, dst: Ints, similarity: Floats) -> tuple[Ints, Floats]:
    """Other ends and similarities, counted into the place of their node, then sorted there."""
    free = starts.copy()
    ends = np.empty(len(src), np.int64)
    alike = np.empty(len(src), np.float32)
    for edge in range(len(src)):
        at = free[src[edge]]
        free[src[edge]] += 1
        ends[at] = dst[edge]
        alike[at] = similarity[edge]
    longest = np.int64(0)
    for node in range(len(starts) - 1):
        longest = max(longest, starts[node + 1] - starts[node])
    places = np.empty((1 << _DIGITS) + 1, np.int64)
    spare = np.empty(longest, np.int64), np.empty(longest, np.float32)
    for node in range(len(starts) - 1):
        low, high = starts[node], starts[node + 1]
        if high - low > _INSERTED:
            _by_digits(ends[low:high], alike[low:high], len(starts) - 1, places, *spare)
            continue
        for at in range(low + 1, high):
            end, value = ends[at], alike[at]
            back = at
            while back > low and ends[back - 1] > end:
                ends[back], alike[back] = ends[back - 1], alike[back - 1]
                back -= 1
            ends[back], alike[back] = end, value
    return ends, alike


def distinct_pairs(
    count: int, left: Ints, right: Ints, similarity: Floats
) -> tuple[Ints, Ints, Floats]:
    """Each unordered pair once, the lower node first, in order; loops are dropped.

    Of a pair that stands twice, as where two nodes became one, the higher similarity counts.

    Args:
        count: Number of nodes, below 3e9 so that a pair fits an int64.
        left: One end of each pair, int64 (p,).
        right: The other end, int64 (p,).
        similarity: float32 (p,).
    """
    if not _ordered(left, right):
        left, right = np.minimum(left, right), np.maximum(left, right)
    src, dst, similarity = sorted_pairs(count, left, right, similarity)
    if _distinct(src, dst):
        return src, dst, similarity
    again = (src[1:] == src[:-1]) & (dst[1:] == dst[:-1])
    loops = src == dst
    starts = np.flatnonzero(np.concatenate([[True], ~again]))
    similarity = np.maximum.reduceat(similarity, starts)
    plain = ~loops[starts]
    return src[starts][plain], dst[starts][plain], similarity[plain]


@njit(cache=True, nogil=True)
def _ordered(left: Ints, right: Ints) -> bool:
    """Whether no pair stands the wrong way round."""
    wrong = 0
    for pair in range(len(left)):
        wrong += left[pair] > right[pair]
    return wrong == 0


@njit(cache=True, nogil=True)
def _distinct(src: Ints, dst: Ints) -> bool:
    """Whether sorted pairs hold neither loops nor repeats."""
    for pair in range(len(src)):
        if src[pair] == dst[pair]:
            return False
        if pair and src[pair] == src[pair - 1] and dst[pair] == dst[pair - 1]:
            return False
    return True


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
