"""Signals of what surrounds the picture, and of pictures that no camera took.

All are measured on the working copy; see ``stages.signals.working``.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from stages.signals.borders import bars
from stages.signals.kernels import edge_lines

_RING_SHARE = 0.02
#: Per channel, how far a pixel of the background may be from its colour: JPEG's ripples.
BACKGROUND_TOLERANCE = 8

_BAR_SPREAD = 4
_BAR_CONTRAST = 16

_EDGE_STEP = 6
_LINE_SHARE = 0.25
_LEAST_FLAT = 0.45
_LEAST_ROWS, _LEAST_LINES = 2, 3


@register_jitable
def ring_width(height: int, width: int) -> int:
    """Thickness of the outer ring: 2 % of the shorter side, at least one pixel."""
    return max(1, round(_RING_SHARE * min(height, width)))


@register_jitable
def border_variance(total: int, squares: int, count: int) -> float:
    """Variance of the outer ring of pixels; low: a frame or a uniform background.

    The ring is 2 % of the shorter side wide, at least one pixel. Squared grey levels,
    0 .. 127.5^2. Source: border-pixel variance of the Z-Image report, section 2.1; the
    ring's width is this project's choice.

    Args:
        total: Sum of the luminance in the ring.
        squares: Sum of its squares.
        count: Pixels in the ring.
    """
    return (squares * count - total * total) / count**2


@register_jitable
def uniform_background(near: int, count: int) -> float:
    """Share of the pixels that have the background's colour; high: an object on a plain ground.

    The background's colour is the median of the outer ring, by channel; a pixel has it where
    no channel is more than 8 levels away. 0..1, without unit. A photograph without a plain
    ground has a small share, not 0. Source: this project's measure of the uniform backgrounds
    that the Z-Image report, section 2.1, finds by border variance.

    Args:
        near: Pixels within the tolerance.
        count: Pixels.
    """
    return near / count


@register_jitable
def letterbox(grey: NDArray[np.uint8]) -> float:
    """Share of the picture that lies in bars at opposite sides; 0: none.

    Bars above and below, then left and right of what is between them. A bar is made of plain
    rows: their root mean square distance from one grey level is at most 4. It ends in a
    straight edge: within three rows, at least half of a row is more than 16 levels away; so
    an object in front of a plain background has no bars. Opposite bars have the same level
    within 8, and the thinner at least half of the other's thickness. 0..1, without unit.
    Frames count, of any colour. Source: this project's; the cropping of plain bars is that of
    ffmpeg's ``cropdetect``.

    Args:
        grey: (height, width), 0..255.
    """
    height, width = grey.shape
    top, bottom, left, right = bars(grey, _BAR_SPREAD, _BAR_CONTRAST)
    return 1 - (height - top - bottom) * (width - left - right) / (height * width)


@register_jitable
def flat_share(flats: int, count: int) -> float:
    """Share of the inner pixels that equal their right and lower neighbours; high: drawn.

    Of luminance; 0..1, without unit; 0 for an image with a side under 3 pixels. Sensors make
    noise, programs do not; but JPEG flattens skies, and studio backgrounds are cut out.

    Args:
        flats: Pixels that equal both.
        count: Pixels that have both and are not on the border.
    """
    return flats / count if count else 0.0


def screenshot(grey: NDArray[np.uint8], flat: float) -> bool:
    """Whether the image is likely a picture of a screen: windows, pages, tables, menus.

    True where ``flat_share`` is at least 0.45 and at least three straight lines run along rows
    or columns, two or more along rows. A line is a boundary between two rows (columns) of
    which a quarter of the length changes by 6 levels or more, while both sides go on unchanged
    along it. A rule of thumb of this project, not a trained detector: a page of plain text or
    a photograph shown full screen is not found, and charts and forms are.

    Args:
        grey: (height, width), 0..255.
        flat: Its ``flat_share``.
    """
    if flat < _LEAST_FLAT:
        return False
    rows, columns = straight_lines(grey)
    return rows >= _LEAST_ROWS and rows + columns >= _LEAST_LINES


def straight_lines(grey: NDArray[np.uint8]) -> tuple[int, int]:
    """How many straight lines run along rows, and how many along columns."""
    height, width = grey.shape
    rows = np.zeros(height - 1, dtype=np.int32)
    columns = np.zeros(width - 1, dtype=np.int32)
    edge_lines(grey, _EDGE_STEP, rows, columns)
    level = int((rows >= _LINE_SHARE * width).sum())
    return level, int((columns >= _LINE_SHARE * height).sum())
