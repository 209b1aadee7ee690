"""The neighbour graph: which items are alike, and how much."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numba import njit

from dedup.arrays import Bools, Floats, Ints

#: Lists up to this long are sorted by insertion.
_INSERTED = 24


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
        return replace(self.where(self.similarity >= np.float64(threshold)), floor=threshold)

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
    for node in range(len(starts) - 1):
        low, high = starts[node], starts[node + 1]
        if high - low > _INSERTED:
            order = np.argsort(ends[low:high], kind="mergesort")
            ends[low:high] = ends[low:high][order]
            alike[low:high] = alike[low:high][order]
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
    low, high = np.minimum(left, right), np.maximum(left, right)
    src, dst, similarity = sorted_pairs(count, low, high, similarity)
    again = (src[1:] == src[:-1]) & (dst[1:] == dst[:-1])
    loops = src == dst
    if not again.any() and not loops.any():
        return src, dst, similarity
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
