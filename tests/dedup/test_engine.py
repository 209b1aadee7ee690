from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import CommunityOptions, Decisions, DedupOptions, GraphOptions, deduplicate
from tests.dedup.planted import Array, groups_and_chains, items_table, unit

LARGE = (1 << 31) + (5 << 20)


def pool(seed: int, first_id: int = LARGE) -> tuple[pa.Table, Array]:
    """Groups, chains, byte-equal copies and hashes that agree within and across groups."""
    rng = np.random.default_rng(seed)
    vectors = groups_and_chains(rng, groups=6, chains=4, singles=8, width=16)
    originals = len(vectors)
    vectors = np.concatenate([vectors, vectors[::5]])
    count = len(vectors)
    hashes = rng.choice(np.array([0, 3, 255, 511], dtype=np.uint64), count)
    items = items_table(rng, count, first_id, phash=pa.array(hashes, mask=rng.random(count) < 0.1))
    # Every other one of the repeated vectors has the bytes of its original, too.
    sha, repeats = items["sha256"].to_pylist(), range(0, originals, 5)
    for copy, original in list(enumerate(repeats, start=originals))[::2]:
        sha[copy] = sha[original]
    items = items.set_column(1, "sha256", pa.array(sha))
    return items, vectors


def by_id(decisions: pa.Table) -> dict[int, dict[str, Any]]:
    return {row["item_id"]: row for row in decisions.to_pylist()}


def decide(items: pa.Table, vectors: Array, **options: Any) -> Decisions:
    return deduplicate(items, vectors, DedupOptions(**options))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["component", "community"]))
def test_all_removed_items_have_a_kept_better_witness_and_a_reason(seed: int, within: Any) -> None:
    items, vectors = pool(seed)
    decided = decide(items, vectors, communities=CommunityOptions(within=within))

    rows = by_id(decided.decisions)
    facts = {row["item_id"]: row for row in items.to_pylist()}
    assert list(rows) == items["item_id"].to_pylist()
    for item, row in rows.items():
        if row["keep"]:
            assert row["witness_id"] is row["witness_similarity"] is row["reason"] is None
            continue
        mine, witness = facts[item], facts[row["witness_id"]]
        assert rows[row["witness_id"]]["keep"]
        true = float(vectors[item - LARGE] @ vectors[row["witness_id"] - LARGE])
        assert true >= 0.9 - 1e-5
        assert row["witness_similarity"] == pytest.approx(true, abs=1e-5)
        assert row["witness_similarity"] >= 0.9
        assert better(witness) < better(mine)
        assert row["reason"] == reason(mine, witness)
    reasons = pc.value_counts(decided.decisions["reason"].drop_null()).to_pylist()
    for each in reasons:
        assert decided.stats[f"removed_{each['values']}"] == each["counts"]
    assert decided.stats["kept"] == sum(row["keep"] for row in rows.values())


def better(item: dict[str, Any]) -> tuple[int, int, int]:
    """Sorts as the default policy does."""
    return (-item["width"] * item["height"], -item["bytes"], item["item_id"])


def reason(item: dict[str, Any], witness: dict[str, Any]) -> str:
    if item["sha256"] == witness["sha256"]:
        return "exact"
    if None in (item["phash"], witness["phash"]):
        return "semantic"
    return "perceptual" if (item["phash"] ^ witness["phash"]).bit_count() <= 4 else "semantic"


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["component", "community"]))
def test_order_of_items_and_threads_change_nothing(seed: int, within: Any) -> None:
    items, vectors = pool(seed)
    order = np.random.default_rng(seed + 1).permutation(len(vectors))
    options = {"communities": CommunityOptions(within=within)}

    straight = decide(items, vectors, graph=GraphOptions(threads=1), **options)
    mixed = decide(
        items.take(pa.array(order)), vectors[order], graph=GraphOptions(threads=2), **options
    )

    assert straight.decisions.equals(mixed.decisions)
    assert straight.edges.equals(mixed.edges)
    assert straight.stats == mixed.stats


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_within_components_a_second_run_removes_nothing(seed: int) -> None:
    items, vectors = pool(seed)
    kept = decide(items, vectors).decisions["keep"]
    again = decide(items.filter(kept), vectors[kept.to_numpy()])
    assert pc.all(again.decisions["keep"]).as_py()


def test_unrelated_items_do_not_sway_the_communities_of_others() -> None:
    rng = np.random.default_rng(3)
    vectors = groups_and_chains(rng, groups=0, chains=60, singles=0, width=64)
    loner = unit(rng.normal(size=(1, 64)))
    items = items_table(rng, len(vectors) + 1, LARGE)
    options = {"communities": CommunityOptions("modularity"), "variant": 0.89, "subject": 0.88}

    alone = by_id(decide(items.slice(1), vectors, **options).decisions)
    beside = by_id(decide(items, np.concatenate([loner, vectors]), **options).decisions)

    assert beside.pop(LARGE)["keep"]
    assert beside == alone


def test_levels_nest_and_bear_the_lowest_id_inside() -> None:
    items, vectors = pool(1)
    rows = decide(items, vectors).decisions.to_pylist()
    for name in ("component", "cluster", "variant", "subject"):
        members: dict[int, list[int]] = {}
        for row in rows:
            members.setdefault(row[name], []).append(row["item_id"])
        assert all(label == min(inside) for label, inside in members.items())
    for finer, coarser in (
        ("cluster", "component"),
        ("cluster", "variant"),
        ("variant", "subject"),
    ):
        pairs = {(row[finer], row[coarser]) for row in rows}
        assert len(pairs) == len({row[finer] for row in rows})


def test_byte_equal_copies_share_one_fate() -> None:
    rng = np.random.default_rng(0)
    base = unit(rng.normal(size=(2, 16)))
    close = unit(base[:1] + 0.05 * unit(rng.normal(size=(1, 16))))
    vectors = np.concatenate([base[[0, 0, 0]], close, base[[1, 1]]])
    items = pa.table(
        {
            "item_id": LARGE + np.arange(6),
            "sha256": ["a", "a", "a", "b", "c", "c"],
            "width": [10, 30, 20, 90, 5, 5],
            "height": [1] * 6,
            "bytes": [1] * 6,
        }
    )
    rows = list(by_id(decide(items, vectors).decisions).values())
    assert [row["keep"] for row in rows] == [False, False, False, True, True, False]
    assert [row["reason"] for row in rows] == ["semantic"] * 3 + [None, None, "exact"]
    assert len({row["witness_similarity"] for row in rows[:3]}) == 1
    assert rows[5]["witness_similarity"] == 1.0
    # Without the larger near-copy the best of the three stands for them.
    rows = list(by_id(decide(items.slice(0, 3), vectors[:3]).decisions).values())
    assert [row["keep"] for row in rows] == [False, True, False]
    assert {row["witness_id"] for row in rows} == {LARGE + 1, None}


def test_a_shared_hash_without_likeness_removes_nothing() -> None:
    rng = np.random.default_rng(0)
    items = items_table(rng, 40, phash=np.zeros(40, dtype=np.uint64))
    decided = decide(items, np.eye(40, dtype=np.float32))
    assert pc.all(decided.decisions["keep"]).as_py()
    assert decided.edges.num_rows == 0
    assert decided.stats["crowded_hashes"] == 1


def test_hashes_find_pairs_that_a_saturated_search_misses() -> None:
    rng = np.random.default_rng(0)
    vectors = unit(np.ones((60, 16)) + 0.02 * rng.normal(size=(60, 16)))
    hashes = np.repeat(rng.integers(0, 2**63, 30, dtype=np.uint64), 2)
    items = items_table(rng, 60)
    narrow = GraphOptions(k=1, max_k=1)
    without = decide(items, vectors, graph=narrow).edges
    edges = decide(items.append_column("phash", pa.array(hashes)), vectors, graph=narrow).edges
    pairs = set(zip(edges["src"].to_pylist(), edges["dst"].to_pylist(), strict=True))
    assert {(at, at + 1) for at in range(0, 60, 2)} <= pairs
    assert edges.num_rows > without.num_rows


def test_ten_thousand_identical_vectors_cost_one_node() -> None:
    rng = np.random.default_rng(0)
    items = items_table(rng, 10_000, phash=np.zeros(10_000, dtype=np.uint64))
    decided = decide(items, np.ones((10_000, 512), dtype=np.float16))
    assert (decided.stats["kept"], decided.stats["distinct"]) == (1, 1)
    assert decided.edges.num_rows == 9_999
    assert decided.stats["removed_perceptual"] == 9_999


def test_items_without_direction_are_kept_unless_their_bytes_are_kept_already() -> None:
    rng = np.random.default_rng(0)
    vectors = np.eye(5, dtype=np.float32)
    vectors[[1, 2]] = np.nan
    vectors[[3, 4]] = 0
    items = items_table(rng, 5).set_column(1, "sha256", pa.array(["a", "b", "b", "c", "d"]))
    items = items.append_column("phash", pa.array([7] * 5, pa.uint64()))
    decided = decide(items, vectors, threshold=-0.5)
    assert decided.stats["vectors_without_direction"] == 4
    assert decided.decisions["keep"].to_pylist().count(False) == 1
    assert decided.decisions["reason"].drop_null().to_pylist() == ["exact"]


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one(count: int) -> None:
    items = items_table(np.random.default_rng(0), count, phash=np.zeros(count, dtype=np.uint64))
    decided = decide(items, np.ones((count, 4), dtype=np.float16))
    assert decided.decisions["keep"].to_pylist() == [True] * count
    assert decided.edges.num_rows == 0
    assert decided.stats["kept"] == count
    assert decided.stats["components"] == 0


def test_what_does_not_match_is_refused() -> None:
    items = items_table(np.random.default_rng(0), 3)
    with pytest.raises(ValueError, match="3 items but 2 vectors"):
        decide(items, np.eye(2))
    with pytest.raises(ValueError, match="item_id must be unique; repeated: 0, 0"):
        decide(pa.concat_tables([items.slice(0, 1)] * 3), np.eye(3))
    with pytest.raises(ValueError, match="lack the column sha256"):
        decide(items.drop_columns(["sha256"]), np.eye(3))
    with pytest.raises(ValueError, match="columns: bytes, height, item_id, sha256, width"):
        decide(items, np.eye(3), keep="beauty desc")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.3}, r"threshold must be in \[-1, 1\], got 1.3"),
        ({"phash_distance": 33}, r"phash_distance must be in 0..32, got 33"),
        ({"variant": 0.9}, "variant must be lower than the level above it, 0.9, got 0.9"),
        ({"variant": 0.8, "subject": 0.85}, "subject must be lower .* 0.8, got 0.85"),
    ],
)
def test_options_out_of_range_name_the_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DedupOptions(**options)


@given(st.one_of(st.floats(-1, 1), st.floats(1 - 1e-6, 1)))
def test_derived_levels_descend_for_any_threshold(threshold: float) -> None:
    levels = [level.threshold for level in DedupOptions(threshold=threshold).levels]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] >= -1
