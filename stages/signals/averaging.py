"""Compiled shrinking of colour images: whole blocks first, then weights for what is left.

Pixels are packed, red in the lowest byte, as in ``stages.signals.kernels``. Rows are worked on
as bytes, and columns four channels at a time in one 64-bit number: with weights of eight bits
that sum to 256, or at most 257 pixels to add, no channel reaches its neighbour.
"""

# Numba adds where mypy sees int and numpy.int64.
# mypy: disable-error-code="assignment"

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Most pixels of a block whose sums fit 16 bits.
_SMALL_BLOCK = 257
_WEIGHT_BITS = 8
_EIGHT, _SIXTEEN = np.uint32(8), np.uint32(16)
# Of four channels, side by side in one number.
_PAIRS, _TWOS = np.uint64(0x00FF_00FF), np.uint64(0x0002_0002)
_HALVES, _BYTES = np.uint64(0x0080_0080_0080_0080), np.uint64(0x00FF_00FF_00FF_00FF)


@njit(cache=True, nogil=True)
def box_shrink(
    pixels: NDArray[np.uint32], down: int, across: int, result: NDArray[np.uint32]
) -> None:
    """Average whole blocks of pixels; what does not fill a block is left out.

    Args:
        pixels: (height, width), red in the lowest byte.
        down: Height of a block, 1..30,000.
        across: Width of a block, at least 1.
        result: (height // down, width // across), filled.
    """
    if down == across == 2:
        _blocks_of_four(pixels, result)
    elif down * across <= _SMALL_BLOCK:
        _small_blocks(pixels, down, across, result)
    else:
        _large_blocks(pixels, down, across, result)


@njit(cache=True, nogil=True)
def _blocks_of_four(pixels: NDArray[np.uint32], result: NDArray[np.uint32]) -> None:
    height, width = result.shape
    eight, two, half = np.uint64(8), np.uint64(2), np.uint64(32)
    for y in range(height):
        # Two neighbours in one number, and two channels of each at once.
        upper = pixels[2 * y, : 2 * width].view(np.uint64)
        lower = pixels[2 * y + 1, : 2 * width].view(np.uint64)
        means = result[y]
        for x in range(width):
            even = (upper[x] & _BYTES) + (lower[x] & _BYTES)
            odd = ((upper[x] >> eight) & _BYTES) + ((lower[x] >> eight) & _BYTES)
            even = ((even + (even >> half) + _TWOS) >> two) & _PAIRS
            odd = ((odd + (odd >> half) + _TWOS) >> two) & _PAIRS
            means[x] = np.uint32(even | (odd << eight))


@njit(cache=True, nogil=True)
def _small_blocks(
    pixels: NDArray[np.uint32], down: int, across: int, result: NDArray[np.uint32]
) -> None:
    height, width = result.shape
    half, share = np.float32(0.5), np.float32(1 / (down * across))
    sums = np.empty(4 * width * across, dtype=np.uint16)
    # Four channels of a pixel in one number: a block's sums do not overflow theirs.
    wide = sums.view(np.uint64)
    blocks = np.empty(width, dtype=np.uint64)
    channels = blocks.view(np.uint16)
    rounded = np.empty(4 * width, dtype=np.int32)
    for y in range(height):
        _sum_rows(pixels, y * down, (y + 1) * down, sums)
        _sum_columns(wide, across, blocks)
        means = result[y].view(np.uint8)
        for place in range(4 * width):
            rounded[place] = np.int32(np.float32(channels[place]) * share + half)
        for place in range(4 * width):
            means[place] = np.uint8(rounded[place])


@njit(cache=True, nogil=True)
def _sum_rows(pixels: NDArray[np.uint32], start: int, stop: int, sums: NDArray[np.uint16]) -> None:
    """Sums of the bytes of the rows from ``start`` on, up to ``stop``."""
    row = pixels[start].view(np.uint8)
    for place in range(sums.shape[0]):
        sums[place] = np.uint16(row[place])
    for y in range(start + 1, stop):
        row = pixels[y].view(np.uint8)
        for place in range(sums.shape[0]):
            sums[place] = np.uint16(sums[place] + np.uint16(row[place]))


@njit(cache=True, nogil=True)
def _sum_columns(wide: NDArray[np.uint64], across: int, blocks: NDArray[np.uint64]) -> None:
    """Sums of ``across`` neighbours each."""
    for x in range(blocks.shape[0]):
        blocks[x] = wide[x * across]
    for column in range(1, across):
        for x in range(blocks.shape[0]):
            blocks[x] += wide[x * across + column]


@njit(cache=True, nogil=True)
def _large_blocks(
    pixels: NDArray[np.uint32], down: int, across: int, result: NDArray[np.uint32]
) -> None:
    height, width = result.shape
    share = 1.0 / (down * across)
    sums = np.empty(4 * width * across, dtype=np.uint32)
    for y in range(height):
        sums[:] = np.uint32(0)
        for line in range(y * down, (y + 1) * down):
            row = pixels[line].view(np.uint8)
            for place in range(sums.shape[0]):
                sums[place] = np.uint32(sums[place] + np.uint32(row[place]))
        for x in range(width):
            red, green, blue = np.int64(0), np.int64(0), np.int64(0)
            for column in range(x * across, (x + 1) * across):
                red += np.int64(sums[4 * column])
                green += np.int64(sums[4 * column + 1])
                blue += np.int64(sums[4 * column + 2])
            # Half of a level is added, so that the truncation rounds.
            result[y, x] = np.uint32(
                np.uint32(red * share + 0.5)
                | (np.uint32(green * share + 0.5) << _EIGHT)
                | (np.uint32(blue * share + 0.5) << _SIXTEEN)
            )


@njit(cache=True, nogil=True)
def area_resize(pixels: NDArray[np.uint32], result: NDArray[np.uint32]) -> None:
    """Average over the area that each pixel of the smaller result covers.

    Weights are rounded to 1/256; rows are averaged first, and rounded.

    Args:
        pixels: (height, width), each under 65,536, red in the lowest byte.
        result: Filled; no larger than ``pixels`` in either direction.
    """
    rows, row_weights = area_weights(pixels.shape[0], result.shape[0])
    columns, column_weights = area_weights(pixels.shape[1], result.shape[1])
    sums = np.empty(4 * pixels.shape[1], dtype=np.uint16)
    # As many more pixels as there are taps: those beyond the end have no weight.
    line = np.zeros(pixels.shape[1] + column_weights.shape[1], dtype=np.uint64)
    means = np.empty(result.shape[1], dtype=np.uint64)
    channels = means.view(np.uint16)
    for y in range(result.shape[0]):
        _blend(pixels, rows[y], row_weights[y], sums, line.view(np.uint16))
        if pixels.shape[1] == result.shape[1]:
            means[:] = line[: means.shape[0]]
        else:
            _resize_line(line, columns, column_weights, means)
        narrow = result[y].view(np.uint8)
        for place in range(narrow.shape[0]):
            narrow[place] = np.uint8(channels[place])


@njit(cache=True, nogil=True)
def area_weights(length: int, samples: int) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
    """Which pixels each sample covers: the first (samples,), and weights (samples, taps) of 256."""
    taps = (length - 1) // samples + 2
    starts = np.empty(samples, dtype=np.int32)
    weights = np.zeros((samples, taps), dtype=np.uint16)
    for sample in range(samples):
        # In units of 1 / samples of a pixel, all bounds are whole numbers.
        left, right = sample * length, (sample + 1) * length
        first = left // samples
        starts[sample] = first
        before = 0
        for tap in range(taps):
            covered = min(right, (first + tap + 1) * samples) - left
            # What is covered up to here, rounded: so the weights sum to 256.
            upto = ((covered << (_WEIGHT_BITS + 1)) + length) // (2 * length)
            weights[sample, tap] = upto - before
            before = upto
    return starts, weights


@njit(cache=True, nogil=True)
def _blend(
    pixels: NDArray[np.uint32],
    first: int,
    weights: NDArray[np.uint16],
    sums: NDArray[np.uint16],
    line: NDArray[np.uint16],
) -> None:
    """The weighted mean of rows from ``first`` on, byte by byte."""
    sums[:] = np.uint16(1 << (_WEIGHT_BITS - 1))
    for tap in range(weights.shape[0]):
        weight = weights[tap]
        if weight == 0:
            continue
        row = pixels[first + tap].view(np.uint8)
        for place in range(sums.shape[0]):
            sums[place] = np.uint16(sums[place] + np.uint16(np.uint16(row[place]) * weight))
    bits = np.uint16(_WEIGHT_BITS)
    for place in range(sums.shape[0]):
        line[place] = np.uint16(sums[place] >> bits)


@njit(cache=True, nogil=True)
def _resize_line(
    line: NDArray[np.uint64],
    starts: NDArray[np.int32],
    weights: NDArray[np.uint16],
    means: NDArray[np.uint64],
) -> None:
    for x in range(means.shape[0]):
        total = _HALVES
        start = np.uint64(starts[x])
        for tap in range(weights.shape[1]):
            total += line[start + np.uint64(tap)] * np.uint64(weights[x, tap])
        means[x] = (total >> np.uint64(_WEIGHT_BITS)) & _BYTES
