"""Which of many ids are among a few: asked of every pair where only some are wanted."""

from __future__ import annotations

import numpy as np
from numba import njit

from dedup.arrays import Bools, Ints
from dedup.lookup import Rows
from dedup.units import MIX

#: Bits of the sieve per id wanted: about one in so many of the others passes it.
_SPARSE = 32


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

    def __call__(self, ids: Ints) -> Ints:
        """Places of the wanted ones, int64 (p,), ascending.

        Args:
            ids: int64 (n,), in any order.
        """
        passed = np.flatnonzero(_sieved(self._sieve, self._shift, ids))
        return passed[self._rows.find(ids[passed]) >= 0]


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
