"""Compiled resampling of grey images: means of rows and columns, and Lanczos samples."""

# Numba adds where mypy sees int and numpy.int64.
# mypy: disable-error-code="assignment"

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

_WEIGHT_BITS = 22
_LANCZOS = 3.0
#: Of ``row_means``, behind the point.
MEAN_BITS = 3


@njit(cache=True, nogil=True)
def row_means(grey: NDArray[np.uint8], count: int) -> NDArray[np.uint16]:
    """Means of neighbouring rows, in eighths: as many groups as asked, as even as can be.

    Args:
        grey: (height, width).
        count: Groups, 1..height, of at most 257 rows: their sums must fit 16 bits.

    Returns:
        (count, width), 0..2040, rounded.
    """
    height, width = grey.shape
    result = np.empty((count, width), dtype=np.uint16)
    half = np.float32(0.5)
    for group in range(count):
        first, last = group * height // count, (group + 1) * height // count
        for x in range(width):
            result[group, x] = np.uint16(grey[first, x])
        for y in range(first + 1, last):
            for x in range(width):
                result[group, x] = np.uint16(result[group, x] + np.uint16(grey[y, x]))
        share = np.float32((1 << MEAN_BITS) / (last - first))
        for x in range(width):
            result[group, x] = np.uint16(np.int32(np.float32(result[group, x]) * share + half))
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
    grey: NDArray[np.uint8] | NDArray[np.uint16],
    starts: NDArray[np.int32],
    weights: NDArray[np.int16],
    bits: int,
    result: NDArray[np.uint8],
) -> None:
    """Resample (height, width) to (samples, width), rounded and cut to 0..255.

    Args:
        grey: The values; those of ``row_means`` add ``MEAN_BITS`` to ``bits``.
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
