from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.aggregate import WeightedGraph
from dedup.whole import take_census
from tests.dedup.graphs import connected_graphs, cpm, partitions


def unit_graph(count: int, missing: set[tuple[int, int]], weight: float = 1.0) -> WeightedGraph:
    pairs = np.array([pair for pair in combinations(range(count), 2) if pair not in missing])
    ones = np.ones(count, dtype=np.int64)
    return WeightedGraph(ones, pairs[:, 0], pairs[:, 1], np.full(len(pairs), weight))


def is_whole(graph: WeightedGraph, resolution: float | None) -> bool:
    census = take_census(graph, np.zeros(len(graph), dtype=np.int64), resolution)
    assert census.nodes.tolist() == [len(graph)] + [0] * (len(graph) - 1)
    assert census.edges[0] == np.count_nonzero(graph.src != graph.dst)
    assert not census.whole[1:].any()
    return bool(census.whole[0])


@settings(max_examples=150, deadline=None)
@given(connected_graphs(most=6), st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.6, 0.9, 1.2]))
def test_no_partition_beats_a_component_called_whole(
    graph: WeightedGraph, resolution: float
) -> None:
    if is_whole(graph, resolution):
        one = cpm(graph, (0,) * len(graph), resolution)
        best = max(cpm(graph, label, resolution) for label in partitions(len(graph)))
        assert float(one) >= float(best) - 1e-9


def test_cliques_and_near_cliques_are_whole_and_paths_are_not() -> None:
    assert is_whole(unit_graph(2, set()), 0.54)
    assert is_whole(unit_graph(30, set(), 0.9), 0.54)
    # Each node lacks at most one of its 29 neighbours: too few edges for a clique.
    matching = {(node, node + 1) for node in range(0, 30, 2)}
    assert is_whole(unit_graph(30, matching, 0.9), 0.54)
    assert not is_whole(unit_graph(3, {(0, 2)}, 0.9), 0.54)
    # A node that hangs on by one edge is better off alone.
    hanging = {(node, 29) for node in range(28)}
    assert not is_whole(unit_graph(30, hanging, 0.9), 0.54)


def test_two_cliques_joined_loosely_are_not_whole_though_every_node_holds_on() -> None:
    across = {(one, 10 + other) for one in range(10) for other in range(10)}
    joined = {(one, 10 + (one + step) % 10) for one in range(10) for step in range(3)}
    graph = unit_graph(20, across - joined)
    halves = (0,) * 10 + (1,) * 10
    assert cpm(graph, halves, 0.5) > cpm(graph, (0,) * 20, 0.5) > 0
    for node in range(20):  # 12 neighbours of weight 1: more than 0.5 for each of 19 others
        alone = tuple(int(other == node) for other in range(20))
        assert cpm(graph, alone, 0.5) < cpm(graph, (0,) * 20, 0.5)
    assert not is_whole(graph, 0.5)


def test_a_weak_pair_is_not_whole() -> None:
    assert not is_whole(unit_graph(2, set(), 0.5), 0.54)


def test_a_large_node_holds_what_hangs_on_it_firmly() -> None:
    sizes = np.array([100, 1, 1])
    star = WeightedGraph(sizes, np.array([0, 0]), np.array([1, 2]), np.array([95.0, 95.0]))
    assert is_whole(star, 0.54)  # 1 and 2 are no neighbours, but what they lose is little
    loose = WeightedGraph(sizes, star.src, star.dst, np.array([95.0, 50.0]))
    assert not is_whole(loose, 0.54)


def test_for_other_qualities_only_cliques_of_single_items_are_whole() -> None:
    assert is_whole(unit_graph(4, set(), 0.2), None)
    assert not is_whole(unit_graph(4, {(0, 1)}), None)
    clique = unit_graph(3, set())
    assert not is_whole(
        WeightedGraph(np.array([1, 2, 1]), clique.src, clique.dst, clique.weight), None
    )


def test_loops_are_not_counted_and_components_are_kept_apart() -> None:
    graph = WeightedGraph(
        np.array([1, 1, 2, 1, 1]),
        np.array([0, 1, 2, 2, 3]),
        np.array([1, 1, 2, 3, 4]),
        np.array([0.9, 5.0, 0.9, 1.8, 0.9]),
    )
    census = take_census(graph, np.array([0, 0, 2, 2, 2]), 0.6)
    assert census.nodes.tolist() == [2, 0, 3, 0, 0]
    assert census.edges.tolist() == [1, 0, 2, 0, 0]
    assert census.whole.tolist() == [True, False, False, False, False]
