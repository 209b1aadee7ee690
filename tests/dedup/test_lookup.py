"""Rows of ids, and which ids are among others: against dictionaries and sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.cells.among import IdFilter
from dedup.lookup import Rows

IDS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), unique=True),
    st.lists(st.integers(0, 50), unique=True),
    # As items are numbered: runs that start far from each other, some rows missing.
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), unique=True).map(
        lambda pairs: [(part << 20) + row for part, row in pairs]
    ),
)


@settings(deadline=None)
@given(IDS, st.data())
def test_every_id_has_its_row_and_no_other_has_one(ids: list[int], data: st.DataObject) -> None:
    ids = sorted(ids)
    asked = data.draw(st.lists(st.sampled_from(ids))) if ids else []
    asked += data.draw(st.lists(st.integers(-(2**63), 2**63 - 1)))
    row = {each: place for place, each in enumerate(ids)}
    rows = Rows(np.array(ids, dtype=np.int64))
    wanted = np.array(asked, dtype=np.int64)
    assert rows.find(wanted).tolist() == [row.get(each, -1) for each in asked]
    if all(each in row for each in asked):
        assert rows(wanted).tolist() == [row[each] for each in asked]
    else:
        with pytest.raises(ValueError, match="belong to no node"):
            rows(wanted)


@settings(deadline=None)
@given(IDS, IDS)
def test_the_filter_passes_the_wanted_and_no_others(wanted: list[int], others: list[int]) -> None:
    asked = np.array([*wanted, *others], dtype=np.int64)
    among = IdFilter(np.unique(np.array(wanted, dtype=np.int64)))
    assert among(asked).tolist() == [at for at, each in enumerate(asked) if each in set(wanted)]


@settings(deadline=None)
@given(st.sets(st.integers(0, 60)), st.sampled_from([1, 1 << 40]), st.integers(-5, 5))
def test_pairs_of_what_is_wanted_go_by_place(wanted: set[int], step: int, start: int) -> None:
    # Whole components only: here, ids of the same parity.
    ids = np.array(sorted({2 * each * step + start for each in wanted}), dtype=np.int64)
    everyone = np.arange(130) * step + start
    src, dst = everyone[:-2], everyone[2:]
    inside = np.isin(src, ids) & np.isin(dst, ids)
    one_end = np.isin(src, ids) & ~inside
    alike = np.linspace(0, 1, len(src), dtype=np.float32)
    one_share = (np.zeros(len(ids), dtype=np.int64), np.arange(len(ids), dtype=np.int32), 1)
    _, low, high, similarity = IdFilter(ids).dealt(
        src[~one_end], dst[~one_end], alike[~one_end], *one_share
    )
    assert ids[low].tolist() == src[inside].tolist()
    assert ids[high].tolist() == dst[inside].tolist()
    assert similarity.tolist() == alike[inside].tolist()
    if one_end.any():
        with pytest.raises(ValueError, match="wanted|belong"):
            IdFilter(ids).dealt(src, dst, alike, *one_share)


@pytest.mark.parametrize("ids", [[3, 3], [4, 1]])
def test_ids_out_of_order_are_refused(ids: list[int]) -> None:
    with pytest.raises(ValueError, match="strictly ascending"):
        Rows(np.array(ids))
