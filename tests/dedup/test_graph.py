from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dedup.graph import NeighbourGraph, unique_pairs


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
