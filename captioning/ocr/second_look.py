"""A second look at lines that seem to fill the image.

A text detector that is shown a photograph without text may take all of it, a shirt on the
floor, for one huge character, and the recogniser then names the character it looks most
like, often with confidence. Such finds hang on how the image is presented. Text does not: it
reads the same where it stands on a larger sheet, at the size that text usually has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher

import numpy as np
import numpy.typing as npt
from PIL import Image

from captioning.language import normalise
from captioning.ocr.lines import Line, letter_height, text_area

Pixels = npt.NDArray[np.uint8]
Read = Callable[[Pixels], Sequence[Line]]

#: The share of the image from which a line is looked at again.
LARGE = 0.3
#: The height that large lines are scaled down to, in pixels: about that of a headline.
_LETTERS = 64.0
#: The greys of the sheets; either alone lets more silhouettes pass for letters.
_PAPERS = (255, 0)
#: The sheet's margin on each side, in lengths of the image's longer side.
_MARGIN = 0.5
#: How alike two readings of a line are at least, 0 to 1 (Ratcliff and Obershelp): of four
#: letters one may differ, of three none.
_ALIKE = 0.7
#: The overlap of the two boxes over their union, at least.
_OVERLAP = 0.4


def confirmed(image: Pixels, lines: Sequence[Line], read: Read) -> list[Line]:
    """The lines without those that fill the image and are not there at a second look.

    A line over ``LARGE`` of the image stays if the image, scaled down and on a plain sheet,
    shows nearly the same text at the same place: on each of two sheets. It then has the
    least confidence of all looks. Where no line is that large nothing is read.

    Args:
        image: What the lines were read from, uint8[height, width, 3].
        lines: The lines, boxes in pixels of the image.
        read: Reads an image as the lines were read, from the same channels.
    """
    height, width = image.shape[:2]
    kept = list(lines)
    for paper in _PAPERS:
        large = [line for line in kept if text_area([line], width, height) >= LARGE]
        if not large:
            break
        scale = min(1.0, _LETTERS / min(map(letter_height, large)))
        seen = _look(image, scale, paper, read)
        found = (_found(line, seen) if line in large else line for line in kept)
        kept = [line for line in found if line is not None]
    return kept


def _look(image: Pixels, scale: float, paper: int, read: Read) -> list[Line]:
    """What can be read on a sheet, in pixels of the image."""
    sheet, margin = _on_a_sheet(image, scale, paper)
    seen = []
    for line in read(sheet):
        a, b, c, d = (((x - margin) / scale, (y - margin) / scale) for x, y in line.box)
        seen.append(replace(line, box=(a, b, c, d)))
    return seen


def _found(line: Line, seen: Sequence[Line]) -> Line | None:
    """The line as far as it was seen again, else ``None``."""
    confidences = [other.confidence for other in seen if _same(line, other)]
    if not confidences:
        return None
    return replace(line, confidence=min(line.confidence, max(confidences)))


def _on_a_sheet(image: Pixels, scale: float, paper: int) -> tuple[Pixels, int]:
    """The image scaled down in the middle of a plain sheet, and the sheet's margin."""
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    if (height, width) != image.shape[:2]:
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))
    margin = math.ceil(_MARGIN * max(height, width))
    sheet = np.full((height + 2 * margin, width + 2 * margin, 3), paper, np.uint8)
    sheet[margin : margin + height, margin : margin + width] = image
    return sheet, margin


def _same(line: Line, other: Line) -> bool:
    one, two = normalise(line.text), normalise(other.text)
    alike = SequenceMatcher(None, one, two, autojunk=False).ratio()
    return alike >= _ALIKE and _overlap(line.bounds, other.bounds) >= _OVERLAP


def _overlap(one: tuple[float, ...], two: tuple[float, ...]) -> float:
    """Intersection over union of two upright rectangles: left, top, right, bottom."""
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (one, two)]
    return width * height / (sum(areas) - width * height)
