"""Abstract pictures: shapes, waves, mosaics, gradients, and flat images of one colour.

Flat and smooth images all have nearly the same perceptual hash: a deduplicator that trusts
the hash alone removes them as copies of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from pipeline.demo.canvas import Canvas, Colour, Picture, ramp

_SIDE = 400
_PALETTES: tuple[tuple[Colour, ...], ...] = (
    ((244, 238, 222), (214, 54, 44), (30, 60, 130), (242, 190, 48), (24, 24, 28)),
    ((20, 32, 52), (240, 120, 80), (250, 210, 150), (70, 160, 170), (235, 240, 240)),
    ((232, 240, 234), (40, 110, 90), (150, 190, 120), (240, 150, 110), (30, 50, 60)),
    ((250, 232, 232), (170, 60, 110), (90, 50, 120), (250, 160, 150), (40, 20, 60)),
    ((255, 248, 220), (230, 126, 34), (120, 66, 18), (88, 140, 130), (30, 30, 30)),
)


def patterns(rng: np.random.Generator) -> Iterator[Picture]:
    """The abstract pictures.

    Args:
        rng: Source of chance; each picture draws its own seed from it, in order.
    """
    for kind, (count, draw, english, chinese) in _KINDS.items():
        for number in range(count):
            own = np.random.default_rng(int(rng.integers(2**63)))
            image = draw(own, _PALETTES[number % len(_PALETTES)], number)
            captions = {"en": english, "zh": chinese}
            yield Picture(f"scene-{kind}-{number:02d}", "scene", image, captions)
    yield from _flats()


def _flats() -> Iterator[Picture]:
    flats: tuple[tuple[str, str, Colour, tuple[int, int]], ...] = (
        ("white", "白色", (255, 255, 255), (400, 300)),
        ("black", "黑色", (0, 0, 0), (300, 300)),
        ("red", "红色", (200, 30, 40), (320, 240)),
        ("navy", "深蓝色", (20, 30, 90), (300, 400)),
        ("grey", "灰色", (128, 128, 128), (360, 240)),
    )
    for english, chinese, colour, size in flats:
        captions = {"en": f"A blank {english} image", "zh": f"一张{chinese}的空白图"}
        yield Picture(f"scene-flat-{english}", "scene", Image.new("RGB", size, colour), captions)


def _bauhaus(rng: np.random.Generator, palette: tuple[Colour, ...], _: int) -> Image.Image:
    cells = int(rng.integers(3, 6))
    size = _SIDE / cells
    canvas = Canvas(_SIDE, _SIDE, palette[0])
    for cell in range(cells * cells):
        x, y = cell % cells * size, cell // cells * size
        ground, figure = (palette[int(pick)] for pick in rng.choice(5, 2, replace=False))
        canvas.rectangle((x, y, x + size, y + size), ground)
        match int(rng.integers(4)):
            case 0:
                canvas.circle((x + size / 2, y + size / 2), size * 0.36, figure)
            case 1:
                corner = (x + size * int(rng.integers(2)), y + size * int(rng.integers(2)))
                start = 90 * (int(corner[0] > x) + 2 * int(corner[1] > y))
                quarter = {0: 0, 90: 90, 180: 270, 270: 180}[start]
                canvas.wedge(corner, size, quarter, quarter + 90, figure)
            case 2:
                canvas.polygon([(x, y + size), (x + size, y + size), (x + size, y)], figure)
            case _:
                canvas.rectangle((x, y, x + size / 2, y + size), figure)
    return canvas.finish()


def _mondrian(rng: np.random.Generator, palette: tuple[Colour, ...], _: int) -> Image.Image:
    canvas = Canvas(480, 360, palette[0])
    boxes = [(0.0, 0.0, 480.0, 360.0)]
    for _split in range(int(rng.integers(7, 12))):
        boxes.sort(key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
        left, top, right, bottom = boxes.pop()
        share = rng.uniform(0.3, 0.7)
        if right - left > bottom - top:
            middle = left + (right - left) * share
            boxes += [(left, top, middle, bottom), (middle, top, right, bottom)]
        else:
            middle = top + (bottom - top) * share
            boxes += [(left, top, right, middle), (left, middle, right, bottom)]
    for box in boxes:
        fill = palette[int(rng.integers(1, 4))] if rng.random() < 0.45 else palette[0]
        canvas.rectangle(box, fill, outline=palette[4], width=4)
    return canvas.finish()


def _truchet(rng: np.random.Generator, palette: tuple[Colour, ...], number: int) -> Image.Image:
    cells = 5 + 2 * number
    size = _SIDE / cells
    canvas = Canvas(_SIDE, _SIDE, palette[0])
    for cell in range(cells * cells):
        x, y = cell % cells * size, cell // cells * size
        flip = rng.random() < 0.5
        corners = ((x + size, y), (x, y + size)) if flip else ((x, y), (x + size, y + size))
        starts = (90, 270) if flip else (0, 180)
        for corner, start in zip(corners, starts, strict=True):
            reach, wide = size / 2 + size / 7, size * 2 / 7
            canvas.arc(corner, reach, (start, start + 90), palette[1 + number % 3], width=wide)
    return canvas.finish()


def _waves(rng: np.random.Generator, palette: tuple[Colour, ...], _: int) -> Image.Image:
    height, width = 320, 480
    y, x = np.mgrid[0:height, 0:width] / 100.0
    field = np.zeros((height, width))
    for _source in range(3):
        cx, cy, pitch = rng.uniform(0, 4.8), rng.uniform(0, 3.2), rng.uniform(2.5, 6.5)
        field += np.sin(pitch * np.hypot(x - cx, y - cy))
    return ramp((field / 3 + 1) / 2, palette)


def _mosaic(rng: np.random.Generator, palette: tuple[Colour, ...], _: int) -> Image.Image:
    count = int(rng.integers(24, 70))
    sites = rng.uniform(0, _SIDE, (count, 2)).astype(np.float32)
    y, x = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float32)
    gaps = (x[..., None] - sites[:, 0]) ** 2 + (y[..., None] - sites[:, 1]) ** 2
    first, second = np.moveaxis(np.partition(gaps, 1, axis=-1)[..., :2], -1, 0)
    owner = gaps.argmin(axis=-1)
    colours = np.array(palette[:4], dtype=np.uint8)[rng.integers(0, 4, count)][owner]
    colours[np.sqrt(second) - np.sqrt(first) < 3] = palette[4]
    return Image.fromarray(colours)


def _rings(rng: np.random.Generator, palette: tuple[Colour, ...], number: int) -> Image.Image:
    columns = 2 + number
    size = 420 / columns
    canvas = Canvas(420, round(size * max(1, columns - 1)), palette[number % 2 * 4])
    for cell in range(columns * max(1, columns - 1)):
        centre = (size * (cell % columns + 0.5), size * (cell // columns + 0.5))
        for ring in range(4):
            colour = palette[int(rng.integers(0, 5))]
            canvas.circle(centre, size * (0.48 - 0.11 * ring), colour)
    return canvas.finish()


def _gradient(rng: np.random.Generator, palette: tuple[Colour, ...], number: int) -> Image.Image:
    height, width = ((300, 450), (450, 300), (360, 360))[number % 3]
    y, x = np.mgrid[0:height, 0:width]
    across, down = x / (width - 1), y / (height - 1)
    shapes = (
        across,
        np.hypot(across - 0.5, down - 0.5) / 0.7072,
        (across + down) / 2,
        np.abs(2 * down - 1),
        (np.arctan2(down - 0.4, across - 0.5) / np.pi + 1) / 2,
        np.hypot(across, 1 - down) / 1.4143,
    )
    ends = rng.permutation(5)[:2]
    return ramp(shapes[number], [palette[int(end)] for end in ends])


_Draw = Callable[[np.random.Generator, tuple[Colour, ...], int], Image.Image]
_KINDS: dict[str, tuple[int, _Draw, str, str]] = {
    "bauhaus": (4, _bauhaus, "Geometric shapes in a grid", "网格中的几何图形"),
    "mondrian": (3, _mondrian, "Coloured rectangles between black lines", "黑线之间的彩色矩形"),
    "truchet": (3, _truchet, "A pattern of winding bands", "蜿蜒带状的图案"),
    "waves": (3, _waves, "Interfering coloured waves", "相互干涉的彩色波纹"),
    "mosaic": (3, _mosaic, "A mosaic of coloured cells", "彩色碎片的马赛克"),
    "rings": (4, _rings, "Concentric coloured rings", "同心的彩色圆环"),
    "gradient": (6, _gradient, "A smooth colour gradient", "平滑的色彩渐变"),
}
