"""The frequencies of the perceptual hash, and its bits.

Resampling and the cosine transform are both weighted sums, so their weights are multiplied
beforehand: of a line of any length, eight sums remain. All sums are of whole numbers.
"""

# Numba adds where mypy sees int and numpy.int64.
# mypy: disable-error-code="assignment"

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit
from numba.extending import register_jitable
from numpy.typing import NDArray

from stages.signals.resampling import frequency_matrix, row_sums, whole_weights

#: Side of the square of samples whose frequencies are taken.
SAMPLES = 32
#: Lowest frequencies in each direction.
SIDE = 8
#: Sums of rows, from which vertical frequencies are taken where there are twice as many rows.
SUMS = 64

_ROW_BITS = 20
# Columns are filled up to a multiple of it: what compiled loops leave over is slow.
_WHOLE = 64


def hash_weights(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """What ``hash_of`` needs for an image of that size.

    Args:
        height: At most 2,048, so that no sum overflows.
        width: The same.

    Returns:
        Weights of the groups of rows (8, groups), and of the columns (8, width and more),
        zero beyond the width.
    """
    groups = _groups_of(height)
    return _row_weights(groups), _column_weights(width, -(-height // groups))


@lru_cache(maxsize=1024)
def _row_weights(groups: int) -> NDArray[np.int64]:
    return whole_weights(frequency_matrix(groups, SAMPLES, SIDE), _ROW_BITS)


@lru_cache(maxsize=1024)
def _column_weights(width: int, rows: int) -> NDArray[np.int16]:
    """With as many bits as a product of 16-bit numbers, and sums of 32 bits, allow."""
    exact = frequency_matrix(width, SAMPLES, SIDE)
    bits = _ROW_BITS
    while True:
        whole = np.abs(whole_weights(exact, bits))
        if whole.max() < 1 << 15 and whole.sum(axis=1).max() * rows * 255 < 1 << 31:
            filled = np.zeros((SIDE, -(-width // _WHOLE) * _WHOLE), dtype=np.int16)
            filled[:, :width] = whole_weights(exact, bits)
            return filled
        bits -= 1


@register_jitable
def _groups_of(length: int) -> int:
    """How many rows are left of ``length``, after sums over neighbours."""
    return SUMS if length >= 2 * SUMS else length


@njit(cache=True, nogil=True)
def hash_of(
    grey: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int16]
) -> np.uint64:
    """The hash of an image; see ``frequencies`` for the arguments."""
    return hash_bits(frequencies(grey, rows, columns))


@njit(cache=True, nogil=True)
def frequencies(
    grey: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int16]
) -> NDArray[np.int64]:
    """The lowest cosine terms of an image, resampled to 32 x 32 (Lanczos), in whole numbers.

    Args:
        grey: (height, width).
        rows: First of ``hash_weights``.
        columns: Second of the same.

    Returns:
        (8, 8), rows by vertical frequency; their unit depends on the image's size.
    """
    height, groups = grey.shape[0], rows.shape[1]
    across = _across(row_sums(grey, groups, columns.shape[1]), columns)
    size = height // groups
    if height % groups:
        # Groups of two sizes: both become sums of as many rows.
        for group in range(groups):
            lines = (group + 1) * height // groups - group * height // groups
            across[group] *= size + 1 if lines == size else size
    result = np.zeros((SIDE, SIDE), dtype=np.int64)
    for row in range(SIDE):
        for group in range(groups):
            weight = rows[row, group]
            for column in range(SIDE):
                result[row, column] += weight * across[group, column]
    return result


@njit(cache=True, nogil=True)
def _across(sums: NDArray[np.int16], columns: NDArray[np.int16]) -> NDArray[np.int64]:
    """Horizontal terms of each line: (groups, 8)."""
    result = np.empty((sums.shape[0], SIDE), dtype=np.int64)
    for group in range(sums.shape[0]):
        line = sums[group]
        for column in range(SIDE):
            weights, total = columns[column], np.int32(0)
            # One product of 16-bit numbers and one sum of 32 bits: a single instruction.
            for x in range(line.shape[0]):
                total = np.int32(total + np.int32(np.int32(line[x]) * np.int32(weights[x])))
            result[group, column] = total
    return result


@njit(cache=True, nogil=True)
def hash_bits(terms: NDArray[np.int64]) -> np.uint64:
    """Bits of the 8 x 8 terms that are above their median, row-major."""
    low = terms.ravel()
    ordered = np.sort(low)
    lower, upper = ordered[SIDE * SIDE // 2 - 1], ordered[SIDE * SIDE // 2]
    bits = np.uint64(0)
    for place in range(SIDE * SIDE):
        # Above the mean of the two in the middle: as whole numbers, without a rounded half.
        above = low[place] >= upper and lower < upper
        bits = (bits << np.uint64(1)) | np.uint64(above or low[place] > upper)
    return bits
