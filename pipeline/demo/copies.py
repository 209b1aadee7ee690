"""Copies of known kind: the same bytes under another name, and near copies by one transform."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from pipeline.demo.canvas import font
from pipeline.demo.truth import Expected

_EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}


@dataclass(frozen=True)
class Encoded:
    """An image as a file.

    Args:
        name: File stem.
        extension: Without its dot.
        data: The file's bytes.
    """

    name: str
    extension: str
    data: bytes


@dataclass(frozen=True)
class Transform:
    """One way to copy an image.

    Args:
        name: Shown in the truth and in the copy's file name.
        expected: Whether a simple descriptor should find it.
        form: Pillow's name of the copy's format.
        apply: The change of pixels; ``None`` for none.
        quality: Of the encoder, 1..100; PNG has none.
    """

    name: str
    expected: Expected
    form: str = "JPEG"
    apply: Callable[[Image.Image], Image.Image] | None = None
    quality: int = 92

    def __call__(self, original: Encoded) -> Encoded:
        """Make the copy of an encoded original."""
        name = f"{original.name}--{self.name}"
        if self.expected == "exact":
            return Encoded(name, original.extension, original.data)
        with Image.open(io.BytesIO(original.data)) as opened:
            image = opened.convert("RGB")
        changed = self.apply(image) if self.apply else image
        # Another effort than the originals', or the PNG of a PNG would be the same bytes.
        return encode(name, changed, self.form, self.quality, effort=9)


def encode(
    name: str, image: Image.Image, form: str, quality: int = 92, *, effort: int = 6
) -> Encoded:
    """Encode an image as ``JPEG`` or ``WEBP`` of a quality, or ``PNG`` with an effort of 0..9."""
    options: dict[str, Any] = {"quality": quality} if form != "PNG" else {"compress_level": effort}
    if form == "WEBP":
        options["method"] = 2
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return Encoded(name, _EXTENSIONS[form], buffer.getvalue())


def _scaled(factor: float) -> Callable[[Image.Image], Image.Image]:
    def apply(image: Image.Image) -> Image.Image:
        size = (round(image.width * factor), round(image.height * factor))
        return image.resize(size, Image.Resampling.LANCZOS)

    return apply


def _cropped(left: float, top: float, right: float, bottom: float) -> Callable[..., Image.Image]:
    def apply(image: Image.Image) -> Image.Image:
        width, height = image.size
        box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
        return image.crop((round(box[0]), round(box[1]), round(box[2]), round(box[3])))

    return apply


def _brightened(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: ImageEnhance.Brightness(image).enhance(factor)


def _flattened(image: Image.Image) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(0.85)


def _blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(1.0))


def _turned(image: Image.Image) -> Image.Image:
    turned = image.rotate(2.0, Image.Resampling.BICUBIC)
    return _cropped(0.04, 0.04, 0.04, 0.04)(turned)


def _stamped(image: Image.Image) -> Image.Image:
    stamped = image.copy()
    draw = ImageDraw.Draw(stamped)
    notice = "www.free-pictures.example"
    natural = font("Sans", 100).getlength(notice) / 100
    size = max(10, min(image.height // 12, int(0.9 * image.width / natural)))
    band = (0, image.height - 2 * size, image.width, image.height)
    draw.rectangle(band, (20, 20, 24))
    at = (image.width / 2, image.height - size)
    draw.text(at, notice, (255, 255, 255), font("Sans", size), anchor="mm")
    return stamped


def _grey(image: Image.Image) -> Image.Image:
    return ImageOps.grayscale(image).convert("RGB")


def _framed(image: Image.Image) -> Image.Image:
    return ImageOps.expand(image, max(12, image.width // 14), (250, 250, 250))


TRANSFORMS = (
    Transform("same-bytes", "exact"),
    Transform("jpeg-80", "near-easy", quality=80),
    Transform("jpeg-45", "near-easy", quality=45),
    Transform("as-png", "near-easy", "PNG"),
    Transform("as-webp", "near-easy", "WEBP", quality=80),
    Transform("half-size", "near-easy", apply=_scaled(0.5)),
    Transform("larger", "near-easy", apply=_scaled(1.4)),
    Transform("brighter", "near-easy", apply=_brightened(1.1)),
    Transform("darker", "near-easy", apply=_brightened(0.9)),
    Transform("less-contrast", "near-easy", apply=_flattened),
    Transform("blurred", "near-easy", apply=_blurred),
    Transform("crop-4", "near-hard", apply=_cropped(0.02, 0.02, 0.02, 0.02)),
    Transform("crop-15", "near-hard", apply=_cropped(0.15, 0.0, 0.0, 0.12)),
    Transform("mirrored", "near-hard", apply=ImageOps.mirror),
    Transform("turned", "near-hard", apply=_turned),
    Transform("stamped", "near-hard", apply=_stamped),
    Transform("grey", "near-hard", apply=_grey),
    Transform("framed", "near-hard", apply=_framed),
)

_BY_NAME = {transform.name: transform for transform in TRANSFORMS}

#: Originals with a whole family of copies, as popular pictures have.
_FAMILIES = {
    "photo-chelsea": (
        "jpeg-45", "half-size", "as-webp", "brighter", "crop-4", "crop-15", "stamped", "grey",
    ),
    "photo-coffee": ("jpeg-80", "larger", "framed", "mirrored"),
    "photo-astronaut": ("as-png", "half-size", "less-contrast", "stamped"),
    "poster-poster-00": ("jpeg-45", "as-webp", "crop-4"),
}  # fmt: skip

_EXACT = 18
_PER_EASY = 2
_PER_HARD = 2


def plan(names: list[str], rng: np.random.Generator) -> list[tuple[str, Transform]]:
    """Which originals are copied, and how.

    Args:
        names: Originals that may be copied, in a fixed order.
        rng: Source of chance.

    Returns:
        Original and transform; no pair occurs twice.
    """
    chosen = [(name, _BY_NAME[way]) for name, ways in _FAMILIES.items() for way in ways]
    others = [name for name in names if name not in _FAMILIES]
    ways = [TRANSFORMS[0]] * _EXACT
    for transform in TRANSFORMS[1:]:
        count = _PER_EASY if transform.expected == "near-easy" else _PER_HARD
        ways += [transform] * count
    picks = rng.choice(len(others), len(ways), replace=False)
    chosen += [(others[int(pick)], way) for pick, way in zip(picks, ways, strict=True)]
    return chosen
