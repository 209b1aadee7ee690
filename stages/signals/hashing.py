"""The two steps of the perceptual hash: 32 x 32 samples, and the signs of their frequencies."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numba import njit
from numba.extending import register_jitable
from numpy.typing import NDArray

from stages.signals.resampling import MEAN_BITS, lanczos_weights, resample_columns, row_means

#: Side of the square of samples.
SAMPLES = 32
#: Rows, and columns, of means from which the samples are taken where there are twice as many.
MEANS = 128

Weights = tuple[NDArray[np.int32], NDArray[np.int16], int]

_SIDE = 8
_HALF = SAMPLES // 2
# Cosines as integers: with them equal samples cancel exactly, and bits are the same everywhere.
_COSINES = np.array(
    [
        [round(math.cos(math.pi * (2 * n + 1) * k / (2 * SAMPLES)) * 2**20) for n in range(_HALF)]
        for k in range(_SIDE)
    ],
    dtype=np.int64,
)


def hash_weights(height: int, width: int) -> tuple[Weights, Weights]:
    """What ``hash_of`` needs for an image of that size: weights of its rows and columns."""
    return _weights(_samples_of(height), SAMPLES), _weights(_samples_of(width), SAMPLES)


_weights = lru_cache(maxsize=1024)(lanczos_weights)


@register_jitable
def _samples_of(length: int) -> int:
    """How many rows (columns) are left of ``length``, after means over neighbours."""
    return MEANS if length >= 2 * MEANS else length


@njit(cache=True, nogil=True)
def hash_samples(grey: NDArray[np.uint8], rows: Weights, columns: Weights) -> NDArray[np.uint8]:
    """Resample by Lanczos, columns first, from means over neighbours where there are enough.

    Args:
        grey: (height, width).
        rows: First of ``hash_weights``.
        columns: Second of the same.

    Returns:
        (32, 32), as Pillow's ``resize`` but for the means, and for its rounding.
    """
    width = grey.shape[1]
    narrow = np.empty((SAMPLES, width), dtype=np.uint8)
    _resample(grey, rows, narrow)
    turned = np.empty((width, SAMPLES), dtype=np.uint8)
    for x in range(width):
        for y in range(SAMPLES):
            turned[x, y] = narrow[y, x]
    samples = np.empty((SAMPLES, SAMPLES), dtype=np.uint8)
    _resample(turned, columns, samples)
    return samples.T


@njit(cache=True, nogil=True)
def _resample(grey: NDArray[np.uint8], weights: Weights, result: NDArray[np.uint8]) -> None:
    if _samples_of(grey.shape[0]) < grey.shape[0]:
        means = row_means(grey, MEANS)
        resample_columns(means, weights[0], weights[1], weights[2] + MEAN_BITS, result)
    else:
        resample_columns(grey, weights[0], weights[1], weights[2], result)


@njit(cache=True, nogil=True)
def hash_of(grey: NDArray[np.uint8], rows: Weights, columns: Weights) -> np.uint64:
    """The hash of an image; see ``hash_samples`` for the arguments."""
    return hash_bits(hash_samples(grey, rows, columns))


@njit(cache=True, nogil=True)
def hash_bits(samples: NDArray[np.uint8]) -> np.uint64:
    """Bits of the 8 x 8 lowest frequencies that are above their median, row-major.

    Args:
        samples: (32, 32).
    """
    vertical = np.zeros((_SIDE, SAMPLES), dtype=np.int64)
    for k in range(_SIDE):
        for n in range(_HALF):
            for x in range(SAMPLES):
                other = np.int64(samples[SAMPLES - 1 - n, x])
                here = np.int64(samples[n, x])
                folded = here - other if k & 1 else here + other
                vertical[k, x] += folded * _COSINES[k, n]
    low = np.zeros(_SIDE * _SIDE, dtype=np.float64)
    for row in range(_SIDE):
        for k in range(_SIDE):
            total = np.int64(0)
            for n in range(_HALF):
                other = vertical[row, SAMPLES - 1 - n]
                folded = vertical[row, n] - other if k & 1 else vertical[row, n] + other
                total += folded * _COSINES[k, n]
            low[row * _SIDE + k] = total
    ordered = np.sort(low)
    median = (ordered[31] + ordered[32]) / 2
    bits = np.uint64(0)
    for place in range(_SIDE * _SIDE):
        bits = (bits << np.uint64(1)) | np.uint64(low[place] > median)
    return bits
