"""The working copy of an image, on which nearly all signals are measured.

It is the image itself where its longer side is at most ``BOUND`` pixels; else the image
averaged over areas to that side. Where that side is a multiple of ``BOUND`` the areas are whole
blocks of pixels, and rows or columns that fill no block are left out. The cost of a signal is
thus bounded, and the sharpness of a 24-megapixel photograph is comparable with that of a web
image. Only decoded pixels count: the same pixels in another lossless format have the same
working copy.

Grey values are Pillow's ``L``: luma of ITU-R BT.601, 0..255, rounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.signals.averaging import area_resize, box_shrink
from stages.signals.kernels import luma
from stages.signals.memory import shared_memory

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
    pixels = working_pixels(image)
    grey = np.empty(pixels.shape, dtype=np.uint8)
    luma(pixels, grey)
    return WorkingCopy(*image.size, pixels, grey)


def working_pixels(image: Image.Image) -> NDArray[np.uint32]:
    """The pixels of the working copy: (h, w), read-only.

    Args:
        image: RGB, of any size.
    """
    width, height = image.size
    if max(width, height) <= BOUND:
        return _packed(image)
    (rows, down), (columns, across) = (_cut(side, max(width, height)) for side in (height, width))
    pieces: list[NDArray[np.uint32]] = []
    for band in _bands(image, down):
        if down == across == 1:
            pieces.append(band)
        else:
            piece = np.empty((len(band) // down, width // across), dtype=np.uint32)
            box_shrink(band, down, across, piece)
            pieces.append(piece)
    pixels = _read_only(pieces[0] if len(pieces) == 1 else np.concatenate(pieces))
    if pixels.shape == (rows, columns):
        return pixels
    copy = np.empty((rows, columns), dtype=np.uint32)
    area_resize(pixels, copy)
    return _read_only(copy)


def _cut(side: int, longest: int) -> tuple[int, int]:
    """Samples along a side of an image, and how many pixels to average evenly at first."""
    if longest % BOUND == 0:
        block = min(side, longest // BOUND)
        return side // block, block
    samples = max(1, round(side * BOUND / longest))
    return samples, _block(side, samples)


def _block(length: int, samples: int) -> int:
    """How many rows (columns) to average evenly, before the weighted averaging of the rest.

    All, where they are the same number for each sample. Else few enough that each sample
    covers two or more of the means: with fewer, some would be sharper than others.
    """
    if length % samples == 0:
        return length // samples
    return max(1, length // (2 * samples))


def _read_only(pixels: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """As Pillow's memory is: compiled code would be compiled for each sort of array."""
    pixels.flags.writeable = False
    return pixels


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
