"""Pairs as they come, cut down to the best of each row whenever there are too many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dedup.arrays import Bools, Floats, Ints

#: Pairs per row that may pile up, as a multiple of what a row may list in the end.
_ROOM = 2
_LEAST_ROWS = 256


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows of a cell.

    Args:
        left: Row, int64 (p,).
        right: Row, int64 (p,).
        similarity: Cosine, float32 (p,).
        full: Rows with more neighbours than may be listed, int64 (s,).
        reach: The lowest similarity that each of them lists, float32 (s,).
        busiest: The most neighbours of a row.
    """

    left: Ints
    right: Ints
    similarity: Floats
    full: Ints
    reach: Floats
    busiest: int


class Pile:
    """Collects pairs; a pair stays if it is among the ``most`` best of either row.

    Args:
        ids: Of the rows, int64 (n,); of equal similarities the lower id is better.
        most: Neighbours listed per row at most.
    """

    def __init__(self, ids: Ints, most: int) -> None:
        self._ids = ids
        self._most = most
        self._room = _ROOM * most * max(len(ids), _LEAST_ROWS)
        self._parts: list[tuple[Ints, Ints, Floats]] = []
        self._count = 0
        self._busiest = 0
        self._full = np.zeros(len(ids), dtype=np.bool_)

    def add(self, left: Ints, right: Ints, similarity: Floats) -> None:
        """Add pairs of rows; no pair may be added twice."""
        self._parts.append((left, right, similarity))
        self._count += len(left)
        if self._count > self._room:
            self._cut()

    def result(self) -> Pairs:
        """What stays of all that was added."""
        kth = self._cut()
        left, right, similarity = self._parts[0]
        full = np.flatnonzero(self._full)
        return Pairs(left, right, similarity, full, kth[full], self._busiest)

    def _cut(self) -> Floats:
        """Drop the pairs that neither row has among its best.

        What is dropped early cannot be among the best of all later: the best of a whole are
        among the best of each part.

        Returns:
            Per row the similarity of the last pair that it lists, NaN where it lists all.
        """
        left, right, similarity = self._joined()
        degree = np.bincount(left, minlength=len(self._ids))
        degree += np.bincount(right, minlength=len(self._ids))
        kth = np.full(len(self._ids), np.nan, dtype=np.float32)
        self._full |= degree > self._most
        self._busiest = max(self._busiest, int(degree.max(initial=0)))
        if self._full.any():
            listed = self._listed(left, right, similarity, kth)
            left, right, similarity = left[listed], right[listed], similarity[listed]
        self._parts = [(left, right, similarity)]
        self._count = len(left)
        return kth

    def _joined(self) -> tuple[Ints, Ints, Floats]:
        if not self._parts:
            nothing = np.zeros(0, dtype=np.int64)
            return nothing, nothing, np.zeros(0, dtype=np.float32)
        lefts, rights, similarities = zip(*self._parts, strict=True)
        return np.concatenate(lefts), np.concatenate(rights), np.concatenate(similarities)

    def _listed(self, left: Ints, right: Ints, similarity: Floats, kth: Floats) -> Bools:
        """Which pairs one of their rows lists; notes where the lists of full rows end."""
        rows, others = np.concatenate([left, right]), np.concatenate([right, left])
        pairs = np.flatnonzero(self._full[rows])
        alike = similarity[pairs % max(len(left), 1)]
        order = np.lexsort((self._ids[others[pairs]], -alike, rows[pairs]))
        row = rows[pairs][order]
        place = np.arange(len(row)) - np.searchsorted(row, row)
        last = place == self._most - 1
        kth[row[last]] = alike[order][last]
        listed = ~self._full[rows]
        listed[pairs[order[place < self._most]]] = True
        return listed[: len(left)] | listed[len(left) :]
