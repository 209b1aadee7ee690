"""Rows of several arrays, taken as if they lay in one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup.cells.ragged import Ragged


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
    st.sampled_from([(), (3,), (0,)]),
    st.sampled_from(["float16", "int8", "int64"]),
    st.integers(0, 1000),
)
def test_rows_are_those_of_one_array(
    sizes: list[int], shape: tuple[int, ...], dtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.integers(-99, 99, (size, *shape)).astype(dtype) for size in sizes]
    order = rng.permutation(sum(sizes))
    ragged, joined = Ragged(parts, order), np.concatenate(parts)[order]
    rows = rng.integers(0, len(order), 7) if len(order) else np.zeros(0, dtype=np.int64)
    assert np.array_equal(ragged.take(rows), joined[rows])
    assert np.array_equal(ragged.all(), joined)


def test_arrays_of_other_width_or_with_gaps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one type and width .* int8 \(3,\) and int8 \(4,\)"):
        Ragged([np.zeros((2, 3), np.int8), np.zeros((2, 4), np.int8)], np.arange(4))
    with pytest.raises(ValueError, match=r"shape \(2, 3\) must lie in C order"):
        Ragged([np.zeros((2, 6), np.int8)[:, ::2]], np.arange(2))


def test_a_row_beyond_the_last_is_an_error() -> None:
    with pytest.raises(IndexError):
        Ragged([np.zeros((2, 3), np.int8)], np.arange(2)).take(np.array([2]))
