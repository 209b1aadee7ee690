"""What the drawn pictures share: a supersampled canvas, gradients, fonts, the picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Point = tuple[float, float]
Box = tuple[float, float, float, float]
Face = Literal["Sans", "Serif"]

_HERE = Path(__file__).parent
_SERIF_LAYOUTS = ("book", "vertical")
# Shapes have no antialiasing of their own in Pillow: draw large, then reduce.
_SCALE = 2


@dataclass(frozen=True)
class Picture:
    """One original of the sample set, not yet encoded.

    Args:
        name: File stem, unique in the set.
        kind: photo, poster or scene.
        image: RGB pixels.
        captions: By language, ``en`` and ``zh``.
        lines: The text lines drawn on it, top to bottom, as an OCR engine should read them.
        meta: What else is known, such as credit and licence.
    """

    name: str
    kind: str
    image: Image.Image
    captions: dict[str, str]
    lines: tuple[str, ...] = ()
    meta: dict[str, str] = field(default_factory=dict)


@lru_cache(maxsize=1)
def texts() -> dict[str, list[dict[str, str | list[str]]]]:
    """The texts of the posters, by layout, from ``texts.json``."""
    return json.loads((_HERE / "texts.json").read_text("utf-8"))


def glyphs(face: Face) -> str:
    """Every character that a face must be able to draw, sorted."""
    wanted = {chr(code) for code in range(0x20, 0x7F)}
    for layout, entries in texts().items():
        if (layout in _SERIF_LAYOUTS) == (face == "Serif"):
            for entry in entries:
                wanted.update(entry["title"], entry["second"], *entry["lines"])
    return "".join(sorted(wanted))


def font_path(face: Face) -> Path:
    """Where the font file of a face lies."""
    return _HERE / "fonts" / f"Noto{face}CJKsc-demo.otf"


@lru_cache(maxsize=256)
def font(face: Face, size: int) -> ImageFont.FreeTypeFont:
    """A face at a size in pixels; basic layout, so that builds of Pillow agree."""
    return ImageFont.truetype(font_path(face), size, layout_engine=ImageFont.Layout.BASIC)


def hexadecimal(colour: str) -> Colour:
    """A colour from six hexadecimal digits."""
    red, green, blue = bytes.fromhex(colour)
    return red, green, blue


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """A colour between two others; ``share`` in [0, 1] is that of the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def luminance(colour: Colour) -> float:
    """Perceived brightness, 0..255 (ITU-R BT.601)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def ramp(shares: np.ndarray, stops: Sequence[Colour]) -> Image.Image:
    """Colour a map of shares.

    Args:
        shares: float[height, width] in [0, 1].
        stops: Colours at equal distances from 0 to 1.
    """
    places = np.linspace(0.0, 1.0, len(stops))
    planes = [np.interp(shares, places, [stop[plane] for stop in stops]) for plane in range(3)]
    return Image.fromarray(np.stack(planes, axis=-1).round().astype(np.uint8))


class Canvas:
    """A picture in the making; all lengths are pixels of the finished picture.

    Args:
        width: Of the finished picture.
        height: Of the finished picture.
        stops: Colours of the background, top to bottom; one for a flat background.
    """

    def __init__(self, width: int, height: int, *stops: Colour) -> None:
        self.width = width
        self.height = height
        self.lines: list[str] = []
        column = ramp(np.linspace(0.0, 1.0, height * _SCALE)[:, None], stops)
        size = (width * _SCALE, height * _SCALE)
        self._image = column.resize(size, Image.Resampling.NEAREST)
        self._draw = ImageDraw.Draw(self._image)

    def rectangle(
        self,
        box: Box,
        fill: Colour | None = None,
        *,
        radius: float = 0,
        outline: Colour | None = None,
        width: float = 1,
    ) -> None:
        """Draw a rectangle, with round corners where ``radius`` is positive."""
        self._draw.rounded_rectangle(
            _scaled(box), radius * _SCALE, fill, outline, round(width * _SCALE)
        )

    def circle(
        self,
        centre: Point,
        radius: float,
        fill: Colour | None = None,
        *,
        outline: Colour | None = None,
        width: float = 1,
    ) -> None:
        """Draw a disc or, with only an outline, a ring."""
        x, y = centre
        box = _scaled((x - radius, y - radius, x + radius, y + radius))
        self._draw.ellipse(box, fill, outline, round(width * _SCALE))

    def ellipse(self, box: Box, fill: Colour) -> None:
        """Draw a filled ellipse."""
        self._draw.ellipse(_scaled(box), fill)

    def ellipse_outline(self, box: Box, outline: Colour, *, width: float) -> None:
        """Draw an ellipse without filling it."""
        self._draw.ellipse(_scaled(box), None, outline, round(width * _SCALE))

    def wedge(self, centre: Point, radius: float, start: float, end: float, fill: Colour) -> None:
        """Draw a sector of a disc, from angle ``start`` to ``end`` in degrees, clockwise."""
        x, y = centre
        box = _scaled((x - radius, y - radius, x + radius, y + radius))
        self._draw.pieslice(box, start, end, fill)

    def arc(self, centre: Point, radius: float, span: Point, fill: Colour, *, width: float) -> None:
        """Draw an arc over ``span`` degrees, clockwise."""
        x, y = centre
        box = _scaled((x - radius, y - radius, x + radius, y + radius))
        self._draw.arc(box, span[0], span[1], fill, round(width * _SCALE))

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        """Draw a filled polygon."""
        self._draw.polygon([(x * _SCALE, y * _SCALE) for x, y in points], fill)

    def stroke(self, points: Sequence[Point], fill: Colour, *, width: float = 1) -> None:
        """Draw an open line through points."""
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.line(scaled, fill, round(width * _SCALE), joint="curve")

    def text(
        self,
        at: Point,
        line: str,
        size: float,
        fill: Colour,
        *,
        face: Face = "Sans",
        anchor: str = "mm",
        room: float | None = None,
        bold: bool = False,
    ) -> float:
        """Write one line and remember it as truth; an empty line is left out.

        Args:
            at: Where the anchor goes.
            line: The text.
            size: Of the font, in pixels; smaller where ``room`` does not suffice.
            fill: Colour of the text.
            face: Sans or Serif.
            anchor: Pillow's two-letter anchor.
            room: Width at most.
            bold: Thicken the strokes.

        Returns:
            The size used.
        """
        if not line:
            return 0.0
        if room is not None:
            natural = font(face, 100).getlength(line) / 100
            size = min(size, room / natural)
        self._write(at, line, size, fill, face, anchor, bold=bold)
        self.lines.append(line)
        return size

    def column(
        self, at: Point, line: str, size: float, fill: Colour, *, face: Face = "Serif"
    ) -> None:
        """Write one line top to bottom, ``at`` being the middle of its top edge."""
        x, y = at
        for place, letter in enumerate(line):
            centre = (x, y + (place + 0.5) * size * 1.12)
            self._write(centre, letter, size, fill, face, "mm", bold=False)
        self.lines.append(line)

    def _write(
        self,
        at: Point,
        line: str,
        size: float,
        fill: Colour,
        face: Face,
        anchor: str,
        *,
        bold: bool,
    ) -> None:
        pixels = max(8, round(size * _SCALE))
        stroke = pixels // 28 if bold else 0
        place = (at[0] * _SCALE, at[1] * _SCALE)
        self._draw.text(
            place, line, fill, font(face, pixels), anchor, stroke_width=stroke, stroke_fill=fill
        )

    def paste(self, image: Image.Image, at: Point) -> None:
        """Lay a picture of finished size onto the canvas, its corner at ``at``."""
        size = (image.width * _SCALE, image.height * _SCALE)
        large = image.resize(size, Image.Resampling.BILINEAR)
        mask = large.getchannel("A") if large.mode == "RGBA" else None
        corner = (round(at[0] * _SCALE), round(at[1] * _SCALE))
        self._image.paste(large.convert("RGB"), corner, mask)

    def finish(self) -> Image.Image:
        """The finished picture."""
        return self._image.reduce(_SCALE)


def _scaled(box: Box) -> list[float]:
    return [value * _SCALE for value in box]


def noise_line(rng: np.random.Generator, width: int, octaves: int, roughness: float) -> np.ndarray:
    """A jagged line by midpoint sums.

    Args:
        rng: Source of chance.
        width: Points wanted.
        octaves: Doublings of detail.
        roughness: Weight of each octave relative to the one before, in (0, 1).

    Returns:
        float[width] in [0, 1].
    """
    line = np.zeros(width)
    for octave in range(octaves):
        knots = rng.random(2 ** (octave + 1) + 2)
        places = np.linspace(0, len(knots) - 1, width)
        line += roughness**octave * np.interp(places, np.arange(len(knots)), knots)
    low, high = line.min(), line.max()
    return (line - low) / (high - low)
