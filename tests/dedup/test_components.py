from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dedup.arrays import regroup
from dedup.components import UnionFind, components, nodes_of
from tests.dedup.planted import Array


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, Array, Array]:
    count = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    edges = draw(st.integers(0, 2 * count))
    return count, rng.integers(0, count, edges), rng.integers(0, count, edges)


def by_scipy(count: int, src: Array, dst: Array) -> list[int]:
    graph = coo_array((np.ones(len(src)), (src, dst)), shape=(count, count))
    return regroup(connected_components(graph, directed=False)[1].astype(np.int64)).tolist()


@settings(deadline=None)
@given(graphs())
def test_components_are_those_of_scipy_named_by_their_lowest_node(
    graph: tuple[int, Array, Array],
) -> None:
    assert components(*graph).tolist() == by_scipy(*graph)


def test_components_of_a_large_graph_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    src, dst = rng.integers(0, 50_000, (2, 40_000))
    assert components(50_000, src, dst).tolist() == by_scipy(50_000, src, dst)


def test_no_nodes_have_no_components() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert components(0, nothing, nothing).tolist() == []


@settings(deadline=None)
@given(graphs(), st.data())
def test_neither_order_nor_batches_nor_a_pause_matter(
    graph: tuple[int, Array, Array], data: st.DataObject
) -> None:
    count, src, dst = graph
    order = np.array(data.draw(st.permutations(range(len(src)))), dtype=np.int64)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(src)), max_size=3)))
    forest = UnionFind(count)
    joined = 0
    for batch in np.split(order, cuts):
        joined += forest.add(dst[batch], src[batch])
        forest = UnionFind.restore(forest.parent.copy())

    labels = forest.labels()
    assert labels.tolist() == components(count, src, dst).tolist()
    assert joined == count - len(np.unique(labels))


@settings(deadline=None)
@given(graphs(), st.integers(0, 40))
def test_growing_equals_starting_large(graph: tuple[int, Array, Array], early: int) -> None:
    count, src, dst = graph
    early = min(early, count)
    inside = (src < early) & (dst < early)
    forest = UnionFind(early)
    forest.add(src[inside], dst[inside])
    before = forest.labels()
    forest.grow(count)
    assert forest.labels()[:early].tolist() == before.tolist()
    forest.add(src[~inside], dst[~inside])
    assert forest.labels().tolist() == components(count, src, dst).tolist()


def test_a_chain_from_the_far_end_is_one_component() -> None:
    links = np.arange(200_000 - 1)[::-1]
    assert not components(200_000, links + 1, links).any()


def test_edges_out_of_range_are_named_and_nothing_is_taken_in() -> None:
    forest = UnionFind(3)
    with pytest.raises(ValueError, match="edge 1 joins 2 and 3, but nodes run from 0 to 2: grow"):
        forest.add(np.array([0, 2]), np.array([1, 3]))
    with pytest.raises(ValueError, match="edge 0 joins -1 and 0"):
        components(3, np.array([-1]), np.array([0]))
    assert forest.labels().tolist() == [0, 1, 2]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="must be at least 0, got -1"):
        UnionFind(-1)
    with pytest.raises(ValueError, match=r"same shape \(p,\), got \(1,\) and \(2,\)"):
        components(3, np.array([0]), np.array([1, 2]))
    with pytest.raises(ValueError, match="of 3 nodes cannot shrink to 2"):
        UnionFind(3).grow(2)
    with pytest.raises(ValueError, match="fails for nodes 0, 2"):
        UnionFind.restore(np.array([1, 0, 3]))
    with pytest.raises(ValueError, match="read-only"):
        UnionFind(3).parent[0] = 1


def test_sparse_ids_above_32_bits_become_dense_nodes() -> None:
    ids = (np.arange(3000, dtype=np.int64)[:, None] << 20 | np.arange(4)).ravel() + (1 << 33)
    assert ids.min() > 1 << 31
    rng = np.random.default_rng(1)
    left, right = rng.integers(0, len(ids), (2, 5000))

    src, dst = nodes_of(ids, ids[left]), nodes_of(ids, ids[right])

    assert src.tolist() == left.tolist()
    assert dst.tolist() == right.tolist()
    expected = ids[np.array(by_scipy(len(ids), left, right))]
    assert ids[components(len(ids), src, dst)].tolist() == expected.tolist()


def test_ids_without_a_node_and_ids_out_of_order_are_named() -> None:
    ids = np.array([-(1 << 62), 5, 1 << 62])
    assert nodes_of(ids, np.array([1 << 62, -(1 << 62)])).tolist() == [2, 0]
    with pytest.raises(ValueError, match=r"belong to no node: 4, 6, 4611686018427387905"):
        nodes_of(ids, np.array([6, 5, 4, 6, (1 << 62) + 1]))
    with pytest.raises(ValueError, match="id 5 follows 5 at row 2"):
        nodes_of(np.array([1, 5, 5]), np.array([1]))
    with pytest.raises(ValueError, match="id -4611686018427387904 follows 4611686018427387904"):
        nodes_of(np.array([1 << 62, -(1 << 62)]), np.array([1]))
