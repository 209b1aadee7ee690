"""Random edits as they happen to photographs on their way through the web.

A view is one edit of the geometry (crop, rotation, frame, letterbox, screenshot), some of the
tone, sometimes an overlay, and an encoding. Sources are kept squashed to a square, with their
aspect beside them; a view is drawn on a canvas that is larger than what the network sees, and
averaged down to it last, as the embedder does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels: TypeAlias = NDArray[Any]  # uint8; OpenCV's stubs promise no type
Matrix: TypeAlias = NDArray[np.float64]
Rng: TypeAlias = np.random.Generator

CANVAS = 176
_COLOURS = ((0, 0, 0), (255, 255, 255), (240, 240, 240), (20, 22, 28), (128, 128, 128))
_LETTERS = list("ABCDEFGHIKLMNOPRSTUVWXYZabcdefghiklmnoprstuvwxyz0123456789@.-%© ")


@dataclass(frozen=True)
class Overlays:
    """Text drawn once, pasted many times.

    Args:
        strips: Masks of one line of text each: (height, width), 0..255.
        tiled: Masks of text repeated aslant over the canvas: (CANVAS, CANVAS), 0..255.
    """

    strips: list[Pixels]
    tiled: list[Pixels]


def draw_overlays(count: int, seed: int) -> Overlays:
    """Draw ``count`` lines of text and as many tiled watermarks a quarter."""
    rng = np.random.default_rng([seed, 77])
    strips = [_strip(rng) for _ in range(count)]
    return Overlays(strips, [_tiles(rng) for _ in range(count // 4)])


def _words(rng: Rng) -> str:
    return "".join(rng.choice(_LETTERS, rng.integers(5, 20)))


def _strip(rng: Rng) -> Pixels:
    font = ImageFont.load_default(size=int(rng.integers(7, 24)))
    text = _words(rng)
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (int(right - left) + 2, int(bottom - top) + 4))
    ImageDraw.Draw(image).text((1 - left, 2 - top), text, font=font, fill=255)
    # Letters of pictures narrower than high are squashed less across than those of wide ones.
    width = min(CANVAS, max(8, round(image.width * rng.uniform(0.7, 1.3))))
    return np.asarray(image.resize((width, min(CANVAS // 3, image.height))))


def _tiles(rng: Rng) -> Pixels:
    size = int(rng.integers(9, 20))
    font, text = ImageFont.load_default(size=size), _words(rng)[:14]
    image = Image.new("L", (2 * CANVAS, 2 * CANVAS))
    pen = ImageDraw.Draw(image)
    step = max(2 * size, int(font.getlength(text)) + size)
    for row, y in enumerate(range(0, 2 * CANVAS, round(size * rng.uniform(2, 3.5)))):
        for x in range(-(row * size) % step - step, 2 * CANVAS, step):
            pen.text((x, y), text, font=font, fill=255)
    turned = image.rotate(float(rng.uniform(15, 45)), Image.Resampling.BILINEAR)
    half = CANVAS // 2
    return np.asarray(turned.crop((half, half, half + CANVAS, half + CANVAS)))


def make_view(source: Pixels, aspect: float, side: int, overlays: Overlays, rng: Rng) -> Pixels:
    """One edited view.

    Args:
        source: Photograph squashed to a square: (n, n, 3).
        aspect: Its width over its height.
        side: Of what comes back.
        overlays: From ``draw_overlays``.
        rng: Everything random is drawn from it.

    Returns:
        (side, side, 3).
    """
    view = _geometry(source, aspect, rng)
    for edit in rng.permutation(len(_TONES))[: rng.choice(4, p=(0.25, 0.4, 0.25, 0.1))]:
        view = _TONES[edit](view, rng)
    if rng.random() < 0.25:
        view = _overlay(view, overlays, rng)
    if rng.random() < 0.5:
        view = _encoding(view, rng)
    return cv2.resize(view, (side, side), interpolation=cv2.INTER_AREA)


def plain_view(source: Pixels, side: int) -> Pixels:
    """The photograph as it is: (side, side, 3)."""
    return cv2.resize(source, (side, side), interpolation=cv2.INTER_AREA)


def _colour(rng: Rng) -> tuple[int, int, int]:
    if rng.random() < 0.6:
        return _COLOURS[rng.integers(len(_COLOURS))]
    red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
    return red, green, blue


def _geometry(source: Pixels, aspect: float, rng: Rng) -> Pixels:
    kind = rng.choice(7, p=(0.12, 0.27, 0.11, 0.11, 0.13, 0.06, 0.20))
    inner = np.eye(3)
    if kind == 1 or rng.random() < 0.12:
        inner = _crop(rng)
    if rng.random() < 0.33:
        inner = inner @ np.array([[-1.0, 0, 1], [0, 1, 0], [0, 0, 1]])
    screen = None
    if kind in (2, 3):
        outer = _rotation(aspect, rng, cut=kind == 2)
    elif kind == 4:
        outer = _frame(rng)
    elif kind == 5:
        outer = _letterbox(aspect)
    elif kind == 6:
        outer, screen = _screenshot(aspect, rng)
    else:
        outer = np.eye(3)
    view = _warp(source, inner @ outer, _colour(rng))
    return view if screen is None else _draw_screen(view, screen, rng)


def _warp(source: Pixels, matrix: Matrix, fill: tuple[int, int, int]) -> Pixels:
    """Draw the canvas; ``matrix`` takes places on it, 0..1, to places in the picture, 0..1."""
    n = len(source)
    to_unit = np.array([[1 / CANVAS, 0, 0.5 / CANVAS], [0, 1 / CANVAS, 0.5 / CANVAS], [0, 0, 1]])
    to_source = np.array([[n, 0, -0.5], [0, n, -0.5], [0, 0, 1]])
    whole = (to_source @ matrix @ to_unit)[:2]
    return cv2.warpAffine(
        source,
        whole,
        (CANVAS, CANVAS),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=fill,
    )


def _scaled(across: float, down: float, left: float, top: float) -> Matrix:
    return np.array([[across, 0, left], [0, down, top], [0, 0, 1.0]])


def _crop(rng: Rng) -> Matrix:
    across, down = rng.uniform(0.65, 0.97, 2)
    return _scaled(across, down, rng.uniform(0, 1 - across), rng.uniform(0, 1 - down))


def _rotation(aspect: float, rng: Rng, *, cut: bool) -> Matrix:
    angle = np.radians(rng.uniform(2, 12)) * rng.choice((-1, 1))
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    if cut:
        sine = abs(sin)
        keep = min(aspect / (aspect * cos + sine), 1 / (aspect * sine + cos))
        turn = turn @ _scaled(keep, keep, 0, 0)
    shape, back = _scaled(aspect, 1, 0, 0), _scaled(1 / aspect, 1, 0, 0)
    middle, corner = _scaled(1, 1, 0.5, 0.5), _scaled(1, 1, -0.5, -0.5)
    return middle @ back @ turn @ shape @ corner


def _frame(rng: Rng) -> Matrix:
    left, top, right, bottom = rng.uniform(0.02, 0.18, 4)
    if rng.random() < 0.5:
        top = right = bottom = left
    return _scaled(1 + left + right, 1 + top + bottom, -left, -top)


def _letterbox(aspect: float) -> Matrix:
    across, down = max(1.0, 1 / aspect), max(1.0, aspect)
    return _scaled(across, down, (1 - across) / 2, (1 - down) / 2)


def _screenshot(aspect: float, rng: Rng) -> tuple[Matrix, tuple[float, float, float, float]]:
    """The matrix, and where the picture lies on the canvas: left, top, right, bottom, 0..1."""
    top, head, foot = rng.uniform(0.04, 0.1), rng.uniform(0.04, 0.18), rng.uniform(0.08, 0.42)
    side = max(0.0, rng.uniform(-0.02, 0.05))
    height = 1 / aspect
    across, down = 1 + 2 * side, (height + top + head + foot) / height
    above = (top + head) / height
    matrix = _scaled(across, down, -side, -above)
    place = (side / across, above / down, (side + 1) / across, (above + 1) / down)
    return matrix, place


def _draw_screen(view: Pixels, place: tuple[float, float, float, float], rng: Rng) -> Pixels:
    left, top, right, bottom = (round(CANVAS * share) for share in place)
    dark = rng.random() < 0.5
    base = rng.integers(0, 45) if dark else rng.integers(225, 256)
    paper = tuple(int(base) for _ in range(3))
    ink = tuple(int(v) for v in (rng.integers(180, 256, 3) if dark else rng.integers(0, 90, 3)))
    screen: Pixels = np.empty_like(view)
    screen[:] = paper
    screen[top:bottom, left:right] = view[top:bottom, left:right]
    radius = max(2, top // 4)
    cv2.circle(screen, (left + radius + 2, max(radius, top - radius - 1)), radius, _colour(rng), -1)
    for y, size in ((max(3, top // 4), 0.25), (max(5, top * 2 // 3), 0.3)):
        if rng.random() < 0.8:
            text = _words(rng)[: rng.integers(4, 12)]
            x = left + 2 * radius + 6 if y > top // 2 else 3
            cv2.putText(screen, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA)
    y = bottom + 3
    for _ in range(int(rng.integers(1, 5))):
        end = left + round((right - left) * rng.uniform(0.2, 0.95))
        cv2.rectangle(screen, (left + 3, y), (end, y + 1 + int(rng.integers(0, 2))), ink, -1)
        y += int(rng.integers(4, 10))
    return screen


def _brightness(view: Pixels, rng: Rng) -> Pixels:
    return cv2.convertScaleAbs(view, alpha=float(np.exp(rng.uniform(-0.65, 0.55))))


def _contrast(view: Pixels, rng: Rng) -> Pixels:
    factor = float(np.exp(rng.uniform(-0.75, 0.65)))
    mean = float(cv2.mean(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY))[0])
    ramp = np.arange(256) * factor + mean * (1 - factor)
    return cv2.LUT(view, np.clip(ramp, 0, 255).astype(np.uint8))


def _gamma(view: Pixels, rng: Rng) -> Pixels:
    ramp = 255 * (np.arange(256) / 255) ** np.exp(rng.uniform(-0.65, 0.65))
    return cv2.LUT(view, ramp.astype(np.uint8))


def _grey(view: Pixels, rng: Rng) -> Pixels:
    grey = cv2.cvtColor(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.7:
        return grey
    share = float(rng.uniform(-0.6, 1))  # below zero: more colour, not less
    return cv2.addWeighted(grey, share, view, 1 - share, 0)


def _tint(view: Pixels, rng: Rng) -> Pixels:
    factors = np.exp(rng.uniform(-0.2, 0.2, 3))
    ramps = np.clip(np.arange(256)[:, None] * factors, 0, 255).astype(np.uint8)
    return cv2.LUT(view, ramps[:, None, :])


def _blur(view: Pixels, rng: Rng) -> Pixels:
    return cv2.GaussianBlur(view, (0, 0), float(rng.uniform(0.4, 1.8)))


def _sharpen(view: Pixels, rng: Rng) -> Pixels:
    share = float(rng.uniform(0.3, 1.2))
    return cv2.addWeighted(view, 1 + share, cv2.GaussianBlur(view, (0, 0), 1.2), -share, 0)


_TONES = (_brightness, _contrast, _gamma, _grey, _grey, _tint, _blur, _blur, _sharpen)


def _overlay(view: Pixels, overlays: Overlays, rng: Rng) -> Pixels:
    view = view.copy()
    kind = rng.random()
    if kind < 0.35:
        mask = overlays.tiled[rng.integers(len(overlays.tiled))]
        ink = _colour(rng) if rng.random() < 0.3 else (255, 255, 255)
        return _blend(view, mask, ink, rng.uniform(0.12, 0.5))
    if kind < 0.9:
        strip = overlays.strips[rng.integers(len(overlays.strips))]
        height, width = strip.shape
        y = int(rng.integers(0, CANVAS - height + 1))
        x = int(rng.integers(0, CANVAS - width + 1))
        if rng.random() < 0.5:
            band = view[max(0, y - 2) : y + height + 3]
            back = np.empty_like(band)
            back[:] = _colour(rng)
            share = float(rng.uniform(0.25, 1))
            band[:] = cv2.addWeighted(back, share, band, 1 - share, 0)
        place = view[y : y + height, x : x + width]
        place[:] = _blend(place, strip, _colour(rng), rng.uniform(0.3, 1))
        return view
    centre = (int(rng.integers(0, CANVAS)), int(rng.integers(0, CANVAS)))
    cv2.circle(view, centre, int(rng.integers(6, 24)), _colour(rng), -1, cv2.LINE_AA)
    return view


def _blend(place: Pixels, mask: Pixels, ink: tuple[int, int, int], opacity: float) -> Pixels:
    share = mask.astype(np.float32)[..., None] * np.float32(opacity / 255)
    return (place + share * (np.array(ink, np.float32) - place)).astype(np.uint8)


def _encoding(view: Pixels, rng: Rng) -> Pixels:
    if rng.random() < 0.5:
        side = round(CANVAS * rng.uniform(0.35, 0.9))
        down = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[rng.integers(3)]
        small = cv2.resize(view, (side, side), interpolation=down)
        view = cv2.resize(small, (CANVAS, CANVAS), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.7:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(12, 75))]
        decoded = cv2.imdecode(cv2.imencode(".jpg", view, quality)[1], cv2.IMREAD_COLOR)
        assert decoded is not None  # noqa: S101 - it has just been encoded
        view = decoded
    return view
