from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from dedup.aggregate import aggregate, dense, take_parts
from dedup.components import components
from dedup.graph import NeighbourGraph
from tests.dedup.planted import Array


def random_graph(seed: int, count: int = 60, edges: int = 400) -> NeighbourGraph:
    rng = np.random.default_rng(seed)
    keys = np.unique(rng.integers(0, count * count, edges))
    src, dst = np.divmod(keys, count)
    src, dst = src[src < dst], dst[src < dst]
    return NeighbourGraph(
        count, src, dst, rng.uniform(-0.2, 1.0, len(src)).astype(np.float32), -1.0
    )


def groups_of(count: int, groups: int, seed: int) -> tuple[Array, Array]:
    labels = np.random.default_rng(seed).integers(0, groups, count)
    lowest: dict[int, int] = {}
    for node, label in enumerate(labels.tolist()):
        lowest.setdefault(label, node)
    return dense(np.array([lowest[label] for label in labels.tolist()]))


@pytest.mark.parametrize("loops", [False, True])
@pytest.mark.parametrize("raise_some", [False, True])
@pytest.mark.parametrize("groups", [1, 5, 60])
def test_sums_equal_those_of_a_loop_over_edges(loops: bool, raise_some: bool, groups: int) -> None:
    graph = random_graph(0)
    firsts, node = groups_of(graph.count, groups, 1)
    raised = np.random.default_rng(2).choice([0.3, 0.8], len(firsts)) if raise_some else None
    expected: dict[tuple[int, int], float] = defaultdict(float)
    for src, dst, alike in zip(graph.src, graph.dst, graph.similarity.tolist(), strict=True):
        pair = tuple(sorted((int(node[src]), int(node[dst]))))
        inside = pair[0] == pair[1]
        least = 0.3 if raised is None or inside else max(raised[pair[0]], raised[pair[1]])
        if alike >= least and (loops or not inside):
            expected[pair] += alike

    found = aggregate(graph, 0.3, node, len(firsts), loops, raised)

    pairs = list(zip(found.src.tolist(), found.dst.tolist(), strict=True))
    assert pairs == sorted(expected)
    np.testing.assert_allclose(found.weight, [expected[pair] for pair in pairs], rtol=1e-12)
    assert found.sizes.tolist() == np.bincount(node, minlength=len(firsts)).tolist()


def test_negative_similarities_count_as_nothing_and_nan_does_not_count() -> None:
    graph = NeighbourGraph(
        3,
        np.array([0, 0, 1]),
        np.array([1, 2, 2]),
        np.array([-0.5, np.nan, 0.5], np.float32),
        -1.0,
    )
    found = aggregate(graph, -1.0, np.arange(3), 3, False)
    assert found.src.tolist() == [0, 1]
    assert found.dst.tolist() == [1, 2]
    assert found.weight.tolist() == [0.0, 0.5]


def test_the_order_of_the_edges_is_no_matter() -> None:
    graph = random_graph(3, 200, 5000)
    order = np.random.default_rng(4).permutation(len(graph))
    ends = {name: getattr(graph, name)[order] for name in ("src", "dst", "similarity")}
    mixed = replace(graph, **ends)
    for groups in (40, 200):
        firsts, node = groups_of(graph.count, groups, 5)
        one = aggregate(graph, 0.5, node, len(firsts), False)
        other = aggregate(mixed, 0.5, node, len(firsts), False)
        assert one.src.tolist() == other.src.tolist()
        assert one.dst.tolist() == other.dst.tolist()
        assert one.weight.tolist() == other.weight.tolist()


def test_parts_hold_the_components_and_give_them_back() -> None:
    graph = random_graph(6, 300, 200)
    whole = aggregate(graph, 0.2, np.arange(300), 300, True)
    component = components(300, whole.src, whole.dst)
    roots = np.flatnonzero(np.bincount(component, minlength=300) > 1)[::-1]
    assert len(roots) > 5

    parts = take_parts(whole, component, roots)

    assert len(parts) == len(roots)
    for at, root in enumerate(roots):
        nodes = parts.nodes[parts.node_start[at] : parts.node_start[at + 1]]
        assert nodes.tolist() == np.flatnonzero(component == root).tolist()
        inside = component[whole.src] == root
        assert nodes[parts[at].src].tolist() == whole.src[inside].tolist()
        assert nodes[parts[at].dst].tolist() == whole.dst[inside].tolist()
        assert parts[at].weight.tolist() == whole.weight[inside].tolist()
    labels = np.arange(300)
    for start, stop in ((0, 2), (2, len(roots))):
        some = parts.between(start, stop)
        some.relabel(np.zeros(len(some.nodes), dtype=np.int64), labels)
    np.testing.assert_array_equal(labels, component)


def test_dense_numbers_have_no_gaps() -> None:
    firsts, group = dense(np.array([0, 1, 0, 3, 1, 3]))
    assert firsts.tolist() == [0, 1, 3]
    assert group.tolist() == [0, 1, 0, 2, 1, 2]
