"""Draws scenes: solid shapes on a plain background, by area coverage."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from generator.world.scene import Background, Colour, Group, Scene, Shape

#: Object colours, sRGB. No two of these and the backgrounds are nearer than 100 levels.
COLOUR_VALUES: dict[Colour, tuple[int, int, int]] = {
    "red": (220, 30, 35),
    "green": (30, 160, 55),
    "blue": (35, 70, 225),
    "yellow": (250, 215, 30),
    "purple": (170, 45, 215),
    "cyan": (40, 205, 220),
}
BACKGROUND_VALUES: dict[Background, tuple[int, int, int]] = {
    "white": (250, 250, 250),
    "black": (12, 12, 12),
    "grey": (128, 128, 128),
    "brown": (110, 60, 10),
}

SMALLEST_SIDE = 32
LARGEST_SIDE = 1024

#: Diameters, as a share of the image's side.
_LARGE, _SMALL = 0.42, 0.28
#: Centres of single objects by place; a small one keeps further from the middle.
_EDGE = {"large": 0.25, "small": 0.2}
#: Distance between neighbours of a group, by count.
_GAPS = {1: 0.0, 2: 0.36, 3: 0.32}
#: A drawing with a seed moves groups by this share of the side at most, and colours by so many
#: levels.
_MOVE = 0.015
_TINT = 8
_FINE = 8


def draw(
    scene: Scene, side: int = 32, *, antialias: bool = True, seed: int | None = None
) -> NDArray[np.uint8]:
    """Draw a scene.

    Args:
        scene: Any.
        side: Height and width in pixels, 32 to 1024.
        antialias: Mix colours on edges by the area covered; else by the pixel's centre.
        seed: Moves each group by up to 1.5 % of the side and each colour by up to 8 levels;
            ``None``: nothing is moved, and a scene has one drawing.

    Returns:
        uint8 (side, side, 3), RGB.

    Raises:
        ValueError: If the side is out of range.
    """
    if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
        raise ValueError(f"side must be in [{SMALLEST_SIDE}, {LARGEST_SIDE}], got {side}")
    fine = _FINE if antialias else 1
    chance = None if seed is None else np.random.default_rng((seed, 0x445241))

    def tinted(value: tuple[int, int, int]) -> NDArray[np.float64]:
        tint = chance.integers(-_TINT, _TINT + 1, 3) if chance is not None else 0
        return np.asarray(value, dtype=np.float64) + tint

    image = np.broadcast_to(tinted(BACKGROUND_VALUES[scene.background]), (side, side, 3))
    for group in scene.groups:
        colour = tinted(COLOUR_VALUES[group.colour])
        if chance is None:
            mask = _still(group, side, fine)
        else:
            right, down = chance.uniform(-_MOVE, _MOVE, 2).tolist()
            mask = coverage(group, side, fine, (right, down))
        image = image + mask[..., None] * (colour - image)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def coverage(
    group: Group, side: int, fine: int = _FINE, move: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    """Which share of each pixel a group covers.

    Args:
        group: Any; its colour does not matter.
        side: Of the image, in pixels.
        fine: Samples along the side of a pixel.
        move: To the right and down, as a share of the side.

    Returns:
        float64 (side, side) in [0, 1].
    """
    points = (np.arange(side * fine) + 0.5) / (side * fine)
    diameter = _LARGE if group.size == "large" else _SMALL
    covered = np.zeros((side * fine, side * fine), dtype=bool)
    for right, down in _centres(group):
        x = (points - right - move[0]) / diameter
        y = (points - down - move[1]) / diameter
        # A drawing is mostly background: look at the object's own box alone.
        columns, rows = np.flatnonzero(abs(x) < 0.6), np.flatnonzero(abs(y) < 0.6)
        if columns.size and rows.size:
            box = np.ix_(rows, columns)
            covered[box] |= _inside(group.shape, x[columns][None], y[rows][:, None])
    cut = covered.reshape(side, fine, side, fine)
    return cut.mean(axis=(1, 3))


@lru_cache(maxsize=512)
def _still_mask(shape: Shape, count: int, place: str, size: str, side: int, fine: int) -> bytes:
    group = Group(shape, "red", count, place, size)  # type: ignore[arg-type]
    return coverage(group, side, fine).tobytes()


def _still(group: Group, side: int, fine: int) -> NDArray[np.float64]:
    held = _still_mask(group.shape, group.count, group.place, group.size, side, fine)
    return np.frombuffer(held).reshape(side, side)


def _centres(group: Group) -> list[tuple[float, float]]:
    """Right and down of each object's centre, as shares of the side.

    On the left and right a group is a column, elsewhere a row.
    """
    edge = _EDGE[group.size]
    right, down = {
        "left": (edge, 0.5),
        "right": (1 - edge, 0.5),
        "top": (0.5, edge),
        "bottom": (0.5, 1 - edge),
        "centre": (0.5, 0.5),
    }[group.place]
    gap = _GAPS[group.count]
    steps = [gap * (number - (group.count - 1) / 2) for number in range(group.count)]
    if group.place in ("left", "right"):
        return [(right, down + step) for step in steps]
    return [(right + step, down) for step in steps]


def _inside(shape: Shape, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a shape of diameter 1 around the origin is; y points down."""
    if shape == "circle":
        return x**2 + y**2 <= 0.25
    if shape == "square":
        return (abs(x) <= 0.44) & (abs(y) <= 0.44)
    if shape == "cross":
        return ((abs(x) <= 0.16) & (abs(y) <= 0.5)) | ((abs(x) <= 0.5) & (abs(y) <= 0.16))
    if shape == "triangle":
        return (y <= 0.42) & (abs(x) <= (y + 0.5) * (0.52 / 0.92))
    # A pentagram is what lies within four of its five lines at least.
    radius = 0.56
    near = radius * math.cos(math.radians(72))
    within = sum(
        (x * math.sin(turn) - (y - 0.05) * math.cos(turn) <= near).astype(np.int8)
        for turn in (math.radians(72 * number) for number in range(5))
    )
    return np.asarray(within >= 4)
