"""Unusual files that are perfectly good: none of them belongs in quarantine."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, features

from pipeline.demo.scenes import extra_scene

_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Oddity:
    """A good file that trips careless readers.

    Args:
        name: File name with its extension.
        what: What is odd about it.
        data: The file's bytes.
    """

    name: str
    what: str
    data: bytes


def oddities(rng: np.random.Generator) -> Iterator[Oddity]:
    """Each oddity, on a picture of its own.

    Args:
        rng: Source of chance for the pictures.
    """
    kinds = ("mountains", "sea", "skyline", "dunes", "forest", "planet", "balloons")
    for number, (name, what, make) in enumerate(_ODDITIES):
        own = np.random.default_rng(int(rng.integers(2**63)))
        picture = extra_scene(kinds[number % len(kinds)], number // len(kinds), own)
        if not name.endswith(".avif") or features.check("avif"):
            yield Oddity(name, what, make(picture.image))


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:  # noqa: ANN401
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _jpeg(image: Image.Image) -> bytes:
    return _saved(image, "JPEG", quality=90)


def _cmyk(image: Image.Image) -> bytes:
    return _saved(image.convert("CMYK"), "JPEG", quality=92)


def _sixteen_bit(image: Image.Image) -> bytes:
    grey = np.asarray(image.convert("L"), dtype=np.uint16)
    return _saved(Image.fromarray(grey * 257), "PNG")


def _animated(image: Image.Image) -> bytes:
    image.thumbnail((320, 320))
    frames = []
    for step in range(6):
        frame = image.copy()
        x = image.width * (0.1 + 0.14 * step)
        ImageDraw.Draw(frame).ellipse((x, 20, x + 24, 44), (255, 90, 60))
        frames.append(frame.quantize(64, dither=Image.Dither.NONE))
    return _saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=120, loop=0)


def _turned_by_exif(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = 6
    return _saved(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=exif)


def _palette(image: Image.Image) -> bytes:
    layer = image.quantize(63, dither=Image.Dither.NONE)
    hole = Image.new("L", image.size, 0)
    ImageDraw.Draw(hole).ellipse((20, 20, 120, 120), 255)
    layer.paste(63, mask=hole)
    return _saved(layer, "PNG", transparency=63)


def _grey_alpha(image: Image.Image) -> bytes:
    layer = image.convert("LA")
    fade = np.linspace(255, 90, image.width).astype(np.uint8)
    layer.putalpha(Image.fromarray(np.tile(fade, (image.height, 1))))
    return _saved(layer, "PNG")


_ODDITIES: tuple[tuple[str, str, Callable[[Image.Image], bytes]], ...] = (
    ("cmyk.jpg", "cmyk", _cmyk),
    ("sixteen-bit.png", "16-bit", _sixteen_bit),
    ("animated.gif", "animation", _animated),
    ("turned-by-exif.jpg", "exif-orientation", _turned_by_exif),
    ("palette-with-hole.png", "palette-transparency", _palette),
    ("grey-alpha.png", "grey-alpha", _grey_alpha),
    ("progressive.jpg", "progressive", lambda i: _saved(i, "JPEG", progressive=True)),
    ("lossless.webp", "lossless-webp", lambda i: _saved(i, "WEBP", lossless=True, method=1)),
    ("modern.avif", "avif", lambda i: _saved(i, "AVIF", quality=70, speed=8, max_threads=1)),
    ("bitmap.bmp", "bmp", lambda i: _saved(i, "BMP")),
    ("scan.tiff", "tiff", lambda i: _saved(i, "TIFF", compression="tiff_lzw")),
    ("really-a-jpeg.png", "wrong-extension", _jpeg),
    ("中文名.jpg", "non-ascii-name", _jpeg),
    ("trailing-bytes.jpg", "trailing-bytes", lambda i: _jpeg(i) + b"\r\n--boundary--\r\n"),
    ("IMG_0042.JPG", "upper-case-extension", _jpeg),
)
