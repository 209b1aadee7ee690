from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.graph import NeighbourGraph
from dedup.keepers import choose_keepers
from tests.dedup.planted import Array

Case = tuple[NeighbourGraph, Array, Array, Array]


@st.composite
def graphs(draw: st.DrawFn) -> Case:
    """A graph, ranks, groups, and what is protected."""
    count = draw(st.integers(1, 12))
    every = [(src, dst) for src in range(count) for dst in range(src + 1, count)]
    pairs = sorted(draw(st.sets(st.sampled_from(every)))) if every else []
    # Few different values, so that ties between witnesses happen.
    alike = [draw(st.sampled_from([0.9, 0.95, 1.0])) for _ in pairs]
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    graph = NeighbourGraph(count, ends[:, 0], ends[:, 1], np.array(alike, np.float32), 0.9)
    rank = np.array(draw(st.permutations(range(count))))
    group = np.array([draw(st.integers(0, 2)) for _ in range(count)])
    return graph, rank, group, np.array([draw(st.booleans()) for _ in range(count)])


def matrix(graph: NeighbourGraph, group: Array | None = None) -> Array:
    """Similarities of the pairs that compete, -1 elsewhere."""
    alike = np.full((graph.count, graph.count), -1.0, dtype=np.float32)
    alike[graph.src, graph.dst] = alike[graph.dst, graph.src] = graph.similarity
    if group is not None:
        alike[group[:, None] != group] = -1
    return alike


@settings(max_examples=200, deadline=None)
@given(graphs(), st.booleans(), st.booleans())
def test_keepers_equal_those_of_the_rule_followed_by_hand(
    case: Case, grouped: bool, protecting: bool
) -> None:
    graph, rank, group, protect = case
    alike = matrix(graph, group if grouped else None)
    protect = protect & protecting
    kept: list[int] = []
    witness = {}
    for node in sorted(range(graph.count), key=lambda each: (not protect[each], rank[each])):
        neighbours = [other for other in kept if alike[node, other] >= 0]
        if neighbours and not protect[node]:
            witness[node] = min(
                neighbours,
                key=lambda other: (not protect[other], -alike[node, other], rank[other]),
            )
        else:
            kept.append(node)

    found = choose_keepers(graph, rank, group if grouped else None, protect if protecting else None)

    assert np.flatnonzero(found.keep).tolist() == sorted(kept)
    for node in range(graph.count):
        assert found.witness[node] == witness.get(node, -1)
        if node in witness:
            assert found.similarity[node] == alike[node, witness[node]]
        else:
            assert np.isnan(found.similarity[node])


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_every_guarantee_holds_under_protection(case: Case) -> None:
    graph, rank, _, protect = case
    alike = matrix(graph)

    found = choose_keepers(graph, rank, protect=protect)

    assert found.keep[protect].all()
    kept = np.flatnonzero(found.keep)
    for node in range(graph.count):
        kept_neighbours = [other for other in kept if alike[node, other] >= 0]
        if found.keep[node]:
            assert protect[node] or not kept_neighbours
            assert protect[kept_neighbours].all()
        else:
            assert found.keep[found.witness[node]]
            assert alike[node, found.witness[node]] >= 0.9
            assert protect[found.witness[node]] == protect[kept_neighbours].any()
    again = choose_keepers(
        graph.where(found.keep[graph.src] & found.keep[graph.dst]), rank, None, protect
    )
    assert again.keep[kept].all()


@settings(max_examples=100, deadline=None)
@given(graphs(), st.data())
def test_the_order_of_nodes_and_edges_is_no_matter(case: Case, data: st.DataObject) -> None:
    graph, rank, group, protect = case
    place = np.array(data.draw(st.permutations(range(graph.count))))  # old node -> new
    old = np.argsort(place)
    shuffled = np.array(data.draw(st.permutations(range(len(graph)))), dtype=np.int64)
    one, other = place[graph.src][shuffled], place[graph.dst][shuffled]
    moved = NeighbourGraph(graph.count, one, other, graph.similarity[shuffled], graph.floor)

    found = choose_keepers(graph, rank, group, protect)
    again = choose_keepers(moved, rank[old], group[old], protect[old])

    assert again.keep[place].tolist() == found.keep.tolist()
    expected = np.where(found.witness < 0, -1, place[found.witness])
    assert again.witness[place].tolist() == expected.tolist()


def test_protected_neighbours_both_stay_and_speak_before_closer_ones() -> None:
    #  0 - 1 protected neighbours; 2 is closest to 3, which comes first by rank, but is
    #  removed by 1; 3 is no neighbour of a protected node.
    graph = NeighbourGraph(
        4,
        np.array([0, 1, 2]),
        np.array([1, 2, 3]),
        np.array([0.99, 0.9, 0.98], np.float32),
        0.9,
    )
    rank = np.array([3, 2, 1, 0])
    protect = np.array([True, True, False, False])
    found = choose_keepers(graph, rank, protect=protect)
    assert found.keep.tolist() == [True, True, False, True]
    assert found.witness.tolist() == [-1, -1, 1, -1]
    assert found.similarity[2] == np.float32(0.9)
    assert choose_keepers(graph, rank).witness.tolist() == [1, -1, 3, -1]


def test_a_long_chain_keeps_every_second_link() -> None:
    count = 20_000
    nodes = np.arange(count)
    graph = NeighbourGraph(count, nodes[:-1], nodes[1:], np.full(count - 1, 0.9, np.float32), 0.9)
    found = choose_keepers(graph, nodes)
    assert np.flatnonzero(found.keep).tolist() == list(range(0, count, 2))
    np.testing.assert_array_equal(found.witness[1::2], nodes[::2])


def test_arrays_of_a_wrong_length_are_refused() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    graph = NeighbourGraph(2, nothing, nothing, nothing.astype(np.float32), 0.9)
    with pytest.raises(ValueError, match=r"rank must have shape \(2,\), got \(3,\)"):
        choose_keepers(graph, np.arange(3))
    with pytest.raises(ValueError, match=r"protect must have shape \(2,\), got \(1,\)"):
        choose_keepers(graph, np.arange(2), protect=np.array([True]))
