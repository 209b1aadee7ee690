from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from dedup.vectors import check_shape, from_arrow
from tests.dedup.planted import Array


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
        check_shape(vectors)


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
