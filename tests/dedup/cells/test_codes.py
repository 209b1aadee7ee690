from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.cells.assign import centroid_codes, nearest, nearest_in_lists
from dedup.cells.codes import encode, padded
from dedup.cells.products import products
from dedup.units import as_units
from tests.dedup.planted import groups_and_chains


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 70),
    st.sampled_from(["normal", "spiky", "one-hot"]),
)
def test_products_of_codes_stay_within_the_margin_of_the_cosine(
    seed: int, width: int, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(40, width))
    if kind == "spiky":
        rows[:, 0] *= 50
    if kind == "one-hot":
        rows = np.eye(width)[rng.integers(0, width, 40)]
    units, _ = as_units(rows)

    codes = encode(units)
    scaled = codes.scale[:, None].astype(np.float64) * codes.scale
    found = products(codes.values, codes.values) * scaled

    true = units.astype(np.float64) @ units.T.astype(np.float64)
    error = codes.error.astype(np.float64)
    bound = error[:, None] + error + error[:, None] * error + 1e-6
    assert (np.abs(found - true) <= bound).all()


@pytest.mark.parametrize(("left", "right"), [(1, 1), (3, 5), (17, 33), (600, 1100)])
@pytest.mark.parametrize("width", [1, 16, 500, 3000])
def test_every_arithmetic_gives_the_same_integers(left: int, right: int, width: int) -> None:
    rng = np.random.default_rng(0)
    # The largest magnitudes: where a float32 sum would round first.
    codes = rng.choice(np.array([-127, 126, 127], dtype=np.int8), (left + right, padded(width)))
    a, b = codes[:left], codes[left:]
    true = a.astype(np.int64) @ b.astype(np.int64).T
    for arithmetic in ("int8", "float32"):
        np.testing.assert_array_equal(products(a, b, arithmetic), true)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 200), st.integers(1, 5), st.floats(0, 0.5))
def test_nearest_centroids_are_those_with_the_largest_products(
    seed: int, count: int, most: int, slack: float
) -> None:
    rng = np.random.default_rng(seed)
    rows = encode(as_units(groups_and_chains(rng))[0])
    centroids = centroid_codes(as_units(rng.normal(size=(count, 32)))[0])

    found = nearest(rows, centroids, most, slack)

    exact = products(rows.values, centroids.values).astype(np.int64)
    reach = np.floor(slack / (rows.scale.astype(np.float64) * centroids.scale))
    for row in range(len(rows)):
        order = sorted(range(count), key=lambda at: (-exact[row, at], at))[:most]
        close = exact[row, order[0]] - reach[row]
        expected = [at for k, at in enumerate(order) if k == 0 or exact[row, at] >= close]
        kept = [at for at in found[row].tolist() if at >= 0]
        assert kept == expected[: len(kept)]
        assert len(kept) == len(expected)


def test_lists_that_hold_everything_answer_as_one_list_does() -> None:
    rng = np.random.default_rng(3)
    rows = encode(as_units(rng.normal(size=(300, 24)))[0])
    centroids = centroid_codes(as_units(rng.normal(size=(130, 24)))[0])
    bounds = np.array([0, 10, 10, 75, 130])
    every = np.tile(np.arange(4, dtype=np.int32), (300, 1))

    split = nearest_in_lists(rows, centroids, every, bounds, 3, 0.2)

    np.testing.assert_array_equal(split, nearest(rows, centroids, 3, 0.2))
