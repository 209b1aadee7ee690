"""Signals of tone, colour, detail and noise, on images whose right answer is known."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from stages.signals.pixels import phash
from tests.stages.signals.pictures import grey, halves, pattern, signals


def hash_of(image: Image.Image) -> int:
    return phash(np.asarray(image.convert("L")))


def test_phash_equals_imagehash() -> None:
    # imagehash.phash prints 810f7873676c595a for this picture.
    assert hash_of(pattern()) == signals(pattern())["phash"] == 0x810F7873676C595A


def test_phash_of_flat_images_has_at_most_the_constant_bit() -> None:
    for size in ((64, 64), (31, 77), (1, 1), (600, 3)):
        assert hash_of(Image.new("RGB", size, (90, 90, 90))) == 1 << 63
        assert hash_of(Image.new("RGB", size, (0, 0, 0))) == 0


def test_phash_changes_little_when_resized_and_much_when_turned() -> None:
    image = pattern().resize((640, 480), Image.Resampling.BICUBIC)
    smaller, turned = image.resize((200, 150)), image.rotate(90, expand=True)
    assert (hash_of(image) ^ hash_of(smaller)).bit_count() <= 2
    assert (hash_of(image) ^ hash_of(turned)).bit_count() >= 16


@pytest.mark.parametrize("side", [100, 300])
def test_brightness_and_contrast(side: int) -> None:
    measured = signals(grey(halves(0, 200, side)))
    assert measured["brightness"] == 100
    assert measured["contrast"] == 100


def test_entropy_in_bits() -> None:
    every_level = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert signals(grey(every_level))["entropy"] == 8
    levels = np.random.default_rng(0).integers(0, 256, (320, 320))
    assert signals(grey(levels))["entropy"] == pytest.approx(8, abs=0.02)
    assert signals(grey(halves(10, 20)))["entropy"] == 1
    assert signals(grey(np.full((8, 8), 77)))["entropy"] == 0


def test_sharpness_of_one_bright_point() -> None:
    values = np.zeros((5, 5), dtype=np.uint8)
    values[2, 2] = 255
    # Inside: -4 * 255 once, 255 four times, 0 four times; the mean is 0.
    assert signals(grey(values))["sharpness"] == pytest.approx((1020**2 + 4 * 255**2) / 9)


def test_sharpness_of_a_checkerboard_and_of_a_ramp() -> None:
    board = np.indices((300, 300)).sum(axis=0) % 2 * 100
    # Every Laplacian is 400 or -400.
    assert signals(grey(board))["sharpness"] == pytest.approx(400**2)
    ramp = np.tile(np.arange(100, dtype=np.uint8), (50, 1))
    assert signals(grey(ramp))["sharpness"] == 0
    assert signals(grey(np.zeros((2, 50))))["sharpness"] == 0


def test_sharpness_falls_with_blur() -> None:
    sharp = [
        signals(pattern().filter(ImageFilter.GaussianBlur(radius)))["sharpness"]
        for radius in (0, 1, 2, 4)
    ]
    assert sharp == sorted(sharp, reverse=True)
    assert sharp[2] < 0.2 * sharp[0]


@pytest.mark.parametrize("sigma", [2, 5, 10, 20])
@pytest.mark.parametrize("ground", ["flat", "ramp"])
def test_noise_of_known_deviation(sigma: int, ground: str) -> None:
    rng = np.random.default_rng(sigma)
    base = np.full((400, 500), 128.0) if ground == "flat" else np.linspace(90, 160, 500)[None, :]
    noisy = (base + rng.normal(0, sigma, (400, 500))).round().clip(0, 255)
    assert signals(grey(noisy))["noise"] == pytest.approx(sigma, rel=0.06)


def test_noise_is_zero_without_detail_and_survives_edges() -> None:
    assert signals(grey(np.full((50, 50), 9)))["noise"] == 0
    assert signals(grey(np.zeros((1, 9))))["noise"] == 0
    # Edges fill less than half of the blocks: the median does not see them.
    squares = np.kron(np.indices((10, 10)).sum(axis=0) % 2 * 200, np.ones((11, 11)))
    assert signals(grey(squares))["noise"] == 0


def test_colourfulness() -> None:
    assert signals(grey(np.full((9, 9), 130)))["colourfulness"] == 0
    red = np.zeros((9, 9, 3), dtype=np.uint8)
    red[..., 0] = 255
    # rg = 255 and yb = 127.5 everywhere: no deviation, 0.3 times the mean's length.
    measured = signals(Image.fromarray(red))["colourfulness"]
    assert measured == pytest.approx(0.3 * np.hypot(255, 127.5))
    red[:, ::3] = (0, 0, 255)
    # rg is 255 in two thirds and 0 in one; yb is 127.5 in two thirds and -255 in one.
    deviation = np.sqrt(2 / 9) * np.hypot(255, 382.5)
    measured = signals(Image.fromarray(red))["colourfulness"]
    assert measured == pytest.approx(deviation + 0.3 * np.hypot(170, 0))


def test_aspect_is_width_over_height_at_full_resolution() -> None:
    assert signals(Image.new("RGB", (300, 200)))["aspect"] == 1.5
    assert signals(Image.new("RGB", (2, 5000)))["aspect"] == 2 / 5000
