from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.adjacency import (
    Desk,
    Graph,
    connected_groups,
    fill_graph,
    new_desk,
    new_graph,
    renumber,
    score,
    shrink,
    shuffle,
)
from dedup.components import components
from tests.dedup.graphs import rough_cpm
from tests.dedup.planted import Array
from tests.dedup.test_cpm import blobs

SPARE = 3  # room beyond what a graph needs, as where it is not the largest of its batch


def built(seed: int, count: int) -> tuple[Graph, Desk, Array, Array]:
    """A random graph, scratch space, its weights as a matrix, and labels that are nodes."""
    given_graph = blobs(seed, count, 3, 0.6, 0.2)
    graph = new_graph(count + SPARE, len(given_graph.src) + SPARE)
    fill_graph(graph, count, given_graph.src, given_graph.dst, given_graph.weight)
    graph.sizes[:count] = given_graph.sizes
    dense = np.zeros((count, count))
    dense[given_graph.src, given_graph.dst] = given_graph.weight
    label = np.random.default_rng(seed).integers(0, count, count) // 4 * 4
    return graph, new_desk(count + SPARE), dense + dense.T, label.astype(np.uint32)


def as_matrix(graph: Graph, count: int) -> Array:
    dense = np.zeros((count, count))
    for node in range(count):
        row = slice(int(graph.starts[node]), int(graph.starts[node + 1]))
        assert len(set(graph.ends[row].tolist())) == row.stop - row.start
        dense[node, graph.ends[row]] = graph.weights[row]
    return dense


GRAPHS = given(st.integers(0, 10_000), st.integers(4, 30))
FEW = settings(max_examples=40, deadline=None)


@FEW
@GRAPHS
def test_a_graph_holds_each_edge_at_both_ends_in_the_order_given(seed: int, count: int) -> None:
    graph, _, dense, _ = built(seed, count)
    np.testing.assert_array_equal(as_matrix(graph, count), dense)
    edges = blobs(seed, count, 3, 0.6, 0.2)
    for node in range(count):
        at = (edges.src == node) | (edges.dst == node)
        others = (edges.src + edges.dst - node)[at]
        row = graph.ends[int(graph.starts[node]) : int(graph.starts[node + 1])]
        assert row.tolist() == others.tolist()


@FEW
@GRAPHS
def test_a_smaller_graph_sums_weights_and_sizes_and_leaves_no_trace(seed: int, count: int) -> None:
    graph, desk, dense, label = built(seed, count)
    groups = renumber(label, count, count, desk.number)
    smaller = new_graph(count, int(graph.starts[count]))
    shrink(graph, count, label, groups, smaller, desk)
    member = label[:, None] == np.arange(groups)
    expected = member.T @ dense @ member
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(as_matrix(smaller, groups), expected)
    np.testing.assert_array_equal(smaller.sizes[:groups], graph.sizes[:count] @ member)
    assert not desk.linked.any()


@FEW
@GRAPHS
def test_groups_fall_into_their_connected_pieces(seed: int, count: int) -> None:
    graph, desk, dense, label = built(seed, count)
    src, dst = np.nonzero(dense)
    same = label[src] == label[dst]
    piece = np.empty(count, dtype=np.uint32)
    connected_groups(graph, count, label, piece, desk)
    np.testing.assert_array_equal(piece, components(count, src[same], dst[same]))


@FEW
@GRAPHS
def test_the_score_is_that_of_the_model(seed: int, count: int) -> None:
    graph, desk, _, label = built(seed, count)
    edges = blobs(seed, count, 3, 0.6, 0.2)
    expected = rough_cpm(edges, label.astype(np.int64), 0.4)
    np.testing.assert_allclose(score(graph, count, label, 0.4, desk.total), expected, atol=1e-9)


def test_shuffles_are_permutations_and_all_occur() -> None:
    state, seen = np.zeros(1, dtype=np.uint64), set()
    for _ in range(300):
        order = np.full(4, 9, dtype=np.uint32)
        shuffle(order, 3, state)
        assert order[3] == 9
        seen.add(tuple(order[:3].tolist()))
    assert len(seen) == 6
