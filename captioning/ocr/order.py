"""The order in which people read the lines of an image.

Lines are cut into blocks where the page shows a gap, as in the recursive X-Y cut (Nagy,
Seth and Viswanathan 1992): first into columns of prose, else into bands from top to
bottom. Blocks of vertical writing are turned a quarter to the left first, which makes
columns read from right to left into rows read from top to bottom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from captioning.ocr.lines import Line

#: A line's long side over its short one, from which upright text is vertical writing.
_VERTICAL = 1.5
#: Detected boxes reach beyond the letters; this share of the height, around the middle,
#: does not touch the next row.
_CORE = 0.5
#: By how much a box reaches beyond its text at either end, in heights.
_MARGIN = 0.2
#: Lines this many times as wide as high are prose; shorter ones may be cells of a table.
_PROSE = 8.0
#: From this ratio of heights on a small line beside a tall one stands in its row.
_TALLER = 1.5
#: A tilt up to this is left as it is, in degrees.
_LEVEL = 0.2


@dataclass(frozen=True)
class _Box:
    """An upright rectangle in the frame in which the line's block is read."""

    line: Line
    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return max(self.bottom - self.top, 1e-6)

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2

    @property
    def core(self) -> tuple[float, float]:
        half = _CORE * self.height / 2
        return self.middle - half, self.middle + half


def reading_order(lines: Sequence[Line]) -> list[Line]:
    """Sort lines as people read them.

    Rows go from left to right and from top to bottom, columns of prose one after the other,
    vertical Chinese from the right column to the left. The result does not depend on the
    order of the input.
    """
    tilt = _tilt([line for line in lines if not is_vertical(line)])
    boxes = [_turned(line, tilt) for line in sorted(lines, key=_canonical)]
    return [box.line for box in _read(boxes)] if boxes else []


def _canonical(line: Line) -> tuple[object, ...]:
    return line.bounds, line.box, line.text, line.confidence


def is_vertical(line: Line) -> bool:
    """Whether a line is written from top to bottom."""
    width, height = _sides(line)
    return line.script != "latin" and len(line.text) > 1 and height >= _VERTICAL * width


def _sides(line: Line) -> tuple[float, float]:
    """Width and height along the line's own axes, whatever corner the box starts at."""
    corners = np.array(line.box)
    edges = corners[[1, 2]] - corners[[0, 1]]
    lengths = np.hypot(edges[:, 0], edges[:, 1])
    flat = abs(edges[0, 0]) >= abs(edges[0, 1])
    return (lengths[0], lengths[1]) if flat else (lengths[1], lengths[0])


def _tilt(lines: Sequence[Line]) -> float:
    """By how many radians the rows lean: the median over the lines' top edges."""
    angles = []
    # Short lines say little of the angle: their corners lie on whole pixels.
    long = float(np.median([_sides(line)[0] for line in lines])) if lines else 0.0
    for line in (line for line in lines if _sides(line)[0] >= long):
        (ax, ay), (bx, by) = line.box[0], line.box[1]
        if abs(bx - ax) > abs(by - ay):
            angles.append(math.atan2(by - ay, bx - ax) if bx > ax else math.atan2(ay - by, ax - bx))
    tilt = float(np.median(angles)) if angles else 0.0
    return tilt if abs(math.degrees(tilt)) > _LEVEL else 0.0


def _turned(line: Line, tilt: float) -> _Box:
    corners = np.array(line.box)
    if tilt:
        cos, sin = math.cos(-tilt), math.sin(-tilt)
        corners = corners @ np.array([[cos, sin], [-sin, cos]])
    left, top = corners.min(axis=0)
    right, bottom = corners.max(axis=0)
    return _Box(line, float(left), float(top), float(right), float(bottom))


def _read(boxes: list[_Box]) -> list[_Box]:
    ordered: list[_Box] = []
    # A stack and not recursion: a page may have more lines than Python has frames.
    blocks = [(boxes, False)]
    while blocks:
        block, turned = blocks.pop()
        if not turned and _is_vertical_block(block):
            block, turned = [_quarter_turn(box) for box in block], True
        parts = _columns(block) or _bands(block)
        if parts is None:
            ordered += _by_rows(block)
        else:
            blocks += [(parts[1], turned), (parts[0], turned)]
    return ordered


def _is_vertical_block(boxes: list[_Box]) -> bool:
    """Single characters stand in either kind of block; they never make one vertical."""
    vertical = [is_vertical(box.line) for box in boxes]
    upright = (
        v or (len(b.line.text) == 1 and b.line.script != "latin")
        for v, b in zip(vertical, boxes, strict=True)
    )
    return any(vertical) and all(upright)


def _quarter_turn(box: _Box) -> _Box:
    """Turn to the left: what was rightmost comes to lie on top."""
    return _Box(box.line, box.top, -box.right, box.bottom, -box.left)


def _columns(boxes: list[_Box]) -> tuple[list[_Box], list[_Box]] | None:
    """Two columns of prose beside each other, if there are such."""
    by_left = sorted(boxes, key=lambda box: box.left)
    height = float(np.median([box.height for box in boxes]))
    gaps = []
    reach = by_left[0].right
    for index, box in enumerate(by_left[1:], start=1):
        gap = (box.left - reach) / height + 2 * _MARGIN
        if gap > 0:
            gaps.append((-gap, index))
        reach = max(reach, box.right)
    for gap, index in sorted(gaps):
        left, right = by_left[:index], by_left[index:]
        if _are_columns(left, right, -gap):
            return left, right
    return None


def _are_columns(left: list[_Box], right: list[_Box], gap: float) -> bool:
    """Whether a gap, in heights, parts columns of prose and not the cells of table rows."""
    if _is_prose(left) and _is_prose(right):
        return True
    if gap < 1.0 or _widest_band(left + right) > _between(left, right):
        return False
    few, many = sorted((left, right), key=len)
    if len(few) == 1:
        # A title beside a paragraph: as high as several of its rows together.
        return few[0].height > 1.5 * float(np.median([box.height for box in many]))
    beside = sum(any(_share_row(box, other) for other in many) for box in few)
    return beside < 0.6 * len(few)


def _between(left: list[_Box], right: list[_Box]) -> float:
    """The width of the gap between two columns, in pixels."""
    return min(box.left for box in right) - max(box.right for box in left)


def _widest_band(boxes: list[_Box]) -> float:
    """The height of the highest strip without text from side to side, in pixels.

    What a wide strip keeps apart, such as two labels in a photograph, belongs together less
    than what stands beside each other.
    """
    by_top = sorted(boxes, key=lambda box: box.top)
    reach = np.maximum.accumulate([box.bottom for box in by_top])
    tops = np.array([box.top for box in by_top])
    return float(np.max(tops[1:] - reach[:-1], initial=0.0))


def _is_prose(column: list[_Box]) -> bool:
    """Prose fills its column; the cells of a table are of all lengths."""
    widths = np.array([box.width for box in column])
    slender = np.median(widths / [box.height for box in column]) >= _PROSE
    return bool(slender and len(column) > 2 and np.mean(widths >= 0.85 * widths.max()) >= 0.5)


def _share_row(one: _Box, other: _Box) -> bool:
    overlap = min(one.bottom, other.bottom) - max(one.top, other.top)
    return overlap >= 0.5 * min(one.height, other.height)


def _bands(boxes: list[_Box]) -> tuple[list[_Box], list[_Box]] | None:
    """Cut at the widest gap that reaches across the whole block.

    Where a few lines, such as a headline, hide the gap between columns, only cuts beside
    those lines count: any other would go through the columns.
    """
    by_top = sorted(boxes, key=lambda box: box.core[0])
    spanning = _spanning(by_top)
    bridged = _bridged(by_top)
    gaps = []
    reach = by_top[0].core[1]
    for index, box in enumerate(by_top[1:], start=1):
        top, bottom = box.core
        if top > reach and not bridged[index]:
            gaps.append((bool(spanning[index - 1] or spanning[index]), top - reach, index))
        reach = max(reach, bottom)
    if not gaps:
        return None
    beside, widest, _ = max(gaps)
    # Among gaps as good as equal the one next to the middle: even lines halve quickly.
    alike = [index for near, gap, index in gaps if near == beside and gap >= 0.9 * widest]
    cut = min(alike, key=lambda index: (abs(2 * index - len(boxes)), index))
    return by_top[:cut], by_top[cut:]


def _bridged(by_top: list[_Box]) -> npt.NDArray[np.bool_]:
    """Before which boxes no cut may be: it would part a tall line from a small one in its row.

    A price in large figures reaches above and below the words beside it.
    """
    count = len(by_top)
    left, right = (np.array([getattr(box, side) for box in by_top]) for side in ("left", "right"))
    top, bottom = (np.array([getattr(box, side) for box in by_top]) for side in ("top", "bottom"))
    height, middle = bottom - top, (top + bottom) / 2
    tall = height[:, None] >= _TALLER * np.maximum(height, 1e-6)
    within = (top[:, None] < middle) & (middle < bottom[:, None])
    apart = np.maximum(left[:, None] - right, left - right[:, None])
    apart += _MARGIN * (height[:, None] + height)
    bridges = tall & within & (apart >= 0) & (apart <= 2 * height[:, None])
    bridged = np.zeros(count + 1, dtype=np.int64)
    for one, other in zip(*np.nonzero(bridges), strict=True):
        bridged[min(one, other) + 1] += 1
        bridged[max(one, other) + 1] -= 1
    return np.cumsum(bridged)[:count] > 0


def _spanning(boxes: list[_Box]) -> npt.NDArray[np.bool_]:
    """Which lines cross the gap between columns, if all but a few lines respect one."""
    left = np.array([box.left + _MARGIN * box.height for box in boxes])
    right = np.array([box.right - _MARGIN * box.height for box in boxes])
    at = np.unique(right)[:, None] + 1e-3
    crossing = (left < at) & (right > at)
    sides = np.minimum((right <= at).sum(axis=1), (left >= at).sum(axis=1))
    count = np.where(sides >= max(3, len(boxes) // 5), crossing.sum(axis=1), len(boxes))
    best = int(np.argmin(count))
    if count[best] > len(boxes) // 5:
        return np.zeros(len(boxes), dtype=bool)
    return crossing[best]


def _by_rows(boxes: list[_Box]) -> list[_Box]:
    """Boxes that no gap parts: those level with the tallest of a row belong to it."""
    rows: list[list[_Box]] = []
    tallest: _Box | None = None
    for box in sorted(boxes, key=lambda box: box.middle):
        if tallest is not None and _are_level(box, tallest):
            rows[-1].append(box)
            tallest = max(tallest, box, key=lambda each: each.height)
        else:
            rows.append([box])
            tallest = box
    return [box for row in rows for box in _along(row)]


def _are_level(one: _Box, other: _Box) -> bool:
    small, tall = sorted((one.height, other.height))
    apart = max(one.left - other.right, other.left - one.right)
    beside = apart + _MARGIN * (small + tall) >= 0
    reach = tall if beside and tall >= _TALLER * small else small
    return abs(one.middle - other.middle) <= 0.5 * reach


def _along(row: list[_Box]) -> list[_Box]:
    """The boxes of a row from left to right; those above each other from top to bottom."""
    stacks: list[list[_Box]] = []
    for box in sorted(row, key=lambda box: box.left):
        if stacks and any(_above(box, other) for other in stacks[-1]):
            stacks[-1].append(box)
        else:
            stacks.append([box])
    return [box for stack in stacks for box in sorted(stack, key=lambda box: box.middle)]


def _above(one: _Box, other: _Box) -> bool:
    """Whether one box stands above or below another rather than beside it."""
    wide = min(one.right, other.right) - max(one.left, other.left)
    high = min(one.bottom, other.bottom) - max(one.top, other.top)
    return wide > 0.5 * min(one.width, other.width) and high < 0.5 * min(one.height, other.height)
