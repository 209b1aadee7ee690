"""Procedural landscapes: mountains, seas, skylines, dunes, forests, planets, balloons."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from pipeline.demo.canvas import Canvas, Colour, Picture, blend, hexadecimal, noise_line, ramp

_SIZES = ((480, 320), (320, 480), (512, 384), (400, 400), (640, 360), (360, 480))
_WHITE: Colour = (255, 255, 255)
_BLACK: Colour = (12, 14, 22)

#: Name in English and Chinese; the sky top to bottom; the sun; the ground near the viewer.
_SKIES = (
    ("at dawn", "黎明", "40487a d68e8a fad6a5", "fff0cd", "2f3250"),
    ("at noon", "正午", "3a86d0 86bee8 dceef8", "fffadc", "2c5c3e"),
    ("at sunset", "日落时分", "3c285a d8523c fcba50", "ffe278", "2a162c"),
    ("by night", "夜晚", "060a1e 14224a 324878", "f0f0e1", "060c18"),
    ("in mist", "薄雾中", "beccce dae2e0 eeeee6", "fcfaf0", "466262"),
    ("before a storm", "暴风雨前", "303842 586468 a09e88", "d6ceaa", "1e2a24"),
    ("in pink light", "粉色霞光里", "7896ce ecb0c4 ffded6", "fffaf0", "623e6c"),
    ("under a green sky", "极光之下", "081228 145c58 78d296", "dcffe6", "081e22"),
    ("in golden haze", "金色薄霾中", "ce9646 eec470 fceab2", "fffad6", "683e1e"),
    ("in deep winter", "隆冬", "96b2ce cedce8 f6f8fa", "fffffa", "566c88"),
)


def scenes(rng: np.random.Generator) -> Iterator[Picture]:
    """The landscapes, each with its own sky, size and outline.

    Args:
        rng: Source of chance; each picture draws its own seed from it, in order.
    """
    for kind, (count, draw) in _KINDS.items():
        for number in range(count):
            own = np.random.default_rng(int(rng.integers(2**63)))
            yield scene(kind, number, own, draw)


def scene(
    kind: str, number: int, rng: np.random.Generator, draw: Callable[..., tuple[str, str]]
) -> Picture:
    """One landscape; its number chooses the sky and the size."""
    kinds = list(_KINDS)
    turn = number + 3 * kinds.index(kind)
    width, height = _SIZES[turn % len(_SIZES)]
    english, chinese, *colours = _SKIES[turn % len(_SKIES)]
    stops = tuple(hexadecimal(stop) for stop in colours[0].split())
    canvas = Canvas(width, height, *stops)
    subject = draw(canvas, rng, stops, hexadecimal(colours[1]), hexadecimal(colours[2]))
    captions = {"en": f"{subject[0]} {english}", "zh": f"{chinese}的{subject[1]}"}
    return Picture(f"scene-{kind}-{number:02d}", "scene", canvas.finish(), captions)


def extra_scene(kind: str, number: int, rng: np.random.Generator) -> Picture:
    """A landscape beyond those of ``scenes``, for files that need a subject of their own."""
    return scene(kind, _KINDS[kind][0] + number, rng, _KINDS[kind][1])


def _sun(canvas: Canvas, rng: np.random.Generator, sky: Colour, sun: Colour, low: float) -> None:
    x = canvas.width * rng.uniform(0.15, 0.85)
    y = canvas.height * rng.uniform(0.14, low)
    radius = min(canvas.width, canvas.height) * rng.uniform(0.05, 0.11)
    for halo in range(3, 0, -1):
        canvas.circle((x, y), radius * (1 + 0.35 * halo), blend(sky, sun, 0.38 - 0.1 * halo))
    canvas.circle((x, y), radius, sun)


def _ridge(canvas: Canvas, line: np.ndarray, fill: Colour) -> None:
    xs = np.linspace(0, canvas.width, len(line))
    points = [(0.0, float(canvas.height)), *zip(xs.tolist(), line.tolist(), strict=True)]
    canvas.polygon([*points, (float(canvas.width), float(canvas.height))], fill)


def _stars(canvas: Canvas, rng: np.random.Generator, count: int) -> None:
    for _ in range(count):
        at = (canvas.width * rng.random(), canvas.height * rng.random())
        canvas.circle(at, rng.uniform(0.4, 1.4), blend((90, 100, 140), _WHITE, rng.random()))


def _mountains(
    canvas: Canvas,
    rng: np.random.Generator,
    stops: tuple[Colour, ...],
    sun: Colour,
    ground: Colour,
) -> tuple[str, str]:
    _sun(canvas, rng, stops[1], sun, 0.35)
    ridges = int(rng.integers(3, 6))
    for ridge in range(ridges):
        depth = (ridge + 1) / ridges
        base = canvas.height * (0.36 + 0.5 * depth)
        relief = canvas.height * rng.uniform(0.24, 0.42) * (1.1 - 0.6 * depth)
        line = base - relief * noise_line(rng, 240, 6, 0.48)
        _ridge(canvas, line, blend(stops[-1], ground, 0.25 + 0.75 * depth))
    return f"{ridges} mountain ridges", f"{'三四五'[ridges - 3]}重山峦"


def _sea(
    canvas: Canvas,
    rng: np.random.Generator,
    stops: tuple[Colour, ...],
    sun: Colour,
    ground: Colour,
) -> tuple[str, str]:
    _sun(canvas, rng, stops[1], sun, 0.4)
    horizon = canvas.height * rng.uniform(0.45, 0.68)
    rows = 26
    for row in range(rows):
        share = row / rows
        top = horizon + (canvas.height - horizon) * share**1.4
        water = blend(blend(stops[1], (20, 70, 110), 0.5), ground, 0.2 + 0.6 * share)
        canvas.rectangle((0, top, canvas.width, canvas.height), water)
        for _ in range(3):
            x, reach = canvas.width * rng.random(), canvas.width * rng.uniform(0.02, 0.12)
            canvas.stroke([(x, top), (x + reach, top)], blend(water, sun, 0.55), width=1 + share)
    boats = int(rng.integers(0, 4))
    for _ in range(boats):
        _boat(canvas, rng, horizon, ground)
    english = ("The open sea", "A boat at sea", "Two boats at sea", "Three boats at sea")
    chinese = ("开阔的大海", "海上的一艘帆船", "海上的两艘帆船", "海上的三艘帆船")
    return english[boats], chinese[boats]


def _boat(canvas: Canvas, rng: np.random.Generator, horizon: float, hull: Colour) -> None:
    x, size = canvas.width * rng.uniform(0.12, 0.88), canvas.height * rng.uniform(0.07, 0.16)
    y = horizon + (canvas.height - horizon) * rng.uniform(0.12, 0.5)
    sail = ((250, 246, 236), (214, 74, 60), (244, 190, 70))[int(rng.integers(3))]
    canvas.polygon([(x, y - size), (x, y - 0.1 * size), (x + 0.6 * size, y - 0.1 * size)], sail)
    left = [(x - 0.05 * size, y - 0.8 * size), (x - 0.4 * size, y - 0.1 * size)]
    canvas.polygon([*left, (x - 0.05 * size, y - 0.1 * size)], blend(sail, _WHITE, 0.4))
    deck = [(x - 0.5 * size, y), (x + 0.7 * size, y), (x + 0.45 * size, y + 0.22 * size)]
    canvas.polygon([*deck, (x - 0.35 * size, y + 0.22 * size)], blend(hull, (70, 40, 30), 0.5))


def _skyline(
    canvas: Canvas,
    rng: np.random.Generator,
    stops: tuple[Colour, ...],
    sun: Colour,
    ground: Colour,
) -> tuple[str, str]:
    _sun(canvas, rng, stops[1], sun, 0.4)
    lit = ((255, 214, 120), (255, 240, 190), (160, 220, 240))[int(rng.integers(3))]
    for layer, tall in enumerate((0.62, 0.42)):
        shade = blend(stops[-1], ground, 0.45 + 0.5 * layer)
        x = -10.0
        while x < canvas.width:
            wide = canvas.width * rng.uniform(0.06, 0.14)
            top = canvas.height * (1 - tall * rng.uniform(0.45, 1.15))
            canvas.rectangle((x, top, x + wide, canvas.height), shade)
            if rng.random() < 0.25:
                canvas.rectangle((x + wide / 2 - 1, top - 22, x + wide / 2 + 1, top), shade)
            if layer:
                _windows(canvas, rng, (x, top, x + wide), blend(shade, lit, 0.85), shade)
            x += wide + rng.uniform(-2, 6)
    return "A city skyline", "城市天际线"


def _windows(
    canvas: Canvas,
    rng: np.random.Generator,
    house: tuple[float, float, float],
    lit: Colour,
    wall: Colour,
) -> None:
    left, top, right = house
    step = 9
    for x in np.arange(left + 4, right - 6, step):
        for y in np.arange(top + 5, canvas.height - 6, step + 2):
            colour = lit if rng.random() < 0.5 else blend(wall, _BLACK, 0.3)
            canvas.rectangle((float(x), float(y), float(x) + 4, float(y) + 6), colour)


def _dunes(
    canvas: Canvas,
    rng: np.random.Generator,
    stops: tuple[Colour, ...],
    sun: Colour,
    ground: Colour,
) -> tuple[str, str]:
    _sun(canvas, rng, stops[1], sun, 0.35)
    sand = ((232, 184, 110), (214, 140, 84), (238, 214, 168))[int(rng.integers(3))]
    xs = np.linspace(0, 1, 160)
    for dune in range(5):
        depth = (dune + 1) / 5
        wave = np.sin(2 * np.pi * (xs * rng.uniform(0.5, 1.6) + rng.random()))
        line = canvas.height * (0.34 + 0.5 * depth - 0.09 * wave * rng.uniform(0.5, 1.4))
        _ridge(canvas, line, blend(blend(sand, stops[1], 0.35), blend(sand, ground, 0.4), depth))
        if rng.random() < 0.7:
            lee = line + canvas.height * 0.16 * np.clip(-np.gradient(wave) * 25, 0, 1)
            _ridge(canvas, lee, blend(sand, ground, 0.25 + 0.5 * depth))
    return "Sand dunes", "沙丘"


def _forest(
    canvas: Canvas,
    rng: np.random.Generator,
    stops: tuple[Colour, ...],
    sun: Colour,
    ground: Colour,
) -> tuple[str, str]:
    _sun(canvas, rng, stops[1], sun, 0.3)
    for layer in range(4):
        depth = (layer + 1) / 4
        shade = blend(stops[-1], blend(ground, (20, 70, 50), 0.4), 0.3 + 0.7 * depth)
        floor = canvas.height * (0.5 + 0.42 * depth)
        line = floor - canvas.height * 0.08 * noise_line(rng, 80, 3, 0.5)
        _ridge(canvas, line, shade)
        for _ in range(int(rng.integers(5, 16 - 2 * layer))):
            at = (canvas.width * rng.random(), floor)
            _pine(canvas, at, canvas.height * (0.12 + 0.3 * depth) * rng.uniform(0.6, 1.1), shade)
    return "A pine forest", "松树林"


def _pine(canvas: Canvas, at: tuple[float, float], tall: float, fill: Colour) -> None:
    x, y = at
    canvas.rectangle((x - tall * 0.03, y - tall * 0.15, x + tall * 0.03, y + 4), fill)
    for tier in range(4):
        base, half = y - tall * (0.1 + 0.2 * tier), tall * (0.24 - 0.045 * tier)
        canvas.polygon([(x - half, base), (x + half, base), (x, base - tall * 0.32)], fill)


def _planet(
    canvas: Canvas,
    rng: np.random.Generator,
    stops: tuple[Colour, ...],
    sun: Colour,
    ground: Colour,
) -> tuple[str, str]:
    night = blend(ground, _BLACK, 0.7)
    canvas.rectangle((-1, -1, canvas.width + 1, canvas.height + 1), night)
    _stars(canvas, rng, 160)
    radius = min(canvas.width, canvas.height) * rng.uniform(0.22, 0.42)
    centre = (canvas.width * rng.uniform(0.35, 0.65), canvas.height * rng.uniform(0.4, 0.6))
    if rng.random() < 0.6:
        for ring in range(4):
            reach, flat = radius * (1.35 + 0.1 * ring), radius * (0.34 + 0.03 * ring)
            box = (centre[0] - reach, centre[1] - flat, centre[0] + reach, centre[1] + flat)
            canvas.ellipse_outline(box, blend(night, sun, 0.4 + 0.1 * ring), width=3)
    canvas.paste(_sphere(rng, radius, stops), (centre[0] - radius, centre[1] - radius))
    moon = (canvas.width * rng.uniform(0.05, 0.95), canvas.height * rng.uniform(0.05, 0.2))
    canvas.circle(moon, radius * 0.14, sun)
    return "A planet and its moon", "行星与它的卫星"


def _sphere(rng: np.random.Generator, radius: float, stops: tuple[Colour, ...]) -> Image.Image:
    side = round(2 * radius)
    y, x = (np.mgrid[0:side, 0:side] + 0.5 - radius) / radius
    depth = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    wobble = 0.05 * np.sin(5 * x + rng.uniform(0, 6)) * depth
    bands = np.interp(y + wobble, np.linspace(-1.1, 1.1, 16), rng.random(16))
    colours = np.asarray(ramp(bands, [*stops, _WHITE]), dtype=np.float64)
    light = np.clip(0.75 * depth - 0.45 * x - 0.45 * y, 0.08, 1.0)
    alpha = np.clip((1 - np.hypot(x, y)) * radius, 0, 1) * 255
    layers = np.dstack([colours * light[..., None], alpha])
    return Image.fromarray(layers.round().astype(np.uint8), "RGBA")


def _balloons(
    canvas: Canvas,
    rng: np.random.Generator,
    stops: tuple[Colour, ...],
    sun: Colour,
    ground: Colour,
) -> tuple[str, str]:
    line = canvas.height * (0.95 - 0.16 * noise_line(rng, 120, 3, 0.5))
    _ridge(canvas, line, blend(ground, stops[1], 0.3))
    colours: list[Colour] = [(214, 64, 56), (245, 180, 60), (60, 120, 180), (90, 160, 110), sun]
    balloons = int(rng.integers(1, 6))
    for _ in range(balloons):
        x, y = canvas.width * rng.uniform(0.12, 0.88), canvas.height * rng.uniform(0.16, 0.6)
        radius = min(canvas.width, canvas.height) * rng.uniform(0.06, 0.16)
        first, second = (colours[int(pick)] for pick in rng.choice(5, 2, replace=False))
        skirt = [(x - radius * 0.8, y + radius * 0.6), (x + radius * 0.8, y + radius * 0.6)]
        canvas.polygon([*skirt, (x, y + radius * 1.7)], blend(first, _BLACK, 0.15))
        for gore in range(6):
            span = radius * (1 - gore / 6)
            stripe = first if gore % 2 else second
            canvas.ellipse((x - span, y - radius, x + span, y + radius), stripe)
        canvas.rectangle((x - 4, y + radius * 1.6, x + 4, y + radius * 1.6 + 7), (90, 60, 40))
    names = ("One balloon", "Two balloons", "Three balloons", "Four balloons", "Five balloons")
    return names[balloons - 1], f"{'一两三四五'[balloons - 1]}只热气球"


_KINDS: dict[str, tuple[int, Callable[..., tuple[str, str]]]] = {
    "mountains": (10, _mountains),
    "sea": (9, _sea),
    "skyline": (9, _skyline),
    "dunes": (5, _dunes),
    "forest": (6, _forest),
    "planet": (6, _planet),
    "balloons": (6, _balloons),
}
