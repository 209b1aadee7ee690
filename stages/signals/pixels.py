"""Signals of the decoded pixels.

All but the perceptual hash are computed on a *bounded copy*: the image itself where its
longer side is at most ``BOUND`` pixels, else the image shrunk to that side. Cost is thus
bounded, and sharpness of a 24-megapixel photo is comparable with that of a web image.
Luminance is Pillow's ``L``: ITU-R BT.601 luma, 0..255, rounded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft

#: Longest side, in pixels, at which the signals but the hash are computed.
BOUND = 512

_HASH_SIDE = 8
_HASH_SAMPLES = 32
_RING_SHARE = 0.02


def pixel_signals(image: Image.Image) -> dict[str, int | float]:
    """All signals of this module, by the name of their column in ``profile``.

    Args:
        image: RGB, of any size.
    """
    grey = image.convert("L")
    luminance = np.asarray(bounded(grey))
    return {
        "phash": phash(grey),
        "border_variance": border_variance(luminance),
        "entropy": entropy(luminance),
        "sharpness": sharpness(luminance),
        "brightness": float(luminance.mean(dtype=np.float64)),
        "contrast": float(luminance.std(dtype=np.float64)),
        "colourfulness": colourfulness(np.asarray(bounded(image))),
    }


def bounded(image: Image.Image, bound: int = BOUND) -> Image.Image:
    """The image, shrunk so that its longer side is at most ``bound`` pixels.

    Never enlarged. An area average to at most twice the target comes before the
    antialiased bilinear step, so that large photographs cost little.
    """
    longer = max(image.size)
    if longer <= bound:
        return image
    width, height = (max(1, round(side * bound / longer)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def phash(image: Image.Image) -> int:
    """64-bit perceptual hash; similar images differ in few bits.

    The luminance is resized to 32 x 32 (Lanczos, from full resolution), transformed by the
    two-dimensional type-II DCT, and cut to the 8 x 8 lowest frequencies, the constant term
    included. A bit is set where the coefficient is greater than the median of the 64. Bits
    are in row-major order (rows are vertical frequencies), the constant term's the most
    significant: the number equals the hexadecimal string that ``imagehash.phash`` prints.

    Source: C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash
    Functions", 2010, section 3.2.1, with the median over all 64 terms as ``imagehash`` does.

    Args:
        image: RGB or L, of any size.

    Returns:
        0 .. 2^64 - 1. A flat image has only its constant term: 2^63 (0 if black).
    """
    samples = image.convert("L").resize((_HASH_SAMPLES, _HASH_SAMPLES), Image.Resampling.LANCZOS)
    coefficients = fft.dct(fft.dct(np.asarray(samples, dtype=np.float64), axis=0), axis=1)
    low = coefficients[:_HASH_SIDE, :_HASH_SIDE]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def border_variance(luminance: NDArray[np.uint8]) -> float:
    """Variance of the outer ring of pixels; low: a frame or a uniform background.

    The ring is 2 % of the shorter side wide, at least one pixel. Squared grey levels,
    0 .. 127.5^2. Source: border-pixel variance of the Z-Image report, section 2.1; the
    ring's width is this project's choice.

    Args:
        luminance: (height, width), 0..255, of the bounded copy.
    """
    width = max(1, round(_RING_SHARE * min(luminance.shape)))
    inside = np.zeros(luminance.shape, dtype=bool)
    inside[width:-width, width:-width] = True
    return float(luminance[~inside].var(dtype=np.float64))


def entropy(luminance: NDArray[np.uint8]) -> float:
    """Shannon entropy of the 256-bin luminance histogram, bits, 0..8; low: few grey levels.

    H = -sum p log2 p. Source: C. E. Shannon, "A Mathematical Theory of Communication", 1948.

    Args:
        luminance: (height, width), 0..255, of the bounded copy.
    """
    counts = np.bincount(luminance.ravel(), minlength=256)
    shares = counts[counts > 0] / luminance.size
    return abs(float(-(shares * np.log2(shares)).sum()))


def sharpness(luminance: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian; low: blurred or without detail, high: fine detail or noise.

    Laplacian with four neighbours (kernel 0 1 0 / 1 -4 1 / 0 1 0) where all of them exist;
    squared grey levels, >= 0; 0 for an image with a side under 3 pixels. Source:
    J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.

    Args:
        luminance: (height, width), 0..255, of the bounded copy.
    """
    if min(luminance.shape) < 3:
        return 0.0
    grey = luminance.astype(np.int16)
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    laplacian -= 4 * grey[1:-1, 1:-1]
    return float(laplacian.var(dtype=np.float64))


def colourfulness(pixels: NDArray[np.uint8]) -> float:
    """Perceived colourfulness M3; 0 for grey, about 15 slightly, 45 averagely, 109 extremely.

    rg = R - G, yb = (R + G) / 2 - B;
    M3 = sqrt(var(rg) + var(yb)) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2).
    Source: D. Hasler and S. Suesstrunk, "Measuring colourfulness in natural images", 2003.

    Args:
        pixels: (height, width, 3) RGB, 0..255, of the bounded copy.
    """
    red, green, blue = np.moveaxis(pixels.astype(np.int16), 2, 0)
    red_green = red - green
    twice_yellow_blue = red + green - 2 * blue
    deviation = red_green.var(dtype=np.float64) + twice_yellow_blue.var(dtype=np.float64) / 4
    mean = np.hypot(red_green.mean(dtype=np.float64), twice_yellow_blue.mean(dtype=np.float64) / 2)
    return float(np.sqrt(deviation) + 0.3 * mean)
