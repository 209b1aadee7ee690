"""Which of many ids are among a few: asked of every pair where only some are wanted."""

from __future__ import annotations

import numpy as np
from numba import njit

from dedup.arrays import Bools, Floats, Ints
from dedup.cells.assign import Cells
from dedup.lookup import Rows
from dedup.units import MIX

#: Bits of the sieve per id wanted: about one in so many of the others passes it.
_SPARSE = 32
#: A table of all ids from the first to the last takes up to so many entries per id wanted.
_TABLED = 64


class IdFilter:
    """A set of ids that millions of others are held against.

    A sieve of single bits (a Bloom filter with one hash, Bloom 1970) stays in the processor's
    cache and turns away nearly all that are not wanted; the rest is looked up.

    Args:
        wanted: int64 (w,), ascending, each once.
    """

    def __init__(self, wanted: Ints) -> None:
        self._rows = Rows(wanted)
        bits = max(10, int(len(wanted) * _SPARSE).bit_length())
        self._shift = np.uint64(64 - bits)
        self._sieve = np.zeros(1 << bits, dtype=np.bool_)
        _mark(self._sieve, self._shift, wanted)
        self._first = int(wanted[0]) if len(wanted) else 0
        span = int(wanted[-1]) - self._first + 1 if len(wanted) else 0
        self._table = np.zeros(0, dtype=np.int32)
        if span <= _TABLED * len(wanted) < 2**31:
            self._table = np.full(span, -1, dtype=np.int32)
            self._table[wanted - self._first] = np.arange(len(wanted))

    def __call__(self, ids: Ints) -> Ints:
        """Places of the wanted ones, int64 (p,), ascending.

        Args:
            ids: int64 (n,), in any order.
        """
        passed = np.flatnonzero(_sieved(self._sieve, self._shift, ids))
        return passed[self._rows.find(ids[passed]) >= 0]

    def pairs(self, src: Ints, dst: Ints, similarity: Floats) -> tuple[Ints, Ints, Floats]:
        """The pairs whose lower end is wanted, their ends by place among the wanted.

        Args:
            src: Lower ends, int64 (p,).
            dst: Higher ends, int64 (p,); wanted where the lower is.
            similarity: float32 (p,).

        Raises:
            ValueError: If only the lower end is wanted.
        """
        if not len(self._table):
            found = self(src)
            return self._rows(src[found]), self._rows(dst[found]), similarity[found]
        low, high = np.empty(len(src), dtype=np.int64), np.empty(len(src), dtype=np.int64)
        alike = np.empty(len(src), dtype=np.float32)
        count = _chosen(self._first, self._table, src, dst, similarity, low, high, alike)
        if count < 0:
            raise ValueError("a pair joins a row that is wanted to one that is not")
        return low[:count], high[:count], alike[:count]


@njit(cache=True, nogil=True)
def dealt_pairs(
    src: Ints, dst: Ints, similarity: Floats, share: Ints, place: Ints, shares: int
) -> tuple[Ints, Ints, Ints, Floats]:
    """Pairs by share, in their old order inside each.

    Args:
        src: One end, int64 (p,), as a row.
        dst: The other, of the same share.
        similarity: float32 (p,).
        share: Of each row, int64 (m,).
        place: Of each row in its share, int64 (m,).
        shares: How many there are.

    Returns:
        Where each share starts, and where the last ends, int64 (shares + 1,); both ends by
        their places in the share, and similarities.
    """
    starts = np.zeros(shares + 1, np.int64)
    for pair in range(len(src)):
        starts[share[src[pair]] + 1] += 1
    for at in range(shares):
        starts[at + 1] += starts[at]
    free = starts.copy()
    low, high = np.empty(len(src), np.int64), np.empty(len(src), np.int64)
    alike = np.empty(len(src), np.float32)
    for pair in range(len(src)):
        at = free[share[src[pair]]]
        free[share[src[pair]]] += 1
        low[at], high[at], alike[at] = place[src[pair]], place[dst[pair]], similarity[pair]
    return starts, low, high, alike


@njit(cache=True, nogil=True)
def _chosen(
    first: int,
    table: Cells,
    src: Ints,
    dst: Ints,
    similarity: Floats,
    low: Ints,
    high: Ints,
    alike: Floats,
) -> int:
    """Write the pairs that are wanted; how many, or -1 where an end is missing."""
    count = 0
    for pair in range(len(src)):
        one, other = src[pair] - first, dst[pair] - first
        if one < 0 or one >= len(table) or table[one] < 0:
            continue
        if other >= len(table) or table[other] < 0:
            return -1
        low[count], high[count], alike[count] = table[one], table[other], similarity[pair]
        count += 1
    return count


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
