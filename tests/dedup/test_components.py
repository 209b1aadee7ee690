from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dedup.components import components


@given(st.integers(1, 30), st.data())
def test_components_equal_those_of_union_by_hand(count: int, data: st.DataObject) -> None:
    node = st.integers(0, count - 1)
    edges = data.draw(st.lists(st.tuples(node, node), max_size=40))
    lowest = list(range(count))
    for _ in range(count):
        for src, dst in edges:
            lowest[src] = lowest[dst] = min(lowest[src], lowest[dst])
    pairs = np.array(edges, dtype=np.int64).reshape(-1, 2)
    assert components(count, pairs[:, 0], pairs[:, 1]).tolist() == lowest


def test_no_nodes_have_no_components() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert components(0, nothing, nothing).tolist() == []
