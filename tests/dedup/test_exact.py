from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.exact import collapse, first_of_equal, first_of_equal_added


@given(st.lists(st.one_of(st.none(), st.sampled_from("abcd"))))
def test_first_of_equal_points_at_the_first_holder(values: list[str | None]) -> None:
    first = first_of_equal(pa.array(values, pa.string()))
    for row, value in enumerate(values):
        assert first[row] == (row if value is None else values.index(value))


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.sampled_from("abcd"))), st.integers(0, 9))
def test_what_is_known_of_the_first_rows_spares_looking_again(
    values: list[str | None], count: int
) -> None:
    column = pa.chunked_array([pa.array(values, pa.string())])
    before = first_of_equal(column.slice(0, count))
    assert first_of_equal_added(column, before).tolist() == first_of_equal(column).tolist()


def test_rows_equal_in_any_sense_are_one_node() -> None:
    same_bytes = first_of_equal(pa.array(["a", "b", "a", "c", "d"]))
    same_vector = first_of_equal(pa.array(["v", "w", "x", "x", "y"]))

    nodes = collapse([same_bytes, same_vector])

    assert nodes.of_row.tolist() == [0, 1, 0, 0, 2]
    assert nodes.first.tolist() == [0, 1, 4]


def test_best_and_spokesman_of_a_node() -> None:
    nodes = collapse([np.array([0, 0, 2, 0, 2])])
    assert nodes.best(np.array([4, 3, 1, 0, 2])).tolist() == [3, 2]
    assert nodes.spokesman(np.array([False, True, True, True, True])).tolist() == [1, 2]
    assert nodes.spokesman(np.zeros(5, dtype=bool)).tolist() == [0, 2]
