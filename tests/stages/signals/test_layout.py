"""Borders, backgrounds, bars and screens, on images whose right answer is known."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.stages.signals.pictures import grey, halves, noise, pattern, reopened, signals


def barred(top: int, bottom: int, left: int = 0, right: int = 0, level: int = 0) -> Image.Image:
    soft = noise(10, 15).resize((300, 200), Image.Resampling.BICUBIC)
    values = np.asarray(soft).copy()
    values[:top], values[200 - bottom :] = level, level
    values[:, :left], values[:, 300 - right :] = level, level
    return Image.fromarray(values)


def window(width: int = 1280, height: int = 800) -> Image.Image:
    """A window: a title bar, a menu at the side, lines of a table."""
    image = Image.new("RGB", (width, height), (250, 250, 250))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width, 60), fill=(40, 60, 90))
    draw.rectangle((0, 61, 240, height), fill=(225, 228, 232))
    for y in range(120, height, 60):
        draw.rectangle((260, y, width - 20, y + 3), fill=(120, 120, 120))
        draw.text((270, y + 20), "a row of the table, with words in it", fill=(20, 20, 20))
    return image


def test_border_variance_sees_only_the_ring() -> None:
    framed = np.full((100, 100), 240, dtype=np.uint8)
    framed[2:-2, 2:-2] = np.random.default_rng(0).integers(0, 256, (96, 96))
    assert signals(grey(framed))["border_variance"] == 0
    framed[50, 1] = 0
    assert signals(grey(framed))["border_variance"] > 0
    # Half the ring at 0 and half at 200: variance 100^2.
    assert signals(grey(halves(0, 200)))["border_variance"] == pytest.approx(10_000)
    assert signals(grey(halves(0, 200, 400)))["border_variance"] == pytest.approx(10_000)


@pytest.mark.parametrize("edge", ["top", "bottom", "left", "right"])
def test_border_variance_sees_every_side_of_a_large_image(edge: str) -> None:
    values = np.full((400, 500), 100, dtype=np.uint8)
    rows = {"top": slice(0, 8), "bottom": slice(392, 400)}.get(edge, slice(None))
    columns = {"left": slice(0, 8), "right": slice(492, 500)}.get(edge, slice(None))
    values[rows, columns] = 200
    assert signals(grey(values))["border_variance"] > 1000


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (3, 3)])
def test_border_variance_of_tiny_images_is_that_of_all_pixels(shape: tuple[int, int]) -> None:
    values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    if shape == (3, 3):
        values[1, 1] = 250  # the one pixel that is not on the ring
        ring = np.delete(values.ravel(), 4)
    else:
        ring = values.ravel()
    assert signals(grey(values))["border_variance"] == pytest.approx(ring.var())


@pytest.mark.parametrize("scale", [1, 4])
def test_uniform_background_is_the_share_around_an_object(scale: int) -> None:
    values = np.full((100 * scale, 100 * scale, 3), (250, 240, 230), dtype=np.uint8)
    values[20 * scale : 60 * scale, 10 * scale : 60 * scale] = (30, 90, 200)
    assert signals(Image.fromarray(values))["uniform_background"] == pytest.approx(0.8)
    rippled = reopened(Image.fromarray(values), "JPEG", quality=80)
    assert signals(rippled)["uniform_background"] == pytest.approx(0.8, abs=0.05)


def test_uniform_background_looks_at_colour_not_at_luminance() -> None:
    # Both have the luminance 76.
    values = np.full((60, 60, 3), (254, 0, 0), dtype=np.uint8)
    values[10:50, 10:50] = (76, 76, 76)
    share = 1 - 40 * 40 / 60 / 60
    assert signals(Image.fromarray(values))["uniform_background"] == pytest.approx(share)
    assert signals(noise(100, 100))["uniform_background"] < 0.01


@pytest.mark.parametrize(
    ("bars", "share"),
    [
        ((0, 0, 0, 0), 0),
        ((25, 25, 0, 0), 0.25),
        ((0, 0, 45, 45), 0.3),
        ((10, 10, 15, 15), 1 - 0.9 * 0.9),
        ((20, 30, 0, 0), 0.25),
        ((25, 0, 0, 0), 0),  # one bar alone is a sky
        ((60, 10, 0, 0), 0),  # too unlike
    ],
)
@pytest.mark.parametrize("level", [0, 255])
def test_letterbox_is_the_share_of_the_bars(
    bars: tuple[int, int, int, int], share: float, level: int
) -> None:
    image = barred(*bars, level=level)
    assert signals(image)["letterbox"] == pytest.approx(share)
    assert signals(reopened(image, "JPEG", quality=75))["letterbox"] == pytest.approx(
        share, abs=0.03
    )


def test_letterbox_of_a_large_image_within_a_row_of_the_working_copy() -> None:
    large = barred(25, 25).resize((1500, 1000), Image.Resampling.NEAREST)
    assert signals(large)["letterbox"] == pytest.approx(0.25, abs=2 / 341)


def test_an_object_on_a_plain_ground_and_a_flat_image_have_no_bars() -> None:
    values = np.full((200, 200), 255)
    y, x = np.mgrid[0:200, 0:200]
    values[(y - 100) ** 2 + (x - 100) ** 2 < 80**2] = 40
    assert signals(grey(values))["letterbox"] == 0
    assert signals(grey(np.full((50, 50), 7)))["letterbox"] == 0


def test_flat_share_counts_pixels_like_their_neighbours() -> None:
    assert signals(grey(np.full((10, 10), 7)))["flat_share"] == 1
    assert signals(grey(np.indices((10, 10)).sum(axis=0) % 2 * 9))["flat_share"] == 0
    # Of the 98 inner columns one has another right neighbour.
    assert signals(grey(halves(0, 200)))["flat_share"] == pytest.approx(97 / 98)


@pytest.mark.parametrize("size", [(1280, 800), (640, 400), (390, 844)])
def test_a_window_is_a_screenshot_in_png_and_jpeg(size: tuple[int, int]) -> None:
    image = window(*size)
    assert signals(image)["screenshot"] is True
    assert signals(reopened(image, "JPEG", quality=80))["screenshot"] is True


def test_flat_things_without_lines_and_lines_without_flats_are_no_screenshots() -> None:
    assert signals(grey(np.full((300, 300), 255)))["screenshot"] is False
    assert signals(pattern())["screenshot"] is False
    lines = np.asarray(noise(300, 300)).copy()
    lines[::30] = 255
    assert signals(Image.fromarray(lines))["screenshot"] is False


def test_real_photographs_are_no_screens_and_have_no_codes(photos: Path) -> None:
    paths = sorted(photos.rglob("*.jpg"))[::12]
    measured = [signals(Image.open(path).convert("RGB")) for path in paths]
    assert sum(bool(each["screenshot"]) for each in measured) <= len(paths) // 50
    assert not any(each["qr_code"] for each in measured)
    # Some of these photographs do have bars or frames.
    assert sum(each["letterbox"] > 0 for each in measured) <= len(paths) // 20
