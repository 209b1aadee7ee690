from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.words import perhaps_among

WORDS = st.text("ab\u00e9", max_size=20)
TYPES = [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view()]


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.none(), WORDS)),
    st.lists(WORDS),
    st.sampled_from(TYPES),
    st.integers(0, 5),
)
def test_no_wanted_string_is_missed(
    values: list[str | None], wanted: list[str], kind: Any, skipped: int
) -> None:
    # A view that starts in the middle of its buffers, and in chunks.
    chunks = [pa.array(["x" * skipped, *values], pa.string()).cast(kind)[1:]] * 2
    column = pa.chunked_array(chunks, type=kind)
    found = set(perhaps_among(column, pa.array(wanted, pa.string()).cast(kind)).tolist())
    assert {at for at, value in enumerate(values * 2) if value in wanted} <= found


@pytest.mark.parametrize("kind", [pa.string(), pa.binary()])
def test_few_others_pass(kind: Any) -> None:
    digests = [f"{number * 7919:064x}" for number in range(5000)]
    found = perhaps_among(pa.array(digests).cast(kind), pa.array(digests[:50]).cast(kind))
    assert found[:50].tolist() == list(range(50))
    assert len(found) < 500
