"""The working copy: what it keeps of an image, by size and shape."""

import numpy as np
import pytest
from PIL import Image

from stages.signals.memory import shared_memory
from stages.signals.working import working_copy
from tests.stages.signals.pictures import noise, pattern


def unpacked(pixels: np.ndarray) -> np.ndarray:
    return np.stack([pixels >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)


def test_small_images_are_their_own_working_copy() -> None:
    for image in (pattern(), noise(512, 1), noise(1, 1), noise(300, 512)):
        copy = working_copy(image)
        assert np.array_equal(unpacked(copy.pixels), np.asarray(image))
        assert np.array_equal(copy.grey, np.asarray(image.convert("L")))


def test_memory_outlives_its_image() -> None:
    image = noise(200, 200)
    expected = np.asarray(image).copy()
    pixels = shared_memory(image)
    del image
    for seed in range(20):
        noise(200, 200, seed)
    assert np.array_equal(unpacked(pixels).reshape(200, 200, 3), expected)
    with pytest.raises(ValueError, match="read-only"):
        pixels[0] = 1


def test_memory_is_refused_in_other_modes_and_in_pieces() -> None:
    with pytest.raises(ValueError, match="mode must be RGB, got L"):
        shared_memory(Image.new("L", (4, 4)))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((513, 513), (512, 512)),
        ((2048, 1024), (512, 256)),
        ((700, 1000), (358, 512)),
        ((5000, 2), (512, 1)),
        ((3, 9000), (1, 512)),
        ((2600, 1700), (512, 335)),  # above 16 MB, in several pieces
    ],
)
def test_large_images_are_averaged_to_the_bound(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    image = pattern().resize(size, Image.Resampling.BICUBIC)
    copy = working_copy(image)
    assert copy.grey.shape == copy.pixels.shape == expected[::-1]
    assert (copy.width, copy.height) == size
    assert np.array_equal(
        copy.grey, np.asarray(Image.fromarray(unpacked(copy.pixels)).convert("L"))
    )
    if min(size) > 10:
        box = np.asarray(image.resize(expected, Image.Resampling.BOX)).astype(int)
        # Pillow's box takes whole pixels; area weights differ where the scale is no integer.
        assert np.abs(unpacked(copy.pixels) - box).mean() < 4


def test_whole_factors_average_exactly_and_flat_stays_flat() -> None:
    image = noise(1024, 768)
    values = np.asarray(image).astype(int).reshape(512, 2, 384, 2, 3).sum(axis=(1, 3))
    assert np.array_equal(unpacked(working_copy(image).pixels), (values + 2) // 4)
    for size in ((777, 1333), (4000, 3000)):
        flat = working_copy(Image.new("RGB", size, (3, 200, 255)))
        assert (unpacked(flat.pixels) == (3, 200, 255)).all()
