"""All signals together: ranges, repetition, lossless formats, symmetries."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from stages.schemas import PROFILE
from tests.stages.signals.pictures import noise, pattern, reopened, signals

RANGES = {
    "phash": (0, 2**64 - 1),
    "aspect": (0, math.inf),
    "brightness": (0, 255),
    "contrast": (0, 127.5),
    "entropy": (0, 8),
    "sharpness": (0, 1020**2),
    "noise": (0, 379),
    "colourfulness": (0, 450),
    "border_variance": (0, 127.5**2),
    "uniform_background": (0, 1),
    "letterbox": (0, 1),
    "flat_share": (0, 1),
    "reencode_bpp": (0, math.inf),
    "reencode_quality": (75, 75),
    "screenshot": (0, 1),
    "qr_code": (0, 1),
}
OF_THE_FILE = {
    "size_ratio", "compression_ratio", "jpeg_quality", "alpha_share", "animated"
}  # fmt: skip


@st.composite
def images(draw: st.DrawFn) -> Image.Image:
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    seed, levels = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([1, 2, 40, 256]))
    scale = draw(st.sampled_from([1, 1, 5, 12]))
    values = np.random.default_rng(seed).integers(0, levels, (height, width, 3))
    values = values * draw(st.integers(1, 255 // max(1, levels - 1)))
    image = Image.fromarray(values.astype(np.uint8))
    return image.resize((width * scale, height * scale), Image.Resampling.NEAREST)


def test_every_column_of_the_table_is_measured() -> None:
    assert set(RANGES) == set(signals(pattern()))
    assert set(RANGES) | OF_THE_FILE | {"item_id"} == set(PROFILE.names)


@settings(max_examples=60, deadline=None)
@given(images())
def test_ranges_hold_and_equal_pixels_have_equal_signals(image: Image.Image) -> None:
    measured = signals(image)
    for name, (low, high) in RANGES.items():
        assert low <= measured[name] <= high, name
    assert signals(image) == measured
    assert signals(reopened(image, "PNG")) == measured
    assert signals(reopened(image, "WEBP", lossless=True, exact=True)) == measured


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 700), (700, 1), (3, 3), (600, 2)])
@pytest.mark.parametrize("level", [0, 255])
def test_extreme_shapes(size: tuple[int, int], level: int) -> None:
    measured = signals(Image.new("RGB", size, (level, level, level)))
    assert measured["brightness"] == level
    for name in ("contrast", "entropy", "sharpness", "noise", "colourfulness", "border_variance"):
        assert measured[name] == 0, name
    assert measured["uniform_background"] == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 250), st.integers(1, 250))
def test_mirrored_small_images_have_the_same_tone_and_border(
    seed: int, width: int, height: int
) -> None:
    image = noise(height, width, seed)
    measured = signals(image)
    for turned in (ImageOps.mirror(image), ImageOps.flip(image), image.rotate(90, expand=True)):
        other = signals(turned)
        for name in (
            *("brightness", "contrast", "entropy", "sharpness", "colourfulness"),
            *("border_variance", "uniform_background"),
        ):
            assert other[name] == pytest.approx(measured[name], abs=1e-9), name


def test_signals_change_little_with_size_above_the_bound() -> None:
    image = pattern().resize((1024, 768), Image.Resampling.BICUBIC)
    large = signals(image.resize((3072, 2304), Image.Resampling.BICUBIC))
    small = signals(image)
    for name in (
        *("brightness", "contrast", "entropy", "colourfulness", "border_variance"),
        *("uniform_background", "sharpness", "reencode_bpp", "aspect"),
    ):
        assert large[name] == pytest.approx(small[name], rel=0.1, abs=0.02), name
    assert (large["phash"] ^ small["phash"]).bit_count() <= 2
