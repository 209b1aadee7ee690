"""What every OCR engine gives: lines of text with a box, in reading order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from captioning.language import Language, Script, clean_text, language_of, script_of

Point = tuple[float, float]
Polygon = tuple[Point, Point, Point, Point]

#: Why a line says nothing that another line of the image does not say.
Mark = Literal["none", "duplicate", "repeat"]

#: From this confidence on a line is taken for read right, and captions must quote it.
CONFIDENT = 0.8


@dataclass(frozen=True)
class Line:
    """One line of text as it stands in an image.

    Args:
        text: What it says, without line breaks.
        box: Its corners ``(x, y)`` in pixels, clockwise from the start of the text's top.
        confidence: 0 to 1.
        script: The script of its letters.
        language: The language, as far as the letters tell.
        mark: ``duplicate`` where another line holds the same text at the same place, ``repeat``
            for a further copy of a text tiled over the image, as watermarks are.
    """

    text: str
    box: Polygon
    confidence: float
    script: Script
    language: Language
    mark: Mark = "none"

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The upright rectangle around the box: left, top, right, bottom."""
        xs, ys = zip(*self.box, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def confident(self) -> bool:
        """Whether the line is taken for read right."""
        return self.confidence >= CONFIDENT

    @property
    def quoted(self) -> bool:
        """Whether captions must quote the line: read right, and said by no other line."""
        return self.confident and self.mark == "none"

    def to_row(self) -> dict[str, Any]:
        """The line as plain values, the box flat: x0 y0 x1 y1 x2 y2 x3 y3."""
        return {**asdict(self), "box": [value for point in self.box for value in point]}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Line:
        """The line that ``to_row`` made the values from; rows without a mark have none."""
        box = as_polygon(np.asarray(row["box"]).reshape(4, 2))
        return cls(**{**row, "box": box, "mark": row.get("mark") or "none"})


class OcrEngine(Protocol):
    """Reads text in images; may be called from several threads at once."""

    def read(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[list[Line]]:
        """Read the images.

        Args:
            images: Arrays uint8[height, width, 3], RGB.

        Returns:
            The lines of each image in reading order; none where it shows no text.
        """
        ...


def letter_height(line: Line) -> float:
    """The shorter side of a line's box in pixels, at least 1: also in vertical writing."""
    corners = np.array(line.box)
    across, down = np.linalg.norm(corners[[1, 2]] - corners[[0, 1]], axis=1)
    return max(1.0, min(float(across), float(down)))


def lies_in(line: Line, other: Line) -> bool:
    """Whether the middle of a line lies in the box of another, which may be tilted."""
    corners = np.array(other.box)
    edges = np.roll(corners, -1, axis=0) - corners
    ways = np.mean(line.box, axis=0) - corners
    # On the same side of all four edges, whichever way round the corners go.
    sides = edges[:, 0] * ways[:, 1] - edges[:, 1] * ways[:, 0]
    return bool((sides >= 0).all() or (sides <= 0).all())


def as_polygon(points: npt.ArrayLike) -> Polygon:
    """Four points as a tuple of tuples of floats."""
    a, b, c, d = ((float(x), float(y)) for x, y in np.asarray(points))
    return a, b, c, d


def make_line(text: str, box: npt.ArrayLike, confidence: float) -> Line | None:
    """A line from what an engine read, or ``None`` if no text is left of it."""
    text = clean_text(text)
    if not text:
        return None
    confidence = min(1.0, max(0.0, float(confidence)))
    return Line(text, as_polygon(box), confidence, script_of(text), language_of(text))


def text_area(lines: Iterable[Line], width: int, height: int) -> float:
    """The share of an image inside the boxes of its lines, 0 to 1.

    Boxes are clipped to the image; where two overlap, the overlap counts twice (lines of
    text hardly do).
    """
    total = 0.0
    for line in lines:
        corners = np.clip(np.array(line.box), 0.0, (width, height))
        x, y = corners[:, 0], corners[:, 1]
        # The shoelace formula.
        total += abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    return min(1.0, total / (width * height))
