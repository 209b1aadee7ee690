"""The drawings on posters and book covers, and the palettes they are drawn in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.demo.canvas import Box, Canvas, Colour, blend, noise_line


@dataclass(frozen=True)
class Palette:
    """Colours of one design: ground, its text, two accents."""

    ground: Colour
    ink: Colour
    first: Colour
    second: Colour


def _extent(box: Box) -> Box:
    left, top, right, bottom = box
    return left, top, right - left, bottom - top


def suns(
    canvas: Canvas,
    rng: np.random.Generator,
    box: Box,
    colours: Palette,
) -> None:
    """A sun over hills."""
    left, top, wide, tall = _extent(box)
    canvas.circle(
        (left + wide * rng.uniform(0.35, 0.65), top + tall * 0.5), tall * 0.3, colours.first
    )
    for hill in range(3):
        line = top + tall * (0.75 + 0.12 * hill) - tall * 0.28 * noise_line(rng, 90, 2, 0.4)
        xs = np.linspace(left, left + wide, 90)
        edge = list(zip(xs.tolist(), line.tolist(), strict=True))
        shade = blend(colours.second, colours.ink, 0.25 * hill)
        canvas.polygon([(left, top + tall), *edge, (left + wide, top + tall)], shade)


def dots(
    canvas: Canvas,
    rng: np.random.Generator,
    box: Box,
    colours: Palette,
) -> None:
    """A grid of dots of all sizes."""
    left, top, wide, tall = _extent(box)
    columns, rows = round(wide / 36), round(tall / 36)
    for cell in range(columns * rows):
        x = left + (cell % columns + 0.5) * wide / columns
        y = top + (cell // columns + 0.5) * tall / rows
        colour = (colours.first, colours.second, colours.ink)[int(rng.integers(3))]
        canvas.circle((x, y), 4 + 11 * rng.random(), colour)


def bands(
    canvas: Canvas,
    rng: np.random.Generator,
    box: Box,
    colours: Palette,
) -> None:
    """Leaning bands."""
    left, top, wide, tall = _extent(box)
    x, lean = left, wide * 0.22
    while x < left + wide - lean - 8:
        step = rng.uniform(14, 46)
        colour = (colours.first, colours.second, colours.ground)[int(rng.integers(3))]
        right = min(x + step, left + wide - lean)
        canvas.polygon(
            [(x, top + tall), (right, top + tall), (right + lean, top), (x + lean, top)], colour
        )
        x += step


def arcs(
    canvas: Canvas,
    rng: np.random.Generator,
    box: Box,
    colours: Palette,
) -> None:
    """Nested half circles."""
    left, top, wide, tall = _extent(box)
    base = top + tall * 0.95
    reach = min(wide * 0.46, tall * 0.85)
    shades = [colours.first, colours.second, colours.ink]
    turn = int(rng.integers(3))
    for ring in range(7):
        radius = reach * (1 - ring * 0.13)
        canvas.wedge((left + wide / 2, base), radius, 180, 360, shades[(ring + turn) % 3])
        canvas.wedge((left + wide / 2, base), radius - reach * 0.05, 180, 360, colours.ground)


def leaves(
    canvas: Canvas,
    rng: np.random.Generator,
    box: Box,
    colours: Palette,
) -> None:
    """Five stems with leaves."""
    left, top, wide, tall = _extent(box)
    for stem in range(5):
        x = left + wide * (0.12 + 0.19 * stem)
        high = top + tall * rng.uniform(0.08, 0.4)
        colour = colours.first if stem % 2 else colours.second
        canvas.stroke([(x, top + tall), (x, high)], colour, width=3)
        for leaf in range(5):
            y = high + (top + tall - high) * leaf / 6
            for side in (-1, 1):
                canvas.polygon([(x, y + 26), (x + side * 26, y), (x + side * 30, y + 14)], colour)
        canvas.circle((x, high), 9, colours.ink)


MOTIFS = (suns, arcs, dots, bands, leaves)
