"""Drawn pictures that differ in their text alone: posters, menus, pages, slides.

Photographs teach a copy detector that text is something pasted on. Here the text is the picture:
those of one family share colours and layout, and are no copies of each other.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Rng: TypeAlias = np.random.Generator
Colour: TypeAlias = tuple[int, int, int]

_LETTERS = list("AABCDEEFGHIIKLMNOOPRSTUVWXYZaabcdeefghiiklmnooprstuvwxyz0123456789")


def draw_graphic(family: int, member: int, seed: int) -> Image.Image:
    """One picture of a family; the same numbers give the same picture."""
    layout, text = (
        np.random.default_rng([seed, family]),
        np.random.default_rng([seed, family, member + 1]),
    )
    width, height = (int(side) for side in layout.integers(300, 640, 2))
    paper, ink = _pair(layout)
    image = _ground((width, height), paper, layout)
    pen = ImageDraw.Draw(image)
    _shapes(pen, (width, height), layout)
    kinds = (_columns, _lines, _cards, _big)
    kinds[layout.integers(len(kinds))](pen, (width, height), ink, layout, text)
    return image


def _pair(rng: Rng) -> tuple[Colour, Colour]:
    """Colours of paper and ink that can be told apart."""
    dark, light = rng.integers(0, 90, 3), rng.integers(165, 256, 3)
    pair = (light, dark) if rng.random() < 0.6 else (dark, light)
    paper, ink = (_colour(each) for each in pair)
    return paper, ink


def _colour(values: Any) -> Colour:  # noqa: ANN401 - any three numbers
    red, green, blue = (int(value) for value in values)
    return red, green, blue


def _ground(size: tuple[int, int], paper: Colour, rng: Rng) -> Image.Image:
    if rng.random() < 0.5:
        return Image.new("RGB", size, paper)
    other = np.clip(np.array(paper) + rng.integers(-60, 61, 3), 0, 255)
    share = np.linspace(0, 1, size[1])[:, None, None]
    rows = np.array(paper) * (1 - share) + other * share
    return Image.fromarray(np.broadcast_to(rows, (size[1], size[0], 3)).astype(np.uint8))


def _shapes(pen: ImageDraw.ImageDraw, size: tuple[int, int], rng: Rng) -> None:
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.uniform(0, 1, 2) * size
        across, down = rng.uniform(0.05, 0.5, 2) * size
        box = (x, y, x + across, y + down)
        draw = pen.ellipse if rng.random() < 0.4 else pen.rectangle
        draw(box, fill=_colour(rng.integers(0, 256, 3)))
    if rng.random() < 0.4:
        edge = float(rng.uniform(0.02, 0.05) * min(size))
        box = (edge, edge, size[0] - edge, size[1] - edge)
        pen.rectangle(box, outline=_colour(rng.integers(0, 256, 3)), width=3)


def _sign(pen: ImageDraw.ImageDraw, x: float, y: float, side: float, ink: Colour, rng: Rng) -> None:
    """Something like a Han character: strokes in a square."""
    stroke = max(1, round(side / 12))
    for _ in range(int(rng.integers(4, 10))):
        (a, b), (c, d) = rng.uniform(0.05, 0.95, (2, 2)) * side
        kind = rng.random()
        c, d = (c, b) if kind < 0.45 else (a, d) if kind < 0.8 else (c, d)
        pen.line((x + a, y + b, x + c, y + d), fill=ink, width=stroke)


def _line(
    pen: ImageDraw.ImageDraw, x: float, y: float, side: float, room: float, ink: Colour, rng: Rng
) -> None:
    """A line of letters or of signs, as long as there is room."""
    if rng.random() < 0.5:
        font = ImageFont.load_default(size=max(8, round(side)))
        text = " ".join("".join(rng.choice(_LETTERS, rng.integers(2, 10))) for _ in range(12))
        while text and font.getlength(text) > room:
            text = text[:-1]
        pen.text((x, y), text, font=font, fill=ink)
        return
    for place in range(int(room * rng.uniform(0.4, 1) / side)):
        _sign(pen, x + place * side * 1.05, y, side, ink, rng)


def _columns(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], ink: Colour, layout: Rng, text: Rng
) -> None:
    side = float(layout.uniform(0.06, 0.16)) * size[1]
    top = float(layout.uniform(0.05, 0.2)) * size[1]
    columns = int(layout.integers(1, 5))
    for column in range(columns):
        x = size[0] * (column + 0.5) / columns - side / 2
        for place in range(int((size[1] - 2 * top) / side * text.uniform(0.6, 1))):
            _sign(pen, x, top + place * side * 1.05, side, ink, text)


def _lines(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], ink: Colour, layout: Rng, text: Rng
) -> None:
    margin = float(layout.uniform(0.05, 0.15)) * size[0]
    side = float(layout.uniform(0.03, 0.09)) * size[1]
    title = float(layout.uniform(1.0, 2.2)) * side
    y = float(layout.uniform(0.04, 0.12)) * size[1]
    _line(pen, margin, y, title, size[0] - 2 * margin, ink, text)
    y += 1.6 * title
    while y < size[1] - 2 * side:
        _line(pen, margin, y, side, (size[0] - 2 * margin) * text.uniform(0.5, 1), ink, text)
        y += side * 1.6


def _cards(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], ink: Colour, layout: Rng, text: Rng
) -> None:
    across, down = (int(count) for count in layout.integers(1, 4, 2))
    paper = tuple(255 - value for value in ink)
    for row in range(down):
        for column in range(across):
            x, y = size[0] * column / across, size[1] * row / down
            wide, high = size[0] / across, size[1] / down
            box = (x + 0.06 * wide, y + 0.06 * high, x + 0.94 * wide, y + 0.94 * high)
            pen.rectangle(box, fill=paper, outline=ink)
            side = high / 7
            for place in (0.2, 0.45, 0.7):
                _line(pen, x + 0.12 * wide, y + place * high, side, 0.76 * wide, ink, text)


def _big(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], ink: Colour, layout: Rng, text: Rng
) -> None:
    side = float(layout.uniform(0.12, 0.3)) * min(size)
    y = float(layout.uniform(0.1, 0.5)) * size[1]
    for line in range(int(layout.integers(1, 4))):
        _line(pen, 0.08 * size[0], y + 1.3 * line * side, side, 0.84 * size[0], ink, text)
