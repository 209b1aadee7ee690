"""How the components that new rows join are dealt into shares."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.cells.among import IdFilter
from dedup.later import deal
from dedup.search import Shares


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50)), max_size=60), st.integers(1, 9))
def test_components_are_dealt_whole_and_evenly(rows: list[tuple[int, int]], count: int) -> None:
    group = np.array([each for each, _ in rows], dtype=np.int64)
    cost = np.array([each for _, each in rows], dtype=np.int64)
    first = np.array([rows.index(next(row for row in rows if row[0] == each)) for each in group])
    root = first.astype(np.int64)
    shares = Shares.of(deal(root, cost, count))
    assert sorted(np.concatenate(shares.rows).tolist()) == list(range(len(rows)))
    assert 1 <= len(shares) <= count
    for number, own in enumerate(shares.rows):
        assert (shares.share[own] == number).all()
        assert shares.place[own].tolist() == list(range(len(own)))
    for each in set(group.tolist()):
        assert len(set(shares.share[group == each].tolist())) == 1
    # No share is heavier than another by more than one component.
    loads = np.zeros(count)
    loads[: len(shares)] = [cost[own].sum() for own in shares.rows]
    heaviest = max((cost[group == each].sum() for each in set(group.tolist())), default=0)
    assert loads.max() - loads.min() <= heaviest


def test_pairs_go_to_the_share_of_their_rows() -> None:
    rng = np.random.default_rng(0)
    shares = Shares.of(rng.integers(0, 4, 100))
    src = rng.integers(0, 100, 300)
    dst = np.array([rng.choice(shares.rows[shares.share[row]]) for row in src])
    alike = rng.random(300).astype(np.float32)
    for gap in (1, 1 << 40):  # with a table of all ids, and without
        ids = np.arange(100) * gap
        starts, low, high, likeness = IdFilter(ids).dealt(
            ids[src], ids[dst], alike, shares.share, shares.place, 4
        )
        for number, own in enumerate(shares.rows):
            cut = slice(starts[number], starts[number + 1])
            mine = shares.share[src] == number
            assert own[low[cut]].tolist() == src[mine].tolist()
            assert own[high[cut]].tolist() == dst[mine].tolist()
            assert likeness[cut].tolist() == alike[mine].tolist()
