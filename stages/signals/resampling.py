"""Compiled resampling: area averages of colour images, Lanczos samples of grey ones."""

# Numba adds where mypy sees int and numpy.int64.
# mypy: disable-error-code="assignment"

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

_WEIGHT_BITS = 22
_LANCZOS = 3.0
_BYTE, _EIGHT, _SIXTEEN = np.uint32(255), np.uint32(8), np.uint32(16)


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
    height, width = result.shape
    sums = np.empty((3, width * across), dtype=np.int32)
    share = 1.0 / (down * across)
    for y in range(height):
        sums[:] = np.int32(0)
        for row in range(y * down, (y + 1) * down):
            _add_row(pixels[row], np.int32(1), sums)
        for x in range(width):
            red, green, blue = 0, 0, 0
            for column in range(x * across, (x + 1) * across):
                red += np.int64(sums[0, column])
                green += np.int64(sums[1, column])
                blue += np.int64(sums[2, column])
            result[y, x] = _packed(red, green, blue, share)


@njit(cache=True, nogil=True)
def area_resize(pixels: NDArray[np.uint32], result: NDArray[np.uint32]) -> None:
    """Average over the area that each pixel of the smaller result covers, exactly weighted.

    Args:
        pixels: (height, width), each at most 2,048, red in the lowest byte.
        result: Filled; no larger than ``pixels`` in either direction.
    """
    source_height, source_width = pixels.shape
    height, width = result.shape
    sums = np.empty((3, source_width), dtype=np.int32)
    share = 1.0 / (source_height * source_width)
    for y in range(height):
        # In units of 1 / height of a source row, all bounds are whole numbers.
        start, stop = y * source_height, (y + 1) * source_height
        sums[:] = np.int32(0)
        for row in range(start // height, -(-stop // height)):
            overlap = min(stop, (row + 1) * height) - max(start, row * height)
            _add_row(pixels[row], np.int32(overlap), sums)
        for x in range(width):
            left, right = x * source_width, (x + 1) * source_width
            red, green, blue = 0, 0, 0
            for column in range(left // width, -(-right // width)):
                overlap = min(right, (column + 1) * width) - max(left, column * width)
                red += overlap * np.int64(sums[0, column])
                green += overlap * np.int64(sums[1, column])
                blue += overlap * np.int64(sums[2, column])
            result[y, x] = _packed(red, green, blue, share)


@njit(cache=True, nogil=True)
def _add_row(row: NDArray[np.uint32], weight: np.int32, sums: NDArray[np.int32]) -> None:
    for x in range(sums.shape[1]):
        pixel = row[x]
        sums[0, x] = np.int32(sums[0, x] + weight * np.int32(pixel & _BYTE))
        sums[1, x] = np.int32(sums[1, x] + weight * np.int32((pixel >> _EIGHT) & _BYTE))
        sums[2, x] = np.int32(sums[2, x] + weight * np.int32((pixel >> _SIXTEEN) & _BYTE))


@njit(cache=True, nogil=True)
def _packed(red: int, green: int, blue: int, share: float) -> np.uint32:
    # Half of a level is added, so that the truncation rounds.
    return np.uint32(
        np.uint32(red * share + 0.5)
        | (np.uint32(green * share + 0.5) << _EIGHT)
        | (np.uint32(blue * share + 0.5) << _SIXTEEN)
    )


@njit(cache=True, nogil=True)
def pair_rows(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Means of two rows each, rounded up; an odd last row is left out.

    Args:
        grey: (height, width).

    Returns:
        (height // 2, width).
    """
    result = np.empty((grey.shape[0] // 2, grey.shape[1]), dtype=np.uint8)
    for y in range(result.shape[0]):
        for x in range(result.shape[1]):
            total = np.uint16(np.uint16(grey[2 * y, x]) + np.uint16(grey[2 * y + 1, x]))
            result[y, x] = np.uint8(np.uint16(total + np.uint16(1)) >> np.uint16(1))
    return result


@njit(cache=True, nogil=True)
def lanczos_weights(length: int, samples: int) -> tuple[NDArray[np.int32], NDArray[np.int16], int]:
    """Fixed-point Lanczos weights for resizing ``length`` values to ``samples``, as Pillow's.

    Pillow's weights have 22 bits; these have as many as 16-bit numbers hold, which multiply
    faster: 15 to 22, more for longer windows.

    Returns:
        The first source index of each sample (samples,); the weights (samples, a multiple of
        four taps), zero beyond a window; and the bits: a sample's weights sum to 2^bits.
    """
    scale = length / samples
    stretch = max(scale, 1.0)
    support = _LANCZOS * stretch
    taps = int(math.ceil(support)) * 2 + 1  # noqa: RUF046 - numba's ceil is a float
    starts = np.zeros(samples, dtype=np.int32)
    exact = np.zeros((samples, -(-taps // 4) * 4))
    for sample in range(samples):
        centre = (sample + 0.5) * scale
        start = max(int(centre - support + 0.5), 0)
        stop = min(int(centre + support + 0.5), length)
        total = 0.0
        for tap in range(stop - start):
            exact[sample, tap] = _lanczos((tap + start - centre + 0.5) / stretch)
            total += exact[sample, tap]
        starts[sample] = start
        exact[sample] /= total
    bits = _WEIGHT_BITS
    while np.abs(exact).max() * (1 << bits) > 32767:
        bits -= 1
    return starts, np.round(exact * (1 << bits)).astype(np.int16), bits


@njit(cache=True, nogil=True)
def _lanczos(x: float) -> float:
    if not -_LANCZOS <= x < _LANCZOS:
        return 0.0
    return _sinc(x) * _sinc(x / _LANCZOS)


@njit(cache=True, nogil=True)
def _sinc(x: float) -> float:
    return 1.0 if x == 0.0 else math.sin(x * math.pi) / (x * math.pi)


@njit(cache=True, nogil=True)
def resample_columns(
    grey: NDArray[np.uint8],
    starts: NDArray[np.int32],
    weights: NDArray[np.int16],
    bits: int,
    result: NDArray[np.uint8],
) -> None:
    """Resample (height, width) to (samples, width), rounded and cut to 0..255.

    Args:
        grey: The values.
        starts: Of ``lanczos_weights(height, samples)``.
        weights: Of the same.
        bits: Of the same.
        result: Filled.
    """
    width, last = grey.shape[1], grey.shape[0] - 1
    sums = np.empty(width, dtype=np.int32)
    zero, white, shift = np.int32(0), np.int32(255), np.int32(bits)
    for sample in range(starts.shape[0]):
        sums[:] = np.int32(1 << (bits - 1))
        factors = weights[sample]
        # Four rows at a time: the sums are loaded and stored less often.
        for tap in range(0, factors.shape[0], 4):
            first, second = np.int32(factors[tap]), np.int32(factors[tap + 1])
            third, fourth = np.int32(factors[tap + 2]), np.int32(factors[tap + 3])
            if first == 0 and second == 0 and third == 0 and fourth == 0:
                continue
            row = starts[sample] + tap
            # Indices, not views of rows: a view costs as much as a dozen pixels.
            row0, row1 = min(row, last), min(row + 1, last)
            row2, row3 = min(row + 2, last), min(row + 3, last)
            for x in range(width):
                more = np.int32(np.int32(grey[row0, x]) * first + np.int32(grey[row1, x]) * second)
                rest = np.int32(np.int32(grey[row2, x]) * third + np.int32(grey[row3, x]) * fourth)
                sums[x] = np.int32(sums[x] + np.int32(more + rest))
        for x in range(width):
            result[sample, x] = np.uint8(min(white, max(zero, sums[x] >> shift)))
