"""Which lines of an image say what another of its lines already says.

A detector may draw two boxes around one piece of text, and a watermark stands on an image many
times over. Such lines stay in the table; what reads them need not say them twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher

import numpy as np

from captioning.language import normalise
from captioning.ocr.lines import Line, Mark, letter_height, lies_in

#: How alike two readings of one text are at least, 0 to 1 (Ratcliff and Obershelp).
_ALIKE = 0.8
#: Copies from which on a text is tiled; three in rows and columns are a list or a table.
_COPIES = 4
#: The share of the image's width and of its height that the copies reach over, at least.
_SPREAD = 0.4
#: Copies are drawn alike: the ratio of their heights, and the degrees between their directions.
_SAME_SIZE = 1.6
_SAME_ANGLE = 10.0


def marked(lines: Sequence[Line], width: int, height: int) -> list[Line]:
    """The lines with their marks, in the order given.

    Of two lines at the same place, one text within or nearly the other, the better one stays
    unmarked: the longer text, else the surer reading. Of a text tiled over the image, the surest
    reading of its most frequent form stays unmarked.

    Args:
        lines: The lines of one image, in reading order.
        width: The image's width in pixels.
        height: The image's height in pixels.
    """
    texts = [normalise(line.text).casefold() for line in lines]
    marks: list[Mark] = ["none"] * len(lines)
    for index in _duplicates(lines, texts):
        marks[index] = "duplicate"
    left = [index for index, mark in enumerate(marks) if mark == "none"]
    for index in _repeats(lines, texts, left, (width, height)):
        marks[index] = "repeat"
    return [replace(line, mark=mark) for line, mark in zip(lines, marks, strict=True)]


def _duplicates(lines: Sequence[Line], texts: Sequence[str]) -> list[int]:
    """Lines that lie on a better one with the same text."""
    if not lines:
        return []
    bounds = np.array([line.bounds for line in lines])
    middles = np.array([np.mean(line.box, axis=0) for line in lines])
    inside = (bounds[:, :2] <= middles[:, None]) & (middles[:, None] <= bounds[:, 2:])
    # near[i, j]: the middle of line i is within the bounds of line j.
    near = inside[..., 0] & inside[..., 1]
    best_first = sorted(
        range(len(lines)), key=lambda index: (-len(texts[index]), -lines[index].confidence, index)
    )
    found = []
    for rank, index in enumerate(best_first):
        others = (other for other in best_first[:rank] if near[index, other])
        if any(_says(texts[o], texts[index]) and lies_in(lines[index], lines[o]) for o in others):
            found.append(index)
    return found


def _says(longer: str, shorter: str) -> bool:
    return shorter in longer or _alike(longer, shorter)


def _alike(one: str, other: str) -> bool:
    if 2 * min(len(one), len(other)) < _ALIKE * (len(one) + len(other)):
        return False  # even the same letters would not make them alike
    return SequenceMatcher(None, one, other, autojunk=False).ratio() >= _ALIKE


def _repeats(
    lines: Sequence[Line], texts: Sequence[str], left: Sequence[int], size: tuple[int, int]
) -> list[int]:
    """The copies of tiled texts, but for one of each."""
    forms = Counter(texts[index] for index in left if len(texts[index]) > 1)
    found: list[int] = []
    for form, count in sorted(forms.items(), key=lambda item: (-item[1], item[0])):
        if count == 1:
            break  # of four copies two are read alike
        copies = [i for i in left if i not in found and _alike(texts[i], form)]
        copies = _drawn_alike(lines, copies)
        if len(copies) >= _COPIES and _tiled([lines[i] for i in copies], size):
            spared = min(copies, key=lambda i: (texts[i] != form, -lines[i].confidence, i))
            found += [i for i in copies if i != spared]
    return found


def _drawn_alike(lines: Sequence[Line], copies: Sequence[int]) -> list[int]:
    """Those of about the median size and direction."""
    heights = np.array([letter_height(lines[i]) for i in copies])
    starts, ends = (np.array([lines[i].box[c] for i in copies]).reshape(-1, 2) for c in (0, 1))
    angles = np.degrees(np.arctan2(*(ends - starts).T[::-1]))
    if not len(copies):
        return []
    ratio = heights / np.median(heights)
    # Half a turn apart is the same direction: boxes need not start at the text's own start.
    off = np.abs((angles - np.median(angles) + 90.0) % 180.0 - 90.0)
    same = (ratio <= _SAME_SIZE) & (ratio >= 1 / _SAME_SIZE) & (off <= _SAME_ANGLE)
    return [index for index, alike in zip(copies, same, strict=True) if alike]


def _tiled(copies: Sequence[Line], size: tuple[int, int]) -> bool:
    middles = np.array([np.mean(line.box, axis=0) for line in copies])
    return bool((np.ptp(middles, axis=0) >= _SPREAD * np.array(size)).all())
