"""Shrinking colour images, against the exact means computed in whole numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.signals.averaging import area_resize, area_weights, box_shrink


def packed(height: int, width: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 1 << 24, (height, width)).astype(np.uint32)
    values.flags.writeable = False  # as Pillow's memory is
    return values


def channels(pixels: np.ndarray) -> np.ndarray:
    return np.stack([pixels >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.int64)


def covered(length: int, samples: int) -> np.ndarray:
    """Share of each sample (row) that each value (column) covers."""
    edges = np.arange(samples + 1) * length / samples
    places = np.arange(length)
    low = np.maximum(edges[:-1, None], places)
    high = np.minimum(edges[1:, None], places + 1)
    return np.maximum(0, high - low) * samples / length


@pytest.mark.parametrize(
    ("down", "across"), [(1, 1), (2, 2), (1, 2), (3, 1), (4, 3), (16, 16), (17, 16), (60, 3)]
)
def test_blocks_are_averaged_exactly_and_what_is_left_is_not_looked_at(
    down: int, across: int
) -> None:
    # The row after is no longer aligned where the width is odd.
    pixels, result = packed(131, 71), np.empty((131 // down, 71 // across), dtype=np.uint32)
    box_shrink(pixels, down, across, result)
    rows, columns = result.shape
    whole = channels(pixels)[: rows * down, : columns * across]
    means = whole.reshape(rows, down, columns, across, 3).mean(axis=(1, 3))
    assert np.abs(channels(result) - means).max() <= 0.5 + 1e-4


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_areas_are_averaged_within_two_levels(height: int, width: int, data: st.DataObject) -> None:
    rows = data.draw(st.integers(-(-height // 4), height))
    columns = data.draw(st.integers(-(-width // 4), width))
    pixels, result = packed(height, width, height * width), np.empty((rows, columns), np.uint32)
    area_resize(pixels, result)
    expected = np.einsum(
        "yr,rcn,xc->yxn", covered(height, rows), channels(pixels), covered(width, columns)
    )
    # Half a level for each of two roundings; the rest is that of the weights, of 1/512.
    assert np.abs(channels(result) - expected).max() <= 2
    flat = np.full((height, width), 0x00C80AFF, dtype=np.uint32)
    flat.flags.writeable = False
    area_resize(flat, result)
    assert (result == 0x00C80AFF).all()


@given(st.integers(1, 3000), st.data())
def test_weights_sum_to_one(length: int, data: st.DataObject) -> None:
    samples = data.draw(st.integers(1, length))
    starts, weights = area_weights(length, samples)
    assert (weights.sum(axis=1) == 256).all()
    assert starts[0] == 0
    used = starts[:, None] + np.arange(weights.shape[1])
    assert used[weights > 0].max() == length - 1 or length > 128 * samples
