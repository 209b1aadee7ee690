"""Sums of neighbouring rows, and the weights that take samples of lines to frequencies."""

# Numba adds where mypy sees int and numpy.int64.
# mypy: disable-error-code="assignment"

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_LANCZOS = 3.0


@njit(cache=True, nogil=True)
def row_sums(grey: NDArray[np.uint8], count: int, columns: int) -> NDArray[np.int16]:
    """Sums of neighbouring rows: as many groups as asked, as even as can be.

    Args:
        grey: (height, width).
        count: Groups, 1..height, of at most 128 rows: their sums must fit 15 bits.
        columns: Of the result, at least the width; those beyond it are 0.

    Returns:
        (count, columns). Group i is the rows from i x height // count on, up to the next one's.
    """
    height, width = grey.shape
    result = np.empty((count, columns), dtype=np.int16)
    result[:, width:] = np.int16(0)
    for group in range(count):
        first, last = group * height // count, (group + 1) * height // count
        sums, row = result[group], grey[first]
        # Two rows at a time: the sums are loaded and stored less often.
        if (last - first) & 1:
            first += 1
            for x in range(width):
                sums[x] = np.int16(row[x])
        else:
            second = grey[first + 1]
            first += 2
            for x in range(width):
                sums[x] = np.int16(np.int16(row[x]) + np.int16(second[x]))
        for y in range(first, last, 2):
            row, second = grey[y], grey[y + 1]
            for x in range(width):
                pair = np.int16(np.int16(row[x]) + np.int16(second[x]))
                sums[x] = np.int16(sums[x] + pair)
    return result


def lanczos_matrix(length: int, samples: int) -> NDArray[np.float64]:
    """Weights of Pillow's Lanczos ``resize``, not rounded: (samples, length), rows sum to 1."""
    scale = length / samples
    stretch = max(scale, 1.0)
    centres = (np.arange(samples)[:, None] + 0.5) * scale
    places = np.arange(length)[None, :]
    first = np.maximum((centres - _LANCZOS * stretch + 0.5).astype(np.int64), 0)
    stop = (centres + _LANCZOS * stretch + 0.5).astype(np.int64)
    distance = (places - centres + 0.5) / stretch
    weights = np.sinc(distance) * np.sinc(distance / _LANCZOS)
    inside = (places >= first) & (places < stop) & (np.abs(distance) < _LANCZOS)
    weights = np.where(inside, weights, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def frequency_matrix(length: int, samples: int, count: int) -> NDArray[np.float64]:
    """Lanczos to ``samples``, then their lowest type-II cosine terms, in one: (count, length).

    Term k of samples s is the sum over n of s[n] cos(pi k (2 n + 1) / (2 samples)).
    """
    angles = np.arange(count)[:, None] * (2 * np.arange(samples)[None, :] + 1)
    cosines = np.cos(np.pi / (2 * samples) * angles)
    return np.einsum("kn,nx->kx", cosines, lanczos_matrix(length, samples))


def whole_weights(exact: NDArray[np.float64], bits: int) -> NDArray[np.int64]:
    """Rows of ``frequency_matrix`` times 2^bits, rounded so that what cancels does so exactly.

    Even rows are symmetric and odd ones antisymmetric; all but the first sum to 0, so that
    equal values have only the first term, and mirrored ones no odd terms.

    Args:
        exact: (count, length).
        bits: Of the fraction.
    """
    count, length = exact.shape
    half = length // 2
    result = np.zeros((count, length), dtype=np.int64)
    for k in range(count):
        scaled = np.round(exact[k] * (1 << bits)).astype(np.int64)
        left, middle = scaled[:half], 0
        if k % 2 == 0 and length % 2:
            middle = 2 * round(exact[k, half] * (1 << bits) / 2)
        if k % 2 == 0 and k:
            left = left - _spread(int(left.sum()) + middle // 2, half)
        result[k, :half], result[k, length - half :] = left, left[::-1] * (-1 if k % 2 else 1)
        if length % 2:
            result[k, half] = middle
    return result


def _spread(total: int, places: int) -> NDArray[np.int64]:
    """A whole number as whole parts, as even as can be: (places,)."""
    if places == 0:
        return np.zeros(0, dtype=np.int64)
    upto = np.arange(places + 1) * total // places
    return np.diff(upto)
