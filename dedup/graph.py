"""The neighbour graph: which items are alike, and how much."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from dedup.arrays import Bools, Floats, Ints


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
        count: Number of nodes, below 3e9 so that a pair fits an int64.
        src: Lower ends, int64 (p,); no pair may stand twice.
        dst: Higher ends, int64 (p,).
        similarity: float32 (p,).
    """
    # One sort of whole numbers is several times as fast as a sort by two columns.
    order = np.argsort(src * count + dst)
    return src[order], dst[order], similarity[order]


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
