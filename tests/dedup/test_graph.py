from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.components import components
from dedup.graph import NeighbourGraph, distinct_pairs, unique_pairs
from dedup.near import Near


def test_a_similarity_that_float32_rounds_below_the_threshold_is_below_it() -> None:
    just_below, just_above = np.float32(0.9), np.nextafter(np.float32(0.9), np.float32(1))
    assert just_below < np.float64(0.9) < just_above
    ends = np.array([0, 1])
    similarity = np.array([just_below, just_above])
    graph = NeighbourGraph(3, ends, ends + 1, similarity, 0.5, reach=similarity)
    assert graph.above(0.9).src.tolist() == [1]
    assert graph.above(0.9).floor == 0.9
    assert graph.saturated(0.9) == 1


@given(st.integers(1, 9), st.data())
def test_unordered_pairs_stand_once(count: int, data: st.DataObject) -> None:
    node = st.integers(0, count - 1)
    pairs = data.draw(st.lists(st.tuples(node, node)))
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    src, dst = unique_pairs(count, ends[:, 0], ends[:, 1])
    expected = sorted({(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]})
    assert list(zip(src.tolist(), dst.tolist(), strict=True)) == expected


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 300), st.booleans(), st.integers(0, 1 << 30))
def test_of_a_pair_that_stands_again_the_higher_similarity_counts(
    count: int, pairs: int, in_order: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    left, right = rng.integers(0, count, (2, pairs))
    alike = rng.random(pairs).astype(np.float32)
    if in_order:
        order = np.lexsort((right, left))
        left, right = left[order], right[order]
    expected: dict[tuple[int, int], float] = {}
    for one, other, each in zip(left.tolist(), right.tolist(), alike.tolist(), strict=True):
        pair = (min(one, other), max(one, other))
        if one != other:
            expected[pair] = max(each, expected.get(pair, -1.0))
    for kind in (np.int64, np.int32):
        src, dst, found = distinct_pairs(count, left.astype(kind), right.astype(kind), alike)
        assert src.dtype == dst.dtype == np.int64
        assert list(zip(src.tolist(), dst.tolist(), strict=True)) == sorted(expected)
        assert found.tolist() == [expected[pair] for pair in sorted(expected)]


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 60), st.integers(0, 1 << 30))
def test_what_is_near_is_what_each_threshold_says_alone(count: int, edges: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    src, dst = unique_pairs(count, *rng.integers(0, count, (2, edges)))
    alike = rng.choice(np.array([0.7, 0.8, 0.9, np.nan], dtype=np.float32), len(src))
    graph = NeighbourGraph(count, src, dst, alike, 0.7)
    near, chosen = Near.of(graph, 0.8), alike >= np.float64(0.8)
    assert near.graph.src.tolist() == src[chosen].tolist()
    assert near.graph.dst.tolist() == dst[chosen].tolist()
    assert near.graph.similarity.tolist() == alike[chosen].tolist()
    assert near.graph.floor == 0.8
    assert near.component.tolist() == components(count, src[chosen], dst[chosen]).tolist()
    assert near.root.tolist() == components(count, src, dst).tolist()
