"""Compiled loops over pixels, in integer arithmetic: the results are the same everywhere.

Pixels are (height, width) uint32, red in the lowest byte, then green and blue: Pillow's own
memory of an RGB image on a little-endian machine. Numba widens 32-bit arithmetic to 64 bits;
the casts keep it narrow, without which the compiler does not work on several pixels at once.
How many it takes follows from the widest numbers that a loop loads and stores: where those it
computes with are wider, it uses registers of 512 bits, and a processor that has them waits for
their current, and is slower for a while, the next image's decoding included. So loops store
what is wider first, and narrow it in a second loop; and shift by constants only. Filling a
piece whose length is a constant of 64 bytes or more takes such registers too.
All kernels release the GIL.
"""

# Numba adds where mypy sees int and numpy.int64.
# mypy: disable-error-code="assignment"

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

# The weights of Pillow's conversion to ``L``: ITU-R BT.601, times 2^16.
_RED, _GREEN, _BLUE = np.uint32(19595), np.uint32(38470), np.uint32(7471)
_HALF, _BYTE = np.uint32(0x8000), np.uint32(255)
_EIGHT, _SIXTEEN = np.uint32(8), np.uint32(16)


@njit(cache=True, nogil=True)
def luma(pixels: NDArray[np.uint32], grey: NDArray[np.uint8]) -> None:
    """Fill ``grey`` (height, width) with Pillow's ``L`` of the pixels."""
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            pixel = pixels[y, x]
            total = np.uint32(
                (pixel & _BYTE) * _RED
                + ((pixel >> _EIGHT) & _BYTE) * _GREEN
                + ((pixel >> _SIXTEEN) & _BYTE) * _BLUE
                + _HALF
            )
            grey[y, x] = np.uint8(total >> _SIXTEEN)


@njit(cache=True, nogil=True)
def colour_sums(
    pixels: NDArray[np.uint32], step: int, colour: tuple[int, int, int], tolerance: int
) -> tuple[int, int, int, int, int]:
    """Sums of rg, rg^2, yb, yb^2, and the pixels near a colour, in every ``step``-th row.

    rg = R - G and yb = R + G - 2 B. Near is within ``tolerance`` in each channel.

    Args:
        pixels: (height, width), at most 8,000 wide: a row's sums must fit 32 bits.
        step: At least 1.
        colour: Red, green and blue.
        tolerance: 0..255.
    """
    low_red = np.int32(colour[0] - tolerance)
    low_green = np.int32(colour[1] - tolerance)
    low_blue = np.int32(colour[2] - tolerance)
    span = np.uint32(2 * tolerance)
    rg_all, rg2_all, yb_all, yb2_all, near_all = 0, 0, 0, 0, 0
    for y in range(0, pixels.shape[0], step):
        rg_sum, rg2_sum, near_sum = np.int32(0), np.int32(0), np.int32(0)
        yb_sum, yb2_sum = np.int32(0), np.int32(0)
        for x in range(pixels.shape[1]):
            pixel = pixels[y, x]
            red = np.int32(pixel & _BYTE)
            green = np.int32((pixel >> _EIGHT) & _BYTE)
            blue = np.int32((pixel >> _SIXTEEN) & _BYTE)
            rg = np.int32(red - green)
            yb = np.int32(red + green - np.int32(2) * blue)
            rg_sum = np.int32(rg_sum + rg)
            rg2_sum = np.int32(rg2_sum + rg * rg)
            yb_sum = np.int32(yb_sum + yb)
            yb2_sum = np.int32(yb2_sum + yb * yb)
            # Negative differences wrap to large unsigned numbers: one comparison each.
            near = (
                (np.uint32(red - low_red) <= span)
                & (np.uint32(green - low_green) <= span)
                & (np.uint32(blue - low_blue) <= span)
            )
            near_sum = np.int32(near_sum + np.int32(near))
        rg_all += np.int64(rg_sum)
        rg2_all += np.int64(rg2_sum)
        yb_all += np.int64(yb_sum)
        yb2_all += np.int64(yb2_sum)
        near_all += np.int64(near_sum)
    return rg_all, rg2_all, yb_all, yb2_all, near_all


@njit(cache=True, nogil=True)
def tones(grey: NDArray[np.uint8], step: int) -> tuple[int, int, int, float]:
    """Sum, squares and number of the values in every ``step``-th row, and their entropy, bits."""
    # Four counters: neighbours are often equal, and one counter would wait for itself.
    parts = np.zeros((4, 256), dtype=np.int32)
    width = grey.shape[1]
    whole = width - width % 4
    for y in range(0, grey.shape[0], step):
        for x in range(0, whole, 4):
            parts[0, grey[y, x]] += 1
            parts[1, grey[y, x + 1]] += 1
            parts[2, grey[y, x + 2]] += 1
            parts[3, grey[y, x + 3]] += 1
        for x in range(whole, width):
            parts[0, grey[y, x]] += 1
    total, squares, count, weighted = 0, 0, 0, 0.0
    for value in range(256):
        present = np.int64(0)
        for part in range(4):
            present += np.int64(parts[part, value])
        if present:
            total += value * present
            squares += value * value * present
            count += present
            weighted += present * math.log2(present)
    return total, squares, count, math.log2(count) - weighted / count


@njit(cache=True, nogil=True)
def laplacian_sums(grey: NDArray[np.uint8], step: int) -> tuple[int, int, int, int]:
    """Sum and squares of the four-neighbour Laplacian, flats, and the number of pixels.

    Of the inner pixels in every ``step``-th row of (height, width), at most 2,000 wide. Flats
    are those that equal their right and lower neighbours.
    """
    total, squares, flats, count = 0, 0, 0, 0
    for y in range(1, grey.shape[0] - 1, step):
        row, row2, flat = np.int32(0), np.int32(0), np.int32(0)
        for x in range(1, grey.shape[1] - 1):
            here = np.int32(grey[y, x])
            below = np.int32(grey[y + 1, x])
            right = np.int32(grey[y, x + 1])
            around = np.int32(np.int32(grey[y - 1, x]) + np.int32(grey[y, x - 1]) + below + right)
            value = np.int32(around - np.int32(4) * here)
            row = np.int32(row + value)
            row2 = np.int32(row2 + value * value)
            flat = np.int32(flat + np.int32((here == below) & (here == right)))
        total += np.int64(row)
        squares += np.int64(row2)
        flats += np.int64(flat)
        count += max(0, grey.shape[1] - 2)
    return total, squares, flats, count


@njit(cache=True, nogil=True)
def diagonal_median(grey: NDArray[np.uint8], step: int) -> float:
    """Median of |a - b - c + d| over the disjoint 2 x 2 blocks (a b / c d).

    Of every ``step``-th row of blocks in (height, width). The median of the integers is
    interpolated, and 0 where at least half of them are 0.
    """
    width = grey.shape[1] // 2
    details = np.empty(max(1, width), dtype=np.uint16)
    counts = np.zeros((2, 511), dtype=np.int64)
    for y in range(0, grey.shape[0] - 1, 2 * step):
        for x in range(width):
            value = np.int16(
                np.int16(grey[y, 2 * x])
                - np.int16(grey[y, 2 * x + 1])
                - np.int16(grey[y + 1, 2 * x])
                + np.int16(grey[y + 1, 2 * x + 1])
            )
            details[x] = np.uint16(max(value, np.int16(-value)))
        for x in range(width):
            counts[x & 1, details[x]] += 1
    half = counts.sum() / 2
    below = counts[0, 0] + counts[1, 0]
    if below >= half:
        return 0.0
    level = 1
    while below + counts[0, level] + counts[1, level] < half:
        below += counts[0, level] + counts[1, level]
        level += 1
    return level - 0.5 + (half - below) / (counts[0, level] + counts[1, level])


@njit(cache=True, nogil=True)
def edge_lines(
    grey: NDArray[np.uint8], step: int, rows: NDArray[np.int32], columns: NDArray[np.int32]
) -> None:
    """Count, by row and by column, the pixels on a straight edge along it.

    A pixel is on a horizontal edge where the next row differs by at least ``step`` while both
    rows go on unchanged (by at most 2) to the right; likewise for vertical edges.

    Args:
        grey: (height, width).
        step: Grey levels.
        rows: (height - 1,) zeros, filled with the counts below each row.
        columns: (width - 1,) zeros, filled with the counts right of each column.
    """
    bound, same = np.int32(step), np.int32(2)
    for y in range(grey.shape[0] - 1):
        on_row = np.int32(0)
        for x in range(grey.shape[1] - 1):
            here = np.int32(grey[y, x])
            right = np.int32(grey[y, x + 1])
            below = np.int32(grey[y + 1, x])
            across = np.int32(grey[y + 1, x + 1])
            down = np.int32(abs(np.int32(below - here)))
            along = np.int32(abs(np.int32(right - here)))
            down_right = np.int32(abs(np.int32(across - right)))
            along_below = np.int32(abs(np.int32(across - below)))
            level = (down >= bound) & (along <= same) & (along_below <= same)
            upright = (along >= bound) & (down <= same) & (down_right <= same)
            on_row = np.int32(on_row + np.int32(level))
            columns[x] = np.int32(columns[x] + np.int32(upright))
        rows[y] = on_row
