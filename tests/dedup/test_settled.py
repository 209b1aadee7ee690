"""What new rows do not touch stays decided: the same as deciding everything anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import CommunityOptions, Decisions, DedupOptions, GraphOptions, deduplicate
from dedup.cells import graph as cells
from dedup.cells.source import ArraySource
from dedup.cells.store import MemoryStore
from dedup.engine import Session
from dedup.policy import policy_rank, sees_other_rows
from dedup.settled import Settled
from tests.dedup.planted import Array, groups_and_chains, items_table

OPTIONS = DedupOptions(graph=GraphOptions(threads=1))


@pytest.fixture(autouse=True)
def small_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "ONE_CELL", 100)
    monkeypatch.setattr(cells, "CELL_ROWS", 40)


def pool(seed: int) -> tuple[pa.Table, Array]:
    """Items of several batches: near-copies, equal vectors, equal bytes, close hashes, zeros."""
    rng = np.random.default_rng(seed)
    vectors = groups_and_chains(rng, groups=40, chains=20, singles=60, width=16)
    vectors = np.concatenate([vectors, vectors[::9]])
    vectors[rng.integers(0, len(vectors), 3)] = 0
    vectors = vectors[rng.permutation(len(vectors))]
    count = len(vectors)
    hashes = rng.choice(np.array([0, 3, 255, 511], dtype=np.uint64), count)
    items = items_table(rng, count, 1 << 40, phash=pa.array(hashes, mask=rng.random(count) < 0.7))
    sha = items["sha256"].to_pylist()
    for one, other in rng.integers(0, count, (12, 2)).tolist():
        sha[max(one, other)] = sha[min(one, other)]
    items = items.set_column(1, "sha256", pa.array(sha))
    return items.append_column("batch", pa.array(rng.integers(0, 2, count))), vectors


def decide(
    items: pa.Table, vectors: Array, cuts: list[int], options: DedupOptions
) -> tuple[Decisions, Session]:
    """Decide about the rows up to each cut in turn."""
    session = Session(None, MemoryStore())
    start = 0
    for stop in cuts:
        session.added = ArraySource(vectors[start:stop], 64, start)
        source = ArraySource(vectors[:stop], 64)
        decided = deduplicate(items.slice(0, stop), source, options, session)
        start = stop
    return decided, session


def anew(items: pa.Table, vectors: Array, options: DedupOptions, session: Session) -> Decisions:
    """The same graph, with everything decided anew."""
    fresh = Session(None, session.store, kept=session.kept)
    return deduplicate(items, ArraySource(vectors, 64), options, fresh)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.one_of(
        st.lists(st.floats(0.1, 0.999), min_size=1, max_size=3),
        st.lists(st.floats(0.93, 0.999), min_size=1, max_size=5),  # a few rows at a time
    ),
    st.sampled_from(["component", "community"]),
    st.sampled_from(["", "width % 5 = 0"]),
    st.sampled_from([4, 1024]),
    st.sampled_from([1, 3]),
)
def test_deciding_what_is_touched_equals_deciding_everything(
    seed: int, shares: list[float], within: Any, protect: str, most: int, threads: int
) -> None:
    items, vectors = pool(seed)
    cuts = [*sorted(int(share * len(vectors)) for share in shares), len(vectors)]
    options = replace(
        OPTIONS,
        graph=GraphOptions(threads=threads, max_k=most, k=min(most, 32)),
        communities=CommunityOptions(within=within),
        protect=protect,
    )

    decided, session = decide(items, vectors, cuts, options)
    expected = anew(items, vectors, options, session)

    assert decided.decisions.equals(expected.decisions)
    assert decided.edges.equals(expected.edges)
    assert decided.stats == expected.stats


def test_only_the_components_of_new_rows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    items, vectors = pool(1)
    ranked: list[int] = []
    real = policy_rank

    def watched(table: pa.Table, order: str) -> Any:
        ranked.append(table.num_rows)
        return real(table, order)

    monkeypatch.setattr("dedup.decide.policy_rank", watched)
    decide(items, vectors, [len(vectors) - 5, len(vectors)], OPTIONS)
    assert ranked[0] == len(vectors) - 5
    assert ranked[1] < len(vectors) / 2


def test_other_settings_take_nothing_over() -> None:
    items, vectors = pool(2)
    _, session = decide(items, vectors, [len(vectors) - 40, len(vectors)], OPTIONS)
    session.added = None
    source = ArraySource(vectors, 64)
    for change in ({"keep": "item_id desc"}, {"threshold": 0.93, "subject": 0.75}):
        options = replace(OPTIONS, **change)
        decided = deduplicate(items, source, options, session)
        expected = anew(items, vectors, options, session)
        assert decided.decisions.equals(expected.decisions)


def test_a_policy_that_looks_at_other_rows_decides_everything_anew() -> None:
    assert sees_other_rows("count(*) over (partition by width)")
    assert sees_other_rows("width = (select max(width) from items)")
    assert not sees_other_rows("width * height desc, bytes")
    items, vectors = pool(3)
    options = replace(OPTIONS, keep="count(*) over (partition by width) desc")
    decided, session = decide(items, vectors, [len(vectors) - 40, len(vectors)], options)
    assert session.recipe == ""
    assert decided.decisions.equals(anew(items, vectors, options, session).decisions)


def test_what_is_settled_can_be_saved() -> None:
    items, vectors = pool(4)
    _, session = decide(items, vectors, [len(vectors)], OPTIONS)
    assert session.settled is not None
    arrays = session.settled.arrays()
    again = Settled.from_arrays(arrays)
    for name, values in again.arrays().items():
        np.testing.assert_array_equal(values, arrays[name])


@pytest.mark.parametrize("quality", ["cpm", "modularity"])
def test_the_number_of_threads_and_so_of_shares_changes_nothing(quality: Any) -> None:
    items, vectors = pool(5)
    cuts = [len(vectors) - 60, len(vectors)]
    communities = CommunityOptions(quality, within="community")
    options = replace(OPTIONS, communities=communities, protect="width % 7 = 0")
    expected, _ = decide(items, vectors, cuts, options)
    for threads in (2, 7):
        graph = GraphOptions(threads=threads)
        found, _ = decide(items, vectors, cuts, replace(options, graph=graph))
        assert found.decisions.equals(expected.decisions)
        assert found.stats == expected.stats
