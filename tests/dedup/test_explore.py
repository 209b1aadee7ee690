from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import CommunityOptions, Duplicates, GraphOptions, find_duplicates
from dedup.explore import Exploration, explore
from dedup.keepers import choose_keepers
from dedup.options import Level
from dedup.restore import restore
from dedup.solve import solve
from dedup.strata import cuts_around, stratum_of, threshold_grid
from tests.dedup.planted import Array, groups_and_chains

GRID = threshold_grid(0.8, 1.0, 0.02)
#: Every neighbour is listed: what a search misses it would miss in another way on every run.
ALL = GraphOptions("faiss-flat", k=512, max_k=4096)


def planted(seed: int, copies: bool = True) -> Array:
    """Groups, chains and noise; some rows come again, one of them many times."""
    rng = np.random.default_rng(seed)
    vectors = groups_and_chains(rng, groups=20)
    if copies:
        vectors = np.concatenate([vectors, vectors[::5], np.repeat(vectors[:1], 4, axis=0)])
    return vectors[rng.permutation(len(vectors))]


def figures(fresh: Duplicates, threshold: float) -> dict[str, Any]:
    """What one run at one threshold says."""
    _, members = np.unique(fresh.components, return_counts=True)
    removed = int(np.count_nonzero(~fresh.keep))
    return {
        "threshold": threshold,
        "removed": removed,
        "share": removed / len(fresh),
        "clusters": int(np.count_nonzero(members > 1)),
        "largest": int(members.max()),
        "pairs": fresh.pairs().num_rows,
    }


def stored(found: Duplicates, ids: Array) -> pa.Table:
    """The pairs as a corpus stores them: by id."""
    pairs = found.pairs()
    return pa.table(
        {
            "src": ids[pairs["src"].to_numpy()],
            "dst": ids[pairs["dst"].to_numpy()],
            "similarity": pairs["similarity"],
        }
    )


def explored(seed: int, grid: Array = GRID, **options: Any) -> tuple[Exploration, Duplicates]:
    found = find_duplicates(planted(seed), 0.8, floor=0.8, graph=ALL)
    return explore(found.searched, found.rank, grid, **options), found


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_every_threshold_says_what_a_fresh_run_says(seed: int, from_stored: bool) -> None:
    vectors = planted(seed)
    priority = np.random.default_rng(seed).permutation(len(vectors))
    found = find_duplicates(vectors, 0.8, floor=0.8, priority=priority, graph=ALL)
    ids = 7 + 3 * np.arange(len(vectors))
    restored = restore(stored(found, ids), ids, floor=0.8)

    answer = explore(restored if from_stored else found.searched, found.rank, GRID)

    fresh = [find_duplicates(vectors, float(t), priority=priority, graph=ALL) for t in GRID]
    expected = [figures(each, float(t)) for each, t in zip(fresh, GRID, strict=True)]
    assert answer.summary.to_pylist() == expected
    assert answer.count == len(vectors)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_protected_rows_stay_as_in_a_run(seed: int, share: float) -> None:
    """Among them copies of each other, of which all stay."""
    found = find_duplicates(planted(seed), 0.8, floor=0.8, graph=ALL)
    rng = np.random.default_rng(seed)
    rank, protect = rng.permutation(len(found)), rng.random(len(found)) < share
    ids = np.arange(len(found))

    answer = explore(found.searched, rank, GRID, protect=protect)

    for threshold, removed in zip(GRID, answer.summary["removed"].to_pylist(), strict=True):
        level = Level("cluster", float(threshold))
        ran = solve(found.searched, rank, [level], CommunityOptions(), ids, 0, protect=protect)
        assert removed == np.count_nonzero(~ran.keep)
    with pytest.raises(ValueError, match="protect must have shape"):
        explore(found.searched, rank, GRID, protect=protect[:-1])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_more_than_64_thresholds_are_counted_as_the_keepers_choose(seed: int) -> None:
    grid = threshold_grid(0.8, 0.999, 0.001)
    answer, found = explored(seed, grid)
    best = found.rank[found.searched.nodes.best(found.rank)]
    copies = len(found) - len(found.searched.nodes)
    removed = answer.summary["removed"].to_numpy()
    for at in range(0, len(grid), 7):
        kept = choose_keepers(found.searched.graph.above(grid[at]), best).keep
        assert removed[at] == copies + np.count_nonzero(~kept)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_stored_pairs_give_back_the_search(seed: int, copies: bool) -> None:
    vectors = planted(seed, copies)
    found = find_duplicates(vectors, 0.85, floor=0.85, graph=ALL)
    ids = np.sort(np.random.default_rng(seed).choice(1 << 50, len(vectors), replace=False))
    table = stored(found, ids)
    mixed = table.take(np.random.default_rng(seed).permutation(table.num_rows))

    searched = restore(mixed, ids, floor=0.85)

    np.testing.assert_array_equal(searched.nodes.of_row, found.searched.nodes.of_row)
    np.testing.assert_array_equal(searched.nodes.first, found.searched.nodes.first)
    for name in ("src", "dst", "similarity"):
        np.testing.assert_array_equal(
            getattr(searched.graph, name), getattr(found.searched.graph, name)
        )
    assert searched.graph.floor == 0.85


@pytest.mark.parametrize("seed", range(5))
def test_borderline_pairs_are_the_ones_that_a_threshold_decides(seed: int) -> None:
    examples = 3
    answer, found = explored(seed, examples=examples)
    graph, first = found.searched.graph, found.searched.nodes.first
    known = {
        (int(first[a]), int(first[b])): s
        for a, b, s in zip(graph.src, graph.dst, graph.similarity, strict=True)
    }
    rows = answer.borderline.to_pylist()
    seen = [(row["src"], row["dst"]) for row in rows]
    assert len(set(seen)) == len(seen), "a pair is shown once"
    for threshold in GRID.tolist():
        for side, low, high in (
            ("below", threshold - 0.01, threshold),
            ("above", threshold, threshold + 0.01),
        ):
            inside = {
                pair for pair, s in known.items() if low - 1e-12 <= np.float64(s) < high - 1e-12
            }
            if threshold == 1.0 and side == "above":
                inside = {pair for pair, s in known.items() if s == 1.0}
            mine = [r for r in rows if r["threshold"] == threshold and r["side"] == side]
            assert {(row["src"], row["dst"]) for row in mine} <= inside
            assert len(mine) == min(examples, len(inside))
            distance = [abs(row["similarity"] - threshold) for row in mine]
            assert distance == sorted(distance)


def test_unequal_items_whose_cosine_rounds_to_one_stay_apart() -> None:
    """Of copies only the lowest has further pairs; here both have some."""
    edges = pa.table(
        {"src": [0, 0, 1], "dst": [1, 2, 3], "similarity": np.float32([1.0, 0.95, 0.95])}
    )
    searched = restore(edges, np.arange(4), 0.9)
    assert len(searched.nodes) == 4
    # 0 goes for the better 1, which is no neighbour of 2.
    answer = explore(searched, np.array([1, 0, 2, 3]), [0.9])
    assert answer.summary["removed"].to_pylist() == [2]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 12), min_size=1, max_size=40), st.integers(1, 20))
def test_borderline_pairs_spread_over_components(sizes: list[int], examples: int) -> None:
    """Each component is drawn as often as its share of the pairs says, rounded up or down."""
    starts = np.cumsum([0, *sizes])
    ends = [np.triu_indices(size, 1) for size in sizes]
    src = np.concatenate([start + a for start, (a, _) in zip(starts, ends, strict=False)])
    dst = np.concatenate([start + b for start, (_, b) in zip(starts, ends, strict=False)])
    rng = np.random.default_rng(len(src))
    similarity = rng.uniform(0.9001, 0.9049, len(src)).astype(np.float32)
    ids = np.arange(starts[-1])
    name = rng.permutation(ids)  # components lie scattered
    ends_named = np.sort([name[src], name[dst]], axis=0)
    edges = pa.table({"src": ends_named[0], "dst": ends_named[1], "similarity": similarity})

    drawn = explore(restore(edges, ids, 0.9), ids, [0.9, 0.91], examples=examples).borderline

    assert len(drawn) == min(examples, len(src))
    source = np.argsort(name)[drawn["src"].to_numpy()]
    component = np.searchsorted(starts, source, side="right") - 1
    times = np.bincount(component, minlength=len(sizes))
    share = np.array([len(a) for a, _ in ends]) * (len(drawn) / len(src))
    assert (np.floor(share - 1e-9) <= times).all()
    assert (times <= np.ceil(share + 1e-9)).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_stored_pairs_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = find_duplicates(planted(seed), 0.8, floor=0.8, graph=ALL)
    ids = np.sort(rng.choice(1 << 40, len(found), replace=False))
    table = stored(found, ids)
    straight = explore(restore(table, ids, 0.8), found.rank, GRID, ids)
    mixed = table.take(rng.permutation(table.num_rows))
    other = explore(restore(mixed, ids, 0.8), found.rank, GRID, ids)
    assert straight.summary.equals(other.summary)
    assert straight.borderline.equals(other.borderline)
    assert set(straight.borderline["src"].to_pylist()) <= set(ids.tolist())


def test_another_seed_draws_other_pairs_and_the_same_figures() -> None:
    one, found = explored(0, np.array([0.9]), examples=2)
    other = explore(found.searched, found.rank, [0.9], examples=2, seed=1)
    assert one.summary.equals(other.summary)
    assert not one.borderline.equals(other.borderline)
    none, _ = explored(0, examples=0)
    assert none.borderline.num_rows == 0


def test_the_wide_slice_at_the_top_is_drawn_by_its_width() -> None:
    """So that labels are as dense there as elsewhere, up to ten times as many as of a slice."""
    count = 3000
    src = 2 * np.arange(count)
    similarity = np.linspace(0.8501, 0.9999, count).astype(np.float32)
    edges = pa.table({"src": src, "dst": src + 1, "similarity": similarity})
    searched, rank = restore(edges, np.arange(2 * count), 0.85), np.arange(2 * count)
    for grid, times in (([0.9, 0.99], 1), ([0.9, 0.98], 1), ([0.96, 0.98], 2), ([0.91, 0.92], 10)):
        drawn = explore(searched, rank, grid, examples=3).borderline
        sides = drawn.filter(pc.equal(drawn["threshold"], grid[-1]))["side"].to_pylist()
        assert (sides.count("below"), sides.count("above")) == (3, 3 * times)


def test_pairs_are_drawn_evenly() -> None:
    """Labels of the drawn pairs stand for the slice: every pair is as likely as another."""
    count = 400
    src = 2 * np.arange(count)
    similarity = np.linspace(0.9001, 0.9049, count).astype(np.float32)
    edges = pa.table({"src": src, "dst": src + 1, "similarity": similarity})
    searched = restore(edges, np.arange(2 * count), floor=0.9)
    rank = np.arange(2 * count)
    drawn = [
        explore(searched, rank, [0.9, 0.91], examples=8, seed=seed).borderline["src"].to_numpy()
        for seed in range(200)
    ]
    times = np.bincount(np.concatenate(drawn) // 2, minlength=count)
    # 1,600 draws over 400 pairs: 4 each, and a chi-square of 399 +- 28.
    assert abs(((times - 4.0) ** 2 / 4.0).sum() - 399) < 5 * 28
    # Neighbours by id are drawn together as often as any two: 28 times in expectation.
    together = sum(np.count_nonzero(np.diff(np.sort(each)) == 2) for each in drawn)
    assert 10 < together < 60


def test_none_and_one_and_no_pairs() -> None:
    empty = pa.table({"src": np.zeros(0, int), "dst": np.zeros(0, int)}).append_column(
        "similarity", pa.array([], pa.float32())
    )
    for count in (0, 1, 3):
        searched = restore(empty, np.arange(count))
        answer = explore(searched, np.arange(count), [-0.5, 0.9])
        assert answer.summary["removed"].to_pylist() == [0, 0]
        assert answer.summary["share"].to_pylist() == [0.0, 0.0]
        assert answer.summary["clusters"].to_pylist() == [0, 0]
        assert answer.summary["largest"].to_pylist() == [min(count, 1)] * 2
        assert answer.borderline.num_rows == 0


def test_copies_go_at_every_threshold_and_are_no_borderline_pairs() -> None:
    edges = pa.table(
        {"src": [0, 0, 0], "dst": [1, 2, 3], "similarity": np.float32([1.0, 1.0, 0.95])}
    )
    # The copy 2 is the best of the node, so that the near-copy 3 goes, though 0 is worse than it.
    rank = np.array([3, 2, 0, 1])
    answer = explore(restore(edges, np.arange(4), 0.9), rank, [0.9, 0.99, 1.0])
    assert answer.summary["removed"].to_pylist() == [3, 2, 2]
    assert answer.summary["clusters"].to_pylist() == [1, 1, 1]
    assert answer.summary["largest"].to_pylist() == [4, 3, 3]
    assert answer.summary["pairs"].to_pylist() == [3, 2, 2]
    assert answer.borderline.select(["threshold", "src", "dst"]).to_pylist() == [
        {"threshold": 0.99, "src": 0, "dst": 3}
    ]


def test_a_threshold_is_compared_in_float64() -> None:
    """0.9 as float32 is below 0.9: a pair stored at it does not reach the threshold."""
    edges = pa.table({"src": [0], "dst": [1], "similarity": np.float32([0.9])})
    answer = explore(restore(edges, np.arange(2), 0.8), np.arange(2), [0.899, 0.9])
    assert answer.summary["removed"].to_pylist() == [1, 0]
    assert answer.borderline["side"].to_pylist() == ["below"]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ([], "1 to 1000 thresholds"),
        ([0.9, 0.8], "must ascend"),
        ([0.9, 0.9], "must ascend"),
        ([0.9, 1.1], r"in \[-1, 1\], got 1.1"),
        ([float("nan")], "got nan"),
        ([0.7, 0.9], r"0\.7 lies below the floor 0\.8 of the stored pairs"),
    ],
)
def test_wrong_grids_are_refused(grid: list[float], message: str) -> None:
    found = find_duplicates(planted(0), 0.8, floor=0.8)
    with pytest.raises(ValueError, match=message):
        explore(found.searched, found.rank, grid)


@pytest.mark.parametrize(
    ("low", "high", "step", "message"),
    [
        (0.9, 0.8, 0.01, "highest threshold 0.8 lies below the lowest 0.9"),
        (0.7, 0.9, 0.0, "above 0, got 0"),
        (0.7, 0.9, 1e-6, "at most 1000 thresholds are explored, got 200000"),
        (-2, 0.9, 0.1, r"lowest threshold must be in \[-1, 1\], got -2"),
        (0.7, 1.2, 0.1, r"highest threshold must be in \[-1, 1\], got 1.2"),
    ],
)
def test_wrong_steps_are_refused(low: float, high: float, step: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        threshold_grid(low, high, step)


def test_a_grid_holds_the_numbers_that_people_write() -> None:
    assert threshold_grid(0.7, 0.99, 0.01).tolist() == [round(n / 100, 2) for n in range(70, 100)]
    assert threshold_grid(0.9, 0.9, 0.01).tolist() == [0.9]
    assert cuts_around([0.9]).tolist() == [0.895, 0.9]
    assert cuts_around([0.98, 0.99, 1.0]).tolist() == [0.975, 0.98, 0.985, 0.99, 0.995, 1.0]
    assert cuts_around([-1.0, 0.0]).tolist() == [-1.0, -0.5, 0.0]
    assert stratum_of(np.float32([-1, 0.896, 0.9, 1]), cuts_around([0.9])).tolist() == [-1, 0, 0, 1]


@pytest.mark.parametrize(
    ("src", "dst", "message"),
    [
        ([10, 10], [20, 25], r"not compared: 25"),
        ([20], [10], "1 pairs do not have src < dst"),
        ([99], [100], "not compared: 99"),
    ],
)
def test_pairs_that_do_not_fit_the_items_are_refused(
    src: list[int], dst: list[int], message: str
) -> None:
    edges = pa.table({"src": src, "dst": dst, "similarity": np.full(len(src), 0.9, np.float32)})
    with pytest.raises(ValueError, match=message):
        restore(edges, np.array([10, 20, 30]))


def test_the_floor_of_a_search_is_kept() -> None:
    found = find_duplicates(planted(3), 0.9, floor=0.8, graph=ALL)
    at_floor = explore(found.searched, found.rank, [0.8])
    assert at_floor.summary["pairs"].to_pylist() == [found.rethreshold(0.8).pairs().num_rows]
