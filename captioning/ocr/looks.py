"""Looking again where one look at an image, as it came, does not do.

A text detector is trained on text of a usual size that stands upright. Three kinds of image
are presented to it once more, and the better reading stays:

- a small one in which nothing was found, enlarged and on a sheet of its own colour: letters
  that touch the edges have no outline;
- one with small letters that was scaled down, at a larger size;
- one whose text reads badly, or runs sideways, turned by a half or a quarter.

An image with no text, and one that reads well, is looked at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from captioning.ocr.lines import Line, as_polygon, letter_height, lies_in
from captioning.ocr.marks import marked
from captioning.ocr.order import reading_order
from captioning.ocr.second_look import confirmed

Pixels = npt.NDArray[np.uint8]
#: Finds lines of any confidence, in no order. Larger images are scaled down to the second
#: argument for detection, in pixels.
Find = Callable[[Pixels, int], list[Line]]

#: Images up to this length of the longer side are small, in pixels.
_SMALL = 256
#: The length of the longer side they are enlarged to, and their margin as a share of it.
_ENLARGED = 192
_MARGIN = 0.25
#: Letters below this height at detection are small, and the height they are looked at again.
_SMALL_LETTERS = 12.0
_GOOD_LETTERS = 20.0
#: The longest side a detection takes; memory grows with its square.
_LARGEST = 1920
#: Boxes with room for fewer characters say nothing of an image's orientation.
_TELLING = 6.0
#: Characters read over characters there is room for, below which a text may be upside down.
_UNSURE = 0.75
#: Sides of a box, from which a line is taken for standing upright.
_TALL = 1.5


@dataclass(frozen=True)
class Reader:
    """Reads an image with an engine's ``find``, looking again where that helps.

    Args:
        find: One look.
        max_side: Images are scaled down to this for the first look, in pixels.
        min_confidence: Lines below it are dropped, 0 to 1.
    """

    find: Find
    max_side: int
    min_confidence: float

    def read(self, image: Pixels, first: list[Line] | None = None) -> list[Line]:
        """The lines of an image, in reading order, with their marks.

        Args:
            image: uint8[height, width, 3].
            first: What ``find`` gave for the image and ``max_side``, where that is known.
        """
        height, width = image.shape[:2]
        lines = self.find(image, self.max_side) if first is None else first
        if not self._sure(lines) and max(image.shape[:2]) <= _SMALL:
            sheet, scale, margin = _enlarged(image)
            lines = self._upright(sheet, self.find(sheet, max(sheet.shape[:2])))
            # Found at the second attempt, it must be sure.
            sure = [line for line in lines if line.confident]
            lines = [
                _moved(line, lambda box: np.clip((box - margin) / scale, 0, (width, height)))
                for line in sure
            ]
        else:
            lines = self._upright(image, lines)
        return marked(lines, width, height)

    def _upright(self, image: Pixels, lines: list[Line]) -> list[Line]:
        """The lines that hold, in reading order, from what the first look found."""
        turns, lines = self._turned(image, lines)
        upright = np.ascontiguousarray(np.rot90(image, turns))
        lines = self._sure(self._finer(upright, lines))
        lines = confirmed(upright, lines, lambda sheet: self._sure(self.find(sheet, self.max_side)))
        height, width = upright.shape[:2]
        return [
            _moved(line, lambda box: _turned_back(box, turns, width, height))
            for line in reading_order(lines)
        ]

    def _sure(self, lines: Sequence[Line]) -> list[Line]:
        return [line for line in lines if line.confidence >= self.min_confidence]

    def _finer(self, image: Pixels, lines: list[Line]) -> list[Line]:
        """The lines after a look at a larger size, if their letters are small."""
        longer = max(image.shape[:2])
        sure = self._sure(lines)
        if longer <= self.max_side or not sure:
            return lines
        letters = float(np.median([letter_height(line) for line in sure])) * self.max_side / longer
        if letters >= _SMALL_LETTERS:
            return lines
        side = min(longer, _LARGEST, round(self.max_side * _GOOD_LETTERS / letters))
        if side <= self.max_side:
            return lines
        finer = self._sure(self.find(image, side))
        # The larger size loses letters that were large already.
        kept = [
            line
            for line in sure
            if not any(lies_in(line, other) or lies_in(other, line) for other in finer)
        ]
        return finer + kept

    def _turned(self, image: Pixels, lines: list[Line]) -> tuple[int, list[Line]]:
        """By how many quarters to the left the image reads best, and its lines then."""
        room = sum(map(_room, lines))
        if room < _TELLING:
            return 0, lines
        unsure = _evidence(lines) < _UNSURE * room
        tall = [line for line in lines if _is_tall(line)]
        sideways = 2 * sum(_room(x) for x in tall if unsure or x.script == "latin") > room
        if not unsure and not sideways:
            return 0, lines
        best, turns, chosen = _evidence(self._sure(lines)), 0, lines
        for quarters in (1, 3) if sideways else (2,):
            seen = self.find(np.ascontiguousarray(np.rot90(image, quarters)), self.max_side)
            sure = [line for line in seen if line.confident and not (sideways and _is_tall(line))]
            # Sideways Latin text may read well as it is: turned, it need not read better.
            if _evidence(sure) >= max(best * (1.0 if turns or unsure else 0.9), _UNSURE * _TELLING):
                best, turns, chosen = _evidence(sure), quarters, seen
        return turns, chosen


def _enlarged(image: Pixels) -> tuple[Pixels, npt.NDArray[np.float64], int]:
    """A small image enlarged on a sheet of its edges' colour; its scale (x, y) and the margin."""
    height, width = image.shape[:2]
    wanted = max(1.0, _ENLARGED / max(height, width))
    size = (max(1, round(width * wanted)), max(1, round(height * wanted)))
    edges = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    paper = tuple(int(value) for value in np.median(edges, axis=0))
    margin = math.ceil(_MARGIN * max(size))
    sheet = Image.new("RGB", (size[0] + 2 * margin, size[1] + 2 * margin), paper)
    large = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    sheet.paste(large, (margin, margin))
    return np.asarray(sheet), np.array(size) / (width, height), margin


def _evidence(lines: Sequence[Line]) -> float:
    """Characters read, each counting by its line's confidence."""
    return sum(line.confidence * len(line.text) for line in lines)


def _room(line: Line) -> float:
    """How many characters a line has, at least as many as squares fit into its box."""
    left, top, right, bottom = line.bounds
    short, long = sorted((right - left, bottom - top))
    return max(float(len(line.text)), long / max(short, 1.0))


def _is_tall(line: Line) -> bool:
    left, top, right, bottom = line.bounds
    return len(line.text) > 1 and bottom - top >= _TALL * (right - left)


def _moved(line: Line, move: Callable[[npt.NDArray[np.float64]], npt.ArrayLike]) -> Line:
    return replace(line, box=as_polygon(move(np.array(line.box, dtype=np.float64))))


def _turned_back(
    box: npt.NDArray[np.float64], turns: int, width: int, height: int
) -> npt.NDArray[np.float64]:
    """A box in an image turned by quarters to the left, in the image as it was."""
    x, y = box[:, 0], box[:, 1]
    if turns == 1:
        return np.stack([height - y, x], axis=1)
    if turns == 2:
        return np.stack([width - x, height - y], axis=1)
    if turns == 3:
        return np.stack([y, width - x], axis=1)
    return box
