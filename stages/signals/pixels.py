"""Signals of tone, colour, detail and noise, and the perceptual hash.

All but the aspect are measured on the working copy; see ``stages.signals.working``. Where
that has 256 rows or more, means over the picture take every fourth row (noise: every fourth
row of blocks). Grey levels are 0..255.
"""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from stages.signals.hashing import hash_of, hash_weights

# Median of the absolute value of a standard normal variable.
_NORMAL_MEDIAN = 0.6744897501960817


def phash(grey: NDArray[np.uint8]) -> int:
    """64-bit perceptual hash; similar images differ in few bits.

    The luminance is resized to 32 x 32 (Lanczos), transformed by the two-dimensional type-II
    DCT, and cut to the 8 x 8 lowest frequencies, the constant term included. A bit is set where
    the coefficient is greater than the median of the 64. Bits are in row-major order (rows are
    vertical frequencies), the constant term's the most significant: the number is that of the
    hexadecimal string that ``imagehash.phash`` prints.

    Few bits differ from its, where a coefficient is near the median: it resizes from full
    resolution, rounds the samples and cuts them to 0..255. Here nothing is rounded between
    the pixels of the working copy and the coefficients, and 128 rows or more are first
    added up to 64.

    Source: C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash
    Functions", 2010, section 3.2.1, with the median over all 64 terms as ``imagehash`` does.

    Args:
        grey: (height, width), luminance.

    Returns:
        0 .. 2^64 - 1. A flat image has only its constant term: 2^63 (0 if black).
    """
    rows, columns = hash_weights(*grey.shape)
    return int(hash_of(grey, rows, columns))


@register_jitable
def brightness(total: int, count: int) -> float:
    """Mean luminance; low: dark, high: light.

    mean = sum / n, grey levels, 0..255. Source: elementary.

    Args:
        total: Sum of the luminance.
        count: Pixels.
    """
    return total / count


@register_jitable
def contrast(total: int, squares: int, count: int) -> float:
    """Standard deviation of the luminance (RMS contrast); low: one grey level, or nearly.

    sqrt(sum of squares / n - mean^2), grey levels, 0..127.5. Source: E. Peli, "Contrast in
    complex images", Journal of the Optical Society of America A, 1990, in grey levels.

    Args:
        total: Sum of the luminance.
        squares: Sum of its squares.
        count: Pixels.
    """
    return _deviation(total, squares, count)


@register_jitable
def entropy(bits: float) -> float:
    """Shannon entropy of the 256-bin luminance histogram; low: few grey levels.

    H = -sum p log2 p, bits, 0..8. Source: C. E. Shannon, "A Mathematical Theory of
    Communication", 1948.

    Args:
        bits: As ``kernels.tones`` computes it, with the last digits it may have beyond 0..8.
    """
    return min(8.0, max(0.0, bits))


@register_jitable
def sharpness(total: int, squares: int, count: int) -> float:
    """Variance of the Laplacian; low: blurred or without detail, high: fine detail or noise.

    Laplacian with four neighbours (kernel 0 1 0 / 1 -4 1 / 0 1 0) where all of them exist;
    squared grey levels, 0 .. 1020^2; 0 for an image with a side under 3 pixels. Source:
    J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.

    Args:
        total: Sum of the Laplacian.
        squares: Sum of its squares.
        count: Pixels that have it.
    """
    return _deviation(total, squares, count) ** 2 if count else 0.0


@register_jitable
def noise(median: float) -> float:
    """Standard deviation of the noise, estimated robustly; low: clean, or smoothed.

    sigma = median |d| / (2 x 0.6745) with d = a - b - c + d over disjoint blocks of 2 x 2
    pixels, which is the finest diagonal Haar detail; the median of the integers is
    interpolated. Grey levels, 0 .. 378. 0 where most blocks have no detail, as after most
    JPEG encodings: quantisation takes the noise away. Texture over more than half of the
    picture counts as noise. Source: D. L. Donoho and I. M. Johnstone, "Ideal spatial
    adaptation by wavelet shrinkage", Biometrika, 1994.

    Args:
        median: Of |d|.
    """
    return median / (2 * _NORMAL_MEDIAN)


@register_jitable
def colourfulness(rg: int, rg_squares: int, yb: int, yb_squares: int, count: int) -> float:
    """Perceived colourfulness M3; 0 for grey, about 15 slightly, 45 averagely, 109 extremely.

    rg = R - G, yb = (R + G) / 2 - B;
    M3 = sqrt(var(rg) + var(yb)) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2), >= 0, under 450.
    Source: D. Hasler and S. Suesstrunk, "Measuring colourfulness in natural images", 2003.

    Args:
        rg: Sum of R - G.
        rg_squares: Sum of its squares.
        yb: Sum of R + G - 2 B, twice the second opponent colour.
        yb_squares: Sum of its squares.
        count: Pixels.
    """
    deviation = math.hypot(_deviation(rg, rg_squares, count), _deviation(yb, yb_squares, count) / 2)
    return deviation + 0.3 * math.hypot(rg / count, yb / count / 2)


def aspect(width: int, height: int) -> float:
    """Width over height as shown, > 0, without unit; above 1: wider than tall.

    Args:
        width: In pixels, at full resolution.
        height: In pixels, at full resolution.
    """
    return width / height


@register_jitable
def _deviation(total: int, squares: int, count: int) -> float:
    """Standard deviation from whole sums: exact but for the last rounding."""
    return math.sqrt(squares * count - total * total) / count
