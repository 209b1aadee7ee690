"""A few new codes against the codes of their cells, where those lie.

A batch brings a dozen rows to a cell of a thousand. Products of such a shape are all memory
traffic: every code is read once, in the order of its file, without being copied together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from dedup.arrays import Floats, Ints
from dedup.cells.assign import Cells
from dedup.cells.codes import Bytes, Codes
from dedup.cells.dots import AT_ONCE, four_reach, grouped
from dedup.cells.pairs import reaching

#: New rows of a cell from which blocked products are faster.
MANY = 64


class NewCodes:
    """Codes of new rows, by cell, ready to be held against those of others.

    Args:
        codes: Of the new rows.
        first: The first cell that ``bounds`` speaks of.
        bounds: Where the new rows of each cell start, and where the last end, int64 (c + 1,).
    """

    def __init__(self, codes: Codes, first: int, bounds: Ints) -> None:
        self._codes, self._first, self._bounds = codes, first, bounds
        self._many = np.flatnonzero(np.diff(bounds) >= MANY).tolist()
        self._grouped = grouped(codes.values.shape[1])
        if self._grouped:
            more = np.zeros((AT_ONCE, codes.values.shape[1]), dtype=np.int8)
            self._padded = np.concatenate([codes.values, more])
            # What the left code is moved by, to be without a sign, shows in the sums.
            self._shift = self._padded.sum(axis=1, dtype=np.int32) * np.int32(128)

    def reached(self, cell: Cells, codes: Codes, floor: float) -> tuple[Ints, Ints]:
        """Pairs of a new row and a row of the same cell whose cosine may reach a floor.

        Args:
            cell: Of the rows, int32 (n,), ascending, none before the first.
            codes: Of the rows.
            floor: Lowest similarity wanted.

        Returns:
            New rows and rows, int64 (p,) each: all pairs at or above the floor, and a few below.
        """
        left, right = self._walked(cell, codes, floor)
        lefts, rights = [left], [right]
        for number in self._many:
            start, stop = np.searchsorted(cell, [self._first + number, self._first + number + 1])
            if start == stop:
                continue
            begin, end = self._bounds[number], self._bounds[number + 1]
            # A copy: PyTorch warns of what is mapped and read-only.
            theirs = codes.take(np.arange(start, stop))
            one, other = reaching(self._codes.take(slice(begin, end)), theirs, floor)
            lefts.append(begin + one)
            rights.append(start + other)
        return np.concatenate(lefts), np.concatenate(rights)

    def _walked(self, cell: Cells, codes: Codes, floor: float) -> tuple[Ints, Ints]:
        new, bound = self._codes, np.float32(floor)
        low = self._low(codes, floor) if self._grouped else None
        room = 4 * len(new) + 1024
        while True:
            left, right = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
            codes_of = cell, codes.values, codes.scale, codes.error
            newly = new.values, new.scale, new.error, self._first, self._bounds
            walk: Any = _walk if low is None else _walk_grouped
            sieve = () if low is None else (self._padded, self._shift, low)
            count = walk(*codes_of, *newly, bound, left, right, *sieve)
            if count <= room:
                return left[:count], right[:count]
            room = count

    def _low(self, codes: Codes, floor: float) -> Floats:
        """What the scaled product of each new row has to reach, whatever the other's error."""
        new, worst = self._codes, float(codes.error.max(initial=0))
        margin = new.error.astype(np.float64) * (1 + worst) + worst + 1e-5
        with np.errstate(divide="ignore", invalid="ignore"):
            low = np.where(new.scale > 0, (floor - margin) / new.scale, -np.inf)
        bounds = np.full(len(new) + AT_ONCE, np.inf, dtype=np.float32)
        bounds[: len(new)] = low - np.abs(low) * 1e-5
        return bounds


@njit(cache=True, nogil=True)
def _walk(
    cell: Cells,
    values: Bytes,
    scale: Floats,
    error: Floats,
    new_values: Bytes,
    new_scale: Floats,
    new_error: Floats,
    first: int,
    bounds: Ints,
    floor: np.float32,
    left: Ints,
    right: Ints,
) -> int:
    """Write the pairs that may reach the floor; returns how many there are, room or not."""
    count, width = 0, values.shape[1]
    for row in range(len(cell)):
        begin, end = bounds[cell[row] - first], bounds[cell[row] - first + 1]
        if end - begin >= MANY:
            continue
        for new in range(begin, end):
            total = np.int32(0)
            for j in range(width):
                # A product of two bytes fits 16 bits: twice as many at a time.
                product = np.int16(np.int16(values[row, j]) * np.int16(new_values[new, j]))
                total = np.int32(total + np.int32(product))
            if _reaches(total, scale[row], error[row], new_scale[new], new_error[new], floor):
                if count < len(left):
                    left[count], right[count] = new, row
                count += 1
    return count


@njit(cache=True, nogil=True)
def _walk_grouped(
    cell: Cells,
    values: Bytes,
    scale: Floats,
    error: Floats,
    new_values: Bytes,
    new_scale: Floats,
    new_error: Floats,
    first: int,
    bounds: Ints,
    floor: np.float32,
    left: Ints,
    right: Ints,
    padded: Bytes,
    shift: Cells,
    low: Floats,
) -> int:
    """The same, where few come through a sieve of four at a time; see ``four_reach``."""
    count, width = 0, values.shape[1]
    codes, others = values.ctypes.data, padded.ctypes.data
    shifts, lows = shift.ctypes.data, low.ctypes.data
    for row in range(len(cell)):
        begin, end = bounds[cell[row] - first], bounds[cell[row] - first + 1]
        if end - begin >= MANY:
            continue
        code, own = codes + row * width, scale[row]
        for start in range(begin, end, AT_ONCE):
            near: int = four_reach(  # type: ignore[call-arg]
                code, others + start * width, width, shifts + start * 4, lows + start * 4, own
            )
            if near == 0:
                continue
            for new in range(start, min(start + AT_ONCE, end)):
                if not (near >> (new - start)) & 1:
                    continue
                total = np.int32(0)
                for j in range(width):
                    product = np.int16(np.int16(values[row, j]) * np.int16(new_values[new, j]))
                    total = np.int32(total + np.int32(product))
                if _reaches(total, own, error[row], new_scale[new], new_error[new], floor):
                    if count < len(left):
                        left[count], right[count] = new, row
                    count += 1
    return count


@njit(cache=True, nogil=True, inline="always")
def _reaches(
    total: np.int32,
    scale: np.float32,
    error: np.float32,
    new_scale: np.float32,
    new_error: np.float32,
    floor: np.float32,
) -> np.bool_:
    margin = error + new_error + error * new_error + np.float32(1e-6)
    return np.float32(total) * scale * new_scale >= floor - margin
