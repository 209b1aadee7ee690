"""From ids to rows, millions at a time."""

from __future__ import annotations

import numpy as np
from numba import njit

from dedup.arrays import Ints, name_rows

#: Buckets of ids per row at most.
_BUCKETS = 4


class Rows:
    """The rows of ids that ascend, and mostly without gaps in long runs.

    Ids are put into buckets of a power of two of neighbouring ids. Inside a bucket the row is
    guessed from its first id, which is right where no id is missing; else it is searched.
    Several times as fast as a binary search over all ids, which misses the cache at every step.

    Args:
        ids: int64 (n,), strictly ascending.

    Raises:
        ValueError: If they are not.
    """

    def __init__(self, ids: Ints) -> None:
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        # Compared, not subtracted: a difference of far ids may overflow.
        disorder = np.flatnonzero(ids[1:] <= ids[:-1])
        if len(disorder):
            at = int(disorder[0])
            raise ValueError(
                f"ids must be strictly ascending; id {ids[at + 1]} follows {ids[at]} at row "
                f"{at + 1}"
            )
        self._ids = ids
        span = int(ids[-1]) - int(ids[0]) if len(ids) else 0
        self._shift = max(0, (span // max(1, _BUCKETS * len(ids))).bit_length())
        if span == len(ids) - 1:
            self._shift = 63  # one run, one bucket
        count = (span >> self._shift) + 1 if len(ids) else 0
        self._starts = _starts(ids, self._shift, count)

    def __call__(self, wanted: Ints) -> Ints:
        """The row of each wanted id, int64 (p,).

        Raises:
            ValueError: If one is not there.
        """
        rows = self.find(wanted)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            raise ValueError(f"ids that belong to no node: {name_rows(np.unique(wanted[missing]))}")
        return rows

    def find(self, wanted: Ints) -> Ints:
        """The row of each wanted id, int64 (p,); -1 where there is none."""
        wanted = np.ascontiguousarray(wanted, dtype=np.int64)
        return _find(self._ids, self._starts, self._shift, wanted)


@njit(cache=True, nogil=True)
def _starts(ids: Ints, shift: int, count: int) -> Ints:
    """The first row of each bucket, and where the last ends."""
    starts = np.full(count + 1, len(ids), np.int64)
    last = np.int64(-1)
    for row in range(len(ids)):
        bucket = np.int64((np.uint64(ids[row]) - np.uint64(ids[0])) >> np.uint64(shift))
        while last < bucket:
            last += 1
            starts[last] = row
    return starts


@njit(cache=True, nogil=True)
def _find(ids: Ints, starts: Ints, shift: int, wanted: Ints) -> Ints:
    rows = np.empty(len(wanted), np.int64)
    for at in range(len(wanted)):
        rows[at] = -1
        one = wanted[at]
        if len(ids) == 0 or one < ids[0] or one > ids[-1]:
            continue
        bucket = (np.uint64(one) - np.uint64(ids[0])) >> np.uint64(shift)
        low, high = starts[bucket], starts[bucket + 1]
        if low == high:
            continue
        beyond = np.uint64(one) - np.uint64(ids[low])
        if beyond < np.uint64(high - low) and ids[low + np.int64(beyond)] == one:
            rows[at] = low + np.int64(beyond)
            continue
        while low < high:
            middle = (low + high) // 2
            if ids[middle] < one:
                low = middle + 1
            else:
                high = middle
        if low < len(ids) and ids[low] == one:
            rows[at] = low
    return rows
