"""Compiled loops over the borders of an image; see ``stages.signals.kernels``."""

# Numba adds where mypy sees int and numpy.int64.
# mypy: disable-error-code="assignment"

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_BYTE, _EIGHT, _SIXTEEN = np.uint32(255), np.uint32(8), np.uint32(16)


@njit(cache=True, nogil=True)
def ring_statistics(
    pixels: NDArray[np.uint32], grey: NDArray[np.uint8], thick: int, step: int
) -> tuple[int, int, int, tuple[int, int, int]]:
    """Of the outer ring: sum and squares of the luminance, pixels, and the median colour.

    Args:
        pixels: (height, width), packed.
        grey: (height, width), their luminance.
        thick: Of the ring, in pixels, at least 1.
        step: Of its rows, every ``step``-th counts: of the sides from the top, of the strips
            above and below from the edge.

    Returns:
        Medians are by channel, the lower of two middle values.
    """
    height, width = grey.shape
    total, squares, count = 0, 0, 0
    counts = np.zeros((3, 256), dtype=np.int32)
    for y in range(height):
        below = height - 1 - y
        inside = thick <= y and thick <= below
        if (y if inside else min(y, below)) % step:
            continue
        gap = thick if inside and width > 2 * thick else width
        for start, stop in ((0, gap), (max(gap, width - thick), width)):
            count += stop - start
            for x in range(start, stop):
                value = np.int64(grey[y, x])
                total += value
                squares += value * value
                pixel = pixels[y, x]
                counts[0, pixel & _BYTE] += 1
                counts[1, (pixel >> _EIGHT) & _BYTE] += 1
                counts[2, (pixel >> _SIXTEEN) & _BYTE] += 1
    middle = (count + 1) // 2
    colour = (_median(counts[0], middle), _median(counts[1], middle), _median(counts[2], middle))
    return total, squares, count, colour


@njit(cache=True, nogil=True)
def _median(counts: NDArray[np.int32], middle: int) -> int:
    below, value = np.int64(counts[0]), 0
    while below < middle:
        value += 1
        below += counts[value]
    return value


@njit(cache=True, nogil=True)
def bars(grey: NDArray[np.uint8], spread: int, contrast: int) -> tuple[int, int, int, int]:
    """Thickness of the plain bars above and below, then left and right of what is between.

    A line is plain where its mean squared distance from the level of the first is at most
    ``spread`` squared. A bar ends in a straight edge where, in one of the three lines after
    it, at least half of the pixels are more than ``contrast`` from its level. Opposite bars
    belong together where their levels differ by at most twice the spread and the thinner has
    at least half of the other's thickness; else both are 0.

    Args:
        grey: (height, width).
        spread: Grey levels.
        contrast: Grey levels.
    """
    height = grey.shape[0]
    top, bottom = _pair(grey, spread, contrast)
    left, right = _pair(grey[top : height - bottom].T, spread, contrast)
    return top, bottom, left, right


@njit(cache=True, nogil=True)
def _pair(grey: NDArray[np.uint8], spread: int, contrast: int) -> tuple[int, int]:
    first, upper = _bar(grey, spread, contrast)
    if first == 0:
        return 0, 0
    second, lower = _bar(grey[::-1], spread, contrast)
    if abs(upper - lower) > 2 * spread or 2 * min(first, second) < max(first, second):
        return 0, 0
    return first, second


@njit(cache=True, nogil=True)
def _bar(grey: NDArray[np.uint8], spread: int, contrast: int) -> tuple[int, int]:
    """The plain lines before a straight edge, 0 where there is none, and their level."""
    height, width = grey.shape
    total = 0
    for x in range(width):
        total += np.int64(grey[0, x])
    level = (total + width // 2) // width
    plain = 0
    while plain < height and _squares(grey[plain], level) <= spread * spread * width:
        plain += 1
    if plain == 0:
        return 0, level
    for y in range(plain, min(plain + 3, height)):
        beyond = 0
        for x in range(width):
            if abs(np.int64(grey[y, x]) - level) > contrast:
                beyond += 1
        if 2 * beyond >= width:
            return plain, level
    return 0, level


@njit(cache=True, nogil=True)
def _squares(line: NDArray[np.uint8], level: int) -> int:
    total = 0
    for x in range(line.shape[0]):
        off = np.int64(line[x]) - level
        total += off * off
    return total
