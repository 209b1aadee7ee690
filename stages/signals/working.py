"""The working copy of an image, on which nearly all signals are measured.

It is the image itself where its longer side is at most ``BOUND`` pixels; else the image
averaged over areas to that side. The cost of a signal is thus bounded, and the sharpness of
a 24-megapixel photograph is comparable with that of a web image. Only decoded pixels count:
the same pixels in another lossless format have the same working copy.

Grey values are Pillow's ``L``: luma of ITU-R BT.601, 0..255, rounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.signals.kernels import luma
from stages.signals.memory import shared_memory
from stages.signals.resampling import area_resize, box_shrink

#: Longest side, in pixels, of the working copy.
BOUND = 512

# Pillow keeps up to 16 MB of an image, at four bytes a pixel, in one piece of memory.
_BAND_PIXELS = 4_000_000


@dataclass(frozen=True)
class WorkingCopy:
    """What signals are computed from.

    Args:
        width: Of the image itself, in pixels.
        height: Of the image itself, in pixels.
        pixels: (h, w) uint32, red in the lowest byte, then green and blue.
        grey: (h, w) uint8, luma of ``pixels``.
    """

    width: int
    height: int
    pixels: NDArray[np.uint32]
    grey: NDArray[np.uint8]


def working_copy(image: Image.Image) -> WorkingCopy:
    """Prepare an image for measuring.

    Args:
        image: RGB, of any size.
    """
    width, height = image.size
    if max(width, height) <= BOUND:
        pixels = _packed(image)
        return WorkingCopy(width, height, pixels, _grey(pixels))
    # Whole blocks first, so that the exact averaging has little left to do.
    factor = max(1, max(width, height) // (2 * BOUND))
    down, across = min(factor, height), min(factor, width)
    pieces: list[NDArray[np.uint32]] = []
    for band in _bands(image, down):
        if factor == 1:
            pieces.append(band)
        else:
            piece = np.empty((len(band) // down, width // across), dtype=np.uint32)
            box_shrink(band, down, across, piece)
            pieces.append(piece)
    pixels = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    scale = BOUND / max(width, height)
    target = (max(1, round(height * scale)), max(1, round(width * scale)))
    copy = np.empty(np.minimum(target, pixels.shape), dtype=np.uint32)
    area_resize(pixels, copy)
    return WorkingCopy(width, height, copy, _grey(copy))


def _grey(pixels: NDArray[np.uint32]) -> NDArray[np.uint8]:
    grey = np.empty(pixels.shape, dtype=np.uint8)
    luma(pixels, grey)
    return grey


def _bands(image: Image.Image, multiple: int) -> Iterator[NDArray[np.uint32]]:
    """The rows of an image from the top, in pieces of a multiple of rows but the last."""
    rows = max(1, _BAND_PIXELS // image.width // multiple) * multiple
    if rows >= image.height:
        yield _packed(image)
        return
    for top in range(0, image.height, rows):
        yield _packed(image.crop((0, top, image.width, min(top + rows, image.height))))


def _packed(image: Image.Image) -> NDArray[np.uint32]:
    """Pillow's memory of an RGB image, not copied where it is in one piece."""
    try:
        values = shared_memory(image)
    except ValueError:  # in several pieces
        values = np.asarray(image.convert("RGBX")).reshape(-1).view(np.uint32)
    return values.reshape(image.height, image.width)
