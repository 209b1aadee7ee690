"""Signals of the encoding, on files whose right answer is known."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.signals import encoding


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(side: int = 64) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (side, side, 3))
    return Image.fromarray(values.astype(np.uint8))


def test_size_ratio_is_one_for_raw_bytes_and_small_for_compressed() -> None:
    assert encoding.size_ratio(100 * 50 * 3, 100, 50) == 1
    assert encoding.size_ratio(1500, 100, 50) == pytest.approx(0.1)


def test_over_compression_lowers_the_size_ratio() -> None:
    ratios = [encoding.size_ratio(len(encoded(noise(), quality=q)), 64, 64) for q in (5, 50, 95)]
    assert ratios == sorted(ratios)


def test_jpeg_quality_is_what_the_file_was_saved_at() -> None:
    image = noise(16)
    for quality in range(1, 101):
        assert encoding.jpeg_quality(encoded(image, quality=quality)) == quality


def test_jpeg_quality_is_null_without_a_known_table() -> None:
    image = noise(16)
    for kind in ("PNG", "WEBP", "GIF", "BMP"):
        assert encoding.jpeg_quality(encoded(image, kind)) is None
    assert encoding.jpeg_quality(encoded(image, qtables=[[10] * 64, [10] * 64])) is None


def test_jpeg_quality_of_a_grey_image_and_of_slightly_different_tables() -> None:
    image = noise(16)
    assert encoding.jpeg_quality(encoded(image.convert("L"), quality=60)) == 60
    with Image.open(io.BytesIO(encoded(image, quality=60))) as saved:
        tables = {0: list(saved.quantization[0]), 1: list(saved.quantization[1])}
    tables[0][5] += 1
    assert encoding.jpeg_quality(encoded(image, qtables=tables)) == 60


def test_reencoded_bytes_count_information_not_headers_or_size() -> None:
    flat = [Image.new("RGB", (side, side), (90, 60, 30)) for side in (64, 256)]
    # A flat 16 x 16 block needs a few bits in each of its six 8 x 8 units.
    assert all(encoding.reencoded_bytes_per_pixel(image, 75) < 0.03 for image in flat)
    assert encoding.reencoded_bytes_per_pixel(noise(), 75) > 0.5
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1))).convert("RGB")
    assert encoding.reencoded_bytes_per_pixel(ramp, 75) < 0.1


def test_reencoded_bytes_rise_with_quality_and_equal_themselves() -> None:
    values = [encoding.reencoded_bytes_per_pixel(noise(), quality) for quality in (10, 75, 95)]
    assert values == sorted(values)
    assert values[1] == encoding.reencoded_bytes_per_pixel(noise(), 75)
    lossless = Image.open(io.BytesIO(encoded(noise(), "WEBP", lossless=True))).convert("RGB")
    assert encoding.reencoded_bytes_per_pixel(lossless, 75) == values[1]
