"""The frequencies of the perceptual hash, against Pillow's resampling without rounding."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.signals.hashing import SAMPLES, SIDE, frequencies, hash_bits, hash_weights
from stages.signals.resampling import row_sums
from tests.stages.signals.pictures import pattern


def terms(grey: NDArray[np.uint8]) -> NDArray[np.int64]:
    return frequencies(grey, *hash_weights(*grey.shape))


def picture(height: int, width: int) -> NDArray[np.uint8]:
    image = pattern().resize((width, height), Image.Resampling.BICUBIC).convert("L")
    return np.asarray(image).copy()


def expected_terms(grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    image = Image.fromarray(grey.astype(np.float32))
    samples = np.asarray(image.resize((SAMPLES, SAMPLES), Image.Resampling.LANCZOS))
    steps = np.arange(SIDE)[:, None] * (2 * np.arange(SAMPLES) + 1)
    cosines = np.cos(np.pi * steps / (2 * SAMPLES))
    return cosines @ samples.astype(np.float64) @ cosines.T


@pytest.mark.parametrize(
    ("size", "tolerance"),
    [
        ((9, 20), 1e-4),
        ((1, 3), 1e-4),
        ((120, 160), 1e-4),
        ((127, 2048), 1e-4),
        # Rows are added up first: by eights, then by fives and sixes.
        ((512, 384), 1e-3),
        ((333, 500), 1e-2),
    ],
)
def test_terms_are_those_of_pillow_without_rounding(
    size: tuple[int, int], tolerance: float
) -> None:
    grey = picture(*size)
    found, expected = terms(grey), expected_terms(grey)
    difference = found / found[0, 0] - expected / expected[0, 0]
    assert np.abs(difference).max() < tolerance


@pytest.mark.parametrize("size", [(7, 5), (255, 40), (257, 511), (512, 384), (3, 512), (1, 1)])
def test_flat_images_have_only_the_constant_term(size: tuple[int, int]) -> None:
    for level in range(256):
        found = terms(np.full(size, level, dtype=np.uint8))
        assert (found[0, 0] > 0) == (level > 0)
        assert np.count_nonzero(found) == (level > 0)


@pytest.mark.parametrize("size", [(64, 33), (128, 500), (512, 7)])
def test_mirrored_images_have_no_odd_terms(size: tuple[int, int]) -> None:
    grey = picture(*size)
    across = np.maximum(grey, grey[:, ::-1])
    assert not terms(across)[:, 1::2].any()
    assert not terms(np.maximum(grey, grey[::-1]))[1::2].any()


@pytest.mark.parametrize("size", [(1, 2048), (127, 2048), (512, 512), (2048, 2048), (2047, 1)])
def test_no_sum_overflows(size: tuple[int, int]) -> None:
    rows, columns = hash_weights(*size)
    for row, column in ((0, 0), (1, 1), (7, 7), (6, 3)):
        # White where it adds most to one of the terms.
        signs = np.repeat(np.sign(rows[row]), -(-size[0] // rows.shape[1]))[: size[0]]
        bright = np.outer(signs, columns[column, : size[1]]) > 0
        grey = np.where(bright, np.uint8(255), np.uint8(0))
        sums = [[int(value) for value in line] for line in row_sums(grey, *_shape(rows, columns))]
        lines = np.diff(np.arange(rows.shape[1] + 1) * size[0] // rows.shape[1])
        common = 1 if (lines == lines[0]).all() else int(lines.min() * lines.max())
        exact = sum(
            int(rows[row, g])
            * (common // int(lines[g]) if common > 1 else 1)
            * sum(a * int(b) for a, b in zip(line, columns[column], strict=True))
            for g, line in enumerate(sums)
        )
        assert terms(grey)[row, column] == exact


def _shape(rows: NDArray[np.int64], columns: NDArray[np.int16]) -> tuple[int, int]:
    return rows.shape[1], columns.shape[1]


def test_bits_are_set_above_the_median() -> None:
    values = np.arange(SIDE * SIDE, dtype=np.int64).reshape(SIDE, SIDE)
    assert hash_bits(values) == 2**32 - 1
    assert hash_bits(-values) == 2**64 - 2**32
    # The two in the middle are equal: what equals them is not above.
    assert hash_bits(np.maximum(values, 40)) == 2**23 - 1
    assert hash_bits(np.minimum(values, 20)) == 0
