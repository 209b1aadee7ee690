from __future__ import annotations

import numpy as np
import pytest

from dedup.units import as_units, cosine, hash_rows


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_of_any_length_become_unit_rows(dtype: type) -> None:
    rng = np.random.default_rng(0)
    powers = {np.float16: 2, np.float32: 18, np.float64: 200}[dtype]
    vectors = rng.normal(size=(50, 7)) * 10.0 ** rng.integers(-powers, powers, (50, 1))

    units, valid = as_units(vectors.astype(dtype))

    assert units.dtype == np.float32
    assert valid.all()
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1.0, atol=1e-6)


def test_rows_without_direction_become_zeros() -> None:
    vectors = np.ones((9, 4), dtype=np.float32)
    vectors[2] = 0
    vectors[5, 1] = np.nan
    vectors[7, 0] = np.inf

    units, valid = as_units(vectors)

    assert np.flatnonzero(~valid).tolist() == [2, 5, 7]
    assert not units[[2, 5, 7]].any()
    assert np.isfinite(units).all()


def test_cosine_is_the_same_from_both_sides_and_in_any_company() -> None:
    rng = np.random.default_rng(1)
    units, _ = as_units(rng.normal(size=(300, 129)).astype(np.float16))
    src, dst = rng.integers(0, 300, (2, 2000))

    together = cosine(units, src, dst)

    np.testing.assert_array_equal(together, cosine(units, dst, src))
    alone = [cosine(units, src[at : at + 1], dst[at : at + 1])[0] for at in range(0, 2000, 97)]
    np.testing.assert_array_equal(together[::97], alone)
    exact = np.einsum("ij,ij->i", units[src].astype(np.float64), units[dst].astype(np.float64))
    np.testing.assert_allclose(together, exact, atol=6e-8)
    assert np.abs(together).max() <= 1.0


def test_hashes_see_equality_of_direction_and_the_sign_of_zero() -> None:
    vectors = np.array([[1.0, 0.0], [4.0, -0.0], [1.0, 1e-3]])
    hashes = hash_rows(as_units(vectors)[0])
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("width", [1, 3, 8])
def test_different_rows_have_different_hashes(width: int) -> None:
    rows = np.random.default_rng(2).normal(size=(20_000, width)).astype(np.float16)
    distinct = len(np.unique(rows, axis=0))
    assert len(np.unique(hash_rows(rows))) == distinct
