from __future__ import annotations

import pyarrow as pa
import pytest

from dedup.policy import policy_rank


@pytest.fixture
def items() -> pa.Table:
    return pa.table(
        {
            "item_id": [10, 11, 12, 13],
            "width": pa.array([100_000, 50, 50, None], pa.int32()),
            "height": pa.array([100_000, 50, 50, 1], pa.int32()),
            "bytes": [5, 7, 9, 1],
            "phash": pa.array([2**64 - 1, 0, 1, 2], pa.uint64()),
            "vector": pa.array([[1.0]] * 4, pa.list_(pa.float16())),
        }
    )


@pytest.mark.parametrize(
    ("order", "rank"),
    [
        ("width*height desc, bytes desc, item_id", [0, 2, 1, 3]),
        ("width*height", [2, 0, 1, 3]),
        ("case when bytes > 6 then 0 else 1 end, width desc", [2, 0, 1, 3]),
        ("phash desc", [0, 3, 2, 1]),
        ("item_id desc", [3, 2, 1, 0]),
        ("bytes -- smallest files first", [1, 2, 3, 0]),
        ("", [0, 1, 2, 3]),
    ],
)
def test_rank_follows_the_terms_with_nulls_last_and_ties_by_id(
    items: pa.Table, order: str, rank: list[int]
) -> None:
    assert policy_rank(items, order).tolist() == rank


@pytest.mark.parametrize(
    "order", ["aesthetics desc", "width **", "bytes limit 2\n--", "; drop table items", "random()"]
)
def test_a_policy_that_does_not_work_lists_the_columns(items: pa.Table, order: str) -> None:
    with pytest.raises(ValueError, match=r"(?s)keep policy .* columns: bytes, height, item_id"):
        policy_rank(items, order)


def test_no_items_have_no_ranks(items: pa.Table) -> None:
    assert policy_rank(items.slice(0, 0), "width desc").tolist() == []
