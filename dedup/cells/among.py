"""Which of many ids are among a few: asked of every pair where only some are wanted."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.arrays import Bools, Floats, Ints
from dedup.cells.assign import Cells
from dedup.lookup import Rows
from dedup.units import MIX

Places: TypeAlias = NDArray[np.int32] | NDArray[np.int64]

#: Bits of the sieve per id wanted: about one in so many of the others passes it.
_SPARSE = 32
#: A table of all ids from the first to the last takes up to so many entries per id wanted.
_TABLED = 64


class IdFilter:
    """A set of ids that millions of others are held against.

    Ids that lie close enough have a table. For others a sieve of single bits (a Bloom filter
    with one hash, Bloom 1970) stays in the processor's cache and turns away nearly all that are
    not wanted; the rest is looked up.

    Args:
        wanted: int64 (w,), ascending, each once.
    """

    def __init__(self, wanted: Ints) -> None:
        self._first = int(wanted[0]) if len(wanted) else 0
        span = int(wanted[-1]) - self._first + 1 if len(wanted) else 0
        self._table = np.zeros(0, dtype=np.int32)
        if 0 < span <= _TABLED * len(wanted) < 2**31:
            self._table = np.full(span, -1, dtype=np.int32)
            self._table[wanted - self._first] = np.arange(len(wanted))
            return
        self._rows = Rows(wanted)
        bits = max(10, int(len(wanted) * _SPARSE).bit_length())
        self._shift = np.uint64(64 - bits)
        self._sieve = np.zeros(1 << bits, dtype=np.bool_)
        _mark(self._sieve, self._shift, wanted)

    def __call__(self, ids: Ints) -> Ints:
        """Places of the wanted ones, int64 (p,), ascending.

        Args:
            ids: int64 (n,), in any order.
        """
        if len(self._table):
            return np.flatnonzero(_tabled(self._first, self._table, ids))
        passed = np.flatnonzero(_sieved(self._sieve, self._shift, ids))
        return passed[self._rows.find(ids[passed]) >= 0]

    def dealt(
        self, src: Ints, dst: Ints, similarity: Floats, share: Ints, place: Places, shares: int
    ) -> tuple[Ints, Places, Places, Floats]:
        """The pairs whose lower end is wanted, by share, in their old order inside each.

        Args:
            src: Lower ends, int64 (p,).
            dst: Higher ends, int64 (p,); wanted where the lower is, and of the same share.
            similarity: float32 (p,).
            share: Of each wanted id, int64 (w,).
            place: Of each wanted id in its share, int32 or int64 (w,).
            shares: How many there are.

        Returns:
            Where each share starts, and where the last ends, int64 (shares + 1,); both ends by
            their places in the share, and similarities.

        Raises:
            ValueError: If only the lower end is wanted.
        """
        first, table = self._first, self._table
        if not len(table):
            found = self(src)
            src, dst, similarity = self._rows(src[found]), self._rows(dst[found]), similarity[found]
            first, table = 0, np.arange(len(share), dtype=np.int32)
        starts = _counted(first, table, src, share, shares)
        dealt = _dealt(first, table, src, dst, similarity, share, place, starts)
        if not dealt[0]:
            raise ValueError("a pair joins a row that is wanted to one that is not")
        return starts, *dealt[1:]


@njit(cache=True, nogil=True)
def _counted(first: int, table: Cells, src: Ints, share: Ints, shares: int) -> Ints:
    """Where the pairs of each share start."""
    starts = np.zeros(shares + 1, np.int64)
    pair = 0
    while pair < len(src):
        # Many pairs of a row follow each other: it is looked up once.
        row, start = src[pair], pair
        while pair < len(src) and src[pair] == row:
            pair += 1
        at = row - first
        if at >= 0 and at < len(table) and table[at] >= 0:
            starts[share[table[at]] + 1] += pair - start
    for at in range(shares):
        starts[at + 1] += starts[at]
    return starts


@njit(cache=True, nogil=True)
def _dealt(
    first: int,
    table: Cells,
    src: Ints,
    dst: Ints,
    similarity: Floats,
    share: Ints,
    place: Places,
    starts: Ints,
) -> tuple[bool, Places, Places, Floats]:
    """Pairs by share; whether no end is missing."""
    free, total = starts.copy(), starts[-1]
    low, high = np.empty(total, place.dtype), np.empty(total, place.dtype)
    alike = np.empty(total, np.float32)
    pair = 0
    while pair < len(src):
        row, start = src[pair], pair
        while pair < len(src) and src[pair] == row:
            pair += 1
        at = row - first
        if at < 0 or at >= len(table) or table[at] < 0:
            continue
        one = table[at]
        at = free[share[one]]
        free[share[one]] += pair - start
        for each in range(start, pair):
            other = dst[each] - first
            if other < 0 or other >= len(table) or table[other] < 0:
                return False, low, high, alike
            low[at], high[at] = place[one], place[table[other]]
            alike[at] = similarity[each]
            at += 1
    return True, low, high, alike


@njit(cache=True, nogil=True)
def _tabled(first: int, table: Cells, ids: Ints) -> Bools:
    passed = np.empty(len(ids), np.bool_)
    for row in range(len(ids)):
        at = ids[row] - first  # wraps round where ids lie far apart, and is outside all the same
        passed[row] = at >= 0 and at < len(table) and table[at] >= 0
    return passed


@njit(cache=True, nogil=True)
def _mark(sieve: Bools, shift: np.uint64, wanted: Ints) -> None:
    for row in range(len(wanted)):
        sieve[(np.uint64(wanted[row]) * MIX) >> shift] = True


@njit(cache=True, nogil=True)
def _sieved(sieve: Bools, shift: np.uint64, ids: Ints) -> Bools:
    passed = np.empty(len(ids), np.bool_)
    for row in range(len(ids)):
        passed[row] = sieve[(np.uint64(ids[row]) * MIX) >> shift]
    return passed
