"""Signals of the pixels, on images whose right answer is known."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from stages.signals import pixels


def grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.asarray(values, dtype=np.uint8)).convert("RGB")


def halves(low: int, high: int, side: int = 100) -> np.ndarray:
    values = np.full((side, side), low, dtype=np.uint8)
    values[:, side // 2 :] = high
    return values


def pattern() -> Image.Image:
    y, x = np.mgrid[0:120, 0:160]
    channels = [(x * 3 + y) % 256, (x * y // 16) % 256, (255 - x) % 256]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def test_phash_equals_imagehash() -> None:
    # imagehash.phash prints 810f7873676c595a for this picture.
    assert pixels.phash(pattern()) == 9299784192595089754


def test_phash_of_flat_images_has_at_most_the_constant_bit() -> None:
    assert pixels.phash(Image.new("RGB", (64, 64), (90, 90, 90))) == 1 << 63
    assert pixels.phash(Image.new("RGB", (64, 64), (0, 0, 0))) == 0


def test_phash_changes_little_when_resized_and_much_when_turned() -> None:
    image = pattern().resize((640, 480), Image.Resampling.BICUBIC)
    smaller, turned = image.resize((200, 150)), image.rotate(90, expand=True)
    assert (pixels.phash(image) ^ pixels.phash(smaller)).bit_count() <= 2
    assert (pixels.phash(image) ^ pixels.phash(turned)).bit_count() >= 16


def test_border_variance_sees_only_the_ring() -> None:
    framed = np.full((100, 100), 240, dtype=np.uint8)
    framed[2:-2, 2:-2] = np.random.default_rng(0).integers(0, 256, (96, 96))
    assert pixels.border_variance(framed) == 0
    # Half the ring at 0 and half at 200: variance 100^2.
    assert pixels.border_variance(halves(0, 200)) == pytest.approx(10_000)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (3, 3)])
def test_border_variance_of_tiny_images_is_that_of_all_pixels(shape: tuple[int, int]) -> None:
    values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    if shape == (3, 3):
        values[1, 1] = 250  # the one pixel that is not on the ring
        ring = np.delete(values.ravel(), 4)
    else:
        ring = values.ravel()
    assert pixels.border_variance(values) == pytest.approx(ring.var())


def test_entropy_in_bits() -> None:
    every_level = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert pixels.entropy(every_level) == 8
    assert pixels.entropy(halves(10, 20)) == 1
    assert pixels.entropy(np.full((8, 8), 77, dtype=np.uint8)) == 0


def test_sharpness_of_one_bright_point() -> None:
    values = np.zeros((5, 5), dtype=np.uint8)
    values[2, 2] = 255
    # Inside: -4 * 255 once, 255 four times, 0 four times; the mean is 0.
    assert pixels.sharpness(values) == pytest.approx((1020**2 + 4 * 255**2) / 9)


def test_sharpness_falls_with_blur_and_is_zero_without_curvature() -> None:
    image = pattern().convert("L")
    blurred = image.filter(ImageFilter.GaussianBlur(2))
    assert pixels.sharpness(np.asarray(blurred)) < 0.2 * pixels.sharpness(np.asarray(image))
    ramp = np.tile(np.arange(100, dtype=np.uint8), (50, 1))
    assert pixels.sharpness(ramp) == 0
    assert pixels.sharpness(np.zeros((2, 50), dtype=np.uint8)) == 0


def test_brightness_and_contrast() -> None:
    signals = pixels.pixel_signals(grey(halves(0, 200)))
    assert signals["brightness"] == pytest.approx(100)
    assert signals["contrast"] == pytest.approx(100)


def test_colourfulness() -> None:
    assert pixels.colourfulness(np.full((9, 9, 3), 130, dtype=np.uint8)) == 0
    red = np.zeros((9, 9, 3), dtype=np.uint8)
    red[..., 0] = 255
    # rg = 255 and yb = 127.5 everywhere: no deviation, 0.3 times the mean's length.
    assert pixels.colourfulness(red) == pytest.approx(0.3 * np.hypot(255, 127.5))
    red[:, ::3] = (0, 0, 255)
    # rg is 255 in two thirds and 0 in one; yb is 127.5 in two thirds and -255 in one.
    deviation = np.sqrt(2 / 9) * np.hypot(255, 382.5)
    assert pixels.colourfulness(red) == pytest.approx(deviation + 0.3 * np.hypot(170, 0))


def test_bounded_copy_keeps_small_images_and_shape() -> None:
    image = pattern()
    assert pixels.bounded(image) is image
    assert pixels.bounded(image.resize((2048, 1024))).size == (512, 256)
    assert pixels.bounded(image.resize((5000, 2))).size == (512, 1)


def test_signals_do_not_depend_on_size_above_the_bound() -> None:
    image = pattern().resize((1024, 768), Image.Resampling.BICUBIC)
    large = pixels.pixel_signals(image.resize((2048, 1536), Image.Resampling.BICUBIC))
    for name, value in pixels.pixel_signals(image).items():
        if name != "phash":
            assert large[name] == pytest.approx(value, rel=0.05), name


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([1, 40, 256])
)
def test_signals_are_finite_and_equal_for_equal_pixels(
    width: int, height: int, seed: int, levels: int
) -> None:
    values = np.random.default_rng(seed).integers(0, levels, (height, width, 3))
    image = Image.fromarray(values.astype(np.uint8))
    signals = pixels.pixel_signals(image)
    assert all(np.isfinite(value) for value in signals.values())
    assert 0 <= signals["phash"] < 1 << 64
    assert 0 <= signals["entropy"] <= 8
    for options in ({"format": "PNG"}, {"format": "WEBP", "lossless": True, "exact": True}):
        buffer = io.BytesIO()
        image.save(buffer, **options)
        assert pixels.pixel_signals(Image.open(buffer).convert("RGB")) == signals
