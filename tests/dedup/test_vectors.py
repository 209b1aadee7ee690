from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from dedup.vectors import cosine, digests, from_arrow, unit_vectors
from tests.dedup.planted import Array


def test_rows_of_any_length_become_unit_rows() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 7)) * 10.0 ** rng.integers(-30, 30, (50, 1))

    units, valid = unit_vectors(vectors)

    assert units.dtype == np.float32
    assert valid.all()
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1.0, atol=1e-6)


def test_rows_without_direction_are_named() -> None:
    vectors = np.ones((9, 4), dtype=np.float32)
    vectors[2] = 0
    vectors[5, 1] = np.nan
    vectors[7, 0] = np.inf

    with pytest.raises(ValueError, match=r"rows 2, 5, 7: remove them"):
        unit_vectors(vectors)

    units, valid = unit_vectors(vectors, invalid="single")
    assert np.flatnonzero(~valid).tolist() == [2, 5, 7]
    assert np.isfinite(units).all()


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones(3), "shape"),
        (np.ones((3, 0)), "shape"),
        (np.ones((3, 2), dtype=np.int64), "float16, float32 or float64, got int64"),
    ],
)
def test_wrong_arrays_are_refused(vectors: Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unit_vectors(vectors)


def test_cosine_is_the_same_from_both_sides_and_in_any_company() -> None:
    rng = np.random.default_rng(1)
    units, _ = unit_vectors(rng.normal(size=(300, 129)).astype(np.float16))
    src, dst = rng.integers(0, 300, (2, 2000))

    together = cosine(units, src, dst)

    np.testing.assert_array_equal(together, cosine(units, dst, src))
    alone = [cosine(units, src[at : at + 1], dst[at : at + 1])[0] for at in range(0, 2000, 97)]
    np.testing.assert_array_equal(together[::97], alone)
    assert np.abs(together).max() <= 1.0


def test_digests_see_equality_of_direction_and_the_sign_of_zero() -> None:
    vectors = np.array([[1.0, 0.0], [4.0, -0.0], [1.0, 1e-3], [0.0, 0.0]])
    found = digests(*unit_vectors(vectors, invalid="single")).to_pylist()
    assert found[0] == found[1] != found[2]
    assert found[3] is None


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float16()), pa.large_list(pa.float32()), pa.list_(pa.float64(), 3)]
)
def test_lists_of_any_kind_become_rows(kind: pa.DataType) -> None:
    values = [[1.0, 2.0, 3.0], None, [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
    column = pa.chunked_array([pa.array(values, kind), pa.array(values[2:], kind)]).slice(1)

    rows = from_arrow(column)

    assert rows.shape == (5, 3)
    assert rows.dtype == kind.value_type.to_pandas_dtype()
    assert np.isnan(rows[0]).all()
    np.testing.assert_array_equal(rows[1:3], [[4, 5, 6], [7, 8, 9]])
    np.testing.assert_array_equal(rows[3:], [[4, 5, 6], [7, 8, 9]])


def test_lists_of_different_lengths_are_refused() -> None:
    column = pa.array([[1.0, 2.0], [1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="first has 2 dimensions, row 1 has 3"):
        from_arrow(column)
    with pytest.raises(ValueError, match="got int64"):
        from_arrow(pa.array([1, 2]))


def test_an_empty_column_gives_no_rows() -> None:
    assert from_arrow(pa.array([], pa.list_(pa.float16()))).shape == (0, 1)
    assert from_arrow(pa.chunked_array([], pa.list_(pa.float32()))).shape == (0, 1)
