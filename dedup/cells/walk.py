"""A few new rows against all rows of their cells, where the rows lie.

A batch brings a dozen rows to a cell of a thousand. Products of such a shape are all memory
traffic: every code is read once, in the order of the files, without being copied together.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dedup.arrays import Bools, Floats, Ints
from dedup.cells.assign import Cells
from dedup.cells.codes import Bytes, Codes
from dedup.cells.ragged import RaggedCodes


def reaching_new(
    codes: RaggedCodes, cell: Cells, distinct: Bools, new: Bools, floor: float
) -> tuple[Ints, Ints]:
    """Pairs of a new row and another row of its cell whose cosine may reach a floor.

    Args:
        codes: Of n rows, in the order of their cells.
        cell: Of each row, int32 (n,), ascending.
        distinct: Rows that take part, bool (n,).
        new: Rows that are new, bool (n,).
        floor: Lowest similarity wanted.

    Returns:
        New rows and other rows, int64 (p,) each: all pairs at or above the floor, and a few
        below; pairs of two new rows from either end.
    """
    rows = np.flatnonzero(new & distinct)
    left = codes.take(rows)
    bounds = np.searchsorted(cell[rows], np.arange(int(cell.max(initial=-1)) + 2))
    found = [
        _pairs_of_part(place, values, scale, error, cell, distinct, left, bounds, floor)
        for place, values, scale, error in codes.by_part()
    ]
    places, others = zip(*found, strict=True) if found else ([], [])
    none = np.zeros(0, dtype=np.int64)
    return rows[np.concatenate([none, *places])], np.concatenate([none, *others])


def _pairs_of_part(
    place: Ints,
    values: Bytes,
    scale: Floats,
    error: Floats,
    cell: Cells,
    distinct: Bools,
    left: Codes,
    bounds: Ints,
    floor: float,
) -> tuple[Ints, Ints]:
    room = 4 * len(left) + 1024
    while True:
        ends = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
        count = _walk(
            place,
            values,
            scale,
            error,
            cell,
            distinct,
            left.values,
            left.scale,
            left.error,
            bounds,
            np.float32(floor),
            *ends,
        )
        if count <= room:
            return ends[0][:count], ends[1][:count]
        room = count


@njit(cache=True, nogil=True)
def _walk(
    place: Ints,
    values: Bytes,
    scale: Floats,
    error: Floats,
    cell: Cells,
    distinct: Bools,
    new_values: Bytes,
    new_scale: Floats,
    new_error: Floats,
    bounds: Ints,
    floor: np.float32,
    left: Ints,
    right: Ints,
) -> int:
    """Write the pairs that may reach the floor; returns how many there are, room or not."""
    count, width = 0, values.shape[1]
    for row in range(len(place)):
        other = place[row]
        if not distinct[other]:
            continue
        at = values[row]
        for new in range(bounds[cell[other]], bounds[cell[other] + 1]):
            total = np.int32(0)
            against = new_values[new]
            for j in range(width):
                # A product of two bytes fits 16 bits: twice as many at a time.
                product = np.int16(np.int16(at[j]) * np.int16(against[j]))
                total = np.int32(total + np.int32(product))
            margin = error[row] + new_error[new] + error[row] * new_error[new] + np.float32(1e-6)
            if np.float32(total) * scale[row] * new_scale[new] >= floor - margin:
                if count < len(left):
                    left[count], right[count] = new, other
                count += 1
    return count
