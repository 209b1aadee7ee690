"""Heads of codes: how wide they are, and that they bound the product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.cells.codes import encode
from dedup.cells.heads import head_width, heads_of
from tests.dedup.planted import unit


@pytest.mark.parametrize(
    ("width", "head"), [(48, 0), (64, 0), (112, 0), (128, 64), (256, 128), (512, 192), (1024, 384)]
)
def test_a_head_is_three_eighths_in_whole_steps_and_at_most_half(width: int, head: int) -> None:
    assert head_width(width) == head


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 127))
def test_head_and_tails_bound_the_product_of_whole_codes(seed: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(8, 128)) * np.concatenate([[9.0], np.ones(127)])
    codes = encode(unit(rows))
    heads = heads_of(codes, width)
    scale = codes.scale.astype(np.float64)
    whole, head = (values.astype(np.int64) for values in (codes.values, heads.values))
    scales = np.outer(scale, scale)
    most = (head @ head.T) * scales + np.outer(heads.tail, heads.tail.astype(np.float64))
    assert ((whole @ whole.T) * scales <= most).all()
