from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.aggregate import WeightedGraph
from dedup.arrays import regroup
from dedup.leiden import solve
from dedup.small import MOST_NODES, solve_small
from tests.dedup.graphs import as_parts, connected_graphs, cpm, partitions

RESOLUTIONS = st.sampled_from([0.0, 0.25, 0.5, 0.625, 0.75, 1.0, 2.0])


def path(count: int, weight: float = 0.9) -> WeightedGraph:
    nodes = np.arange(count)
    ones = np.ones(count, dtype=np.int64)
    return WeightedGraph(ones, nodes[:-1], nodes[1:], np.full(count - 1, weight))


@settings(max_examples=60, deadline=None)
@given(connected_graphs(most=6), RESOLUTIONS)
def test_the_best_of_all_partitions_the_fewest_the_first(
    graph: WeightedGraph, resolution: float
) -> None:
    best = min(
        partitions(len(graph)),
        key=lambda label: (-cpm(graph, label, resolution), max(label), label),
    )
    expected = regroup(np.array(best))
    assert solve_small(as_parts([graph]), resolution).tolist() == expected.tolist()


@settings(max_examples=30, deadline=None)
@given(connected_graphs(most=MOST_NODES), RESOLUTIONS)
def test_no_solver_finds_more(graph: WeightedGraph, resolution: float) -> None:
    found = cpm(graph, solve_small(as_parts([graph]), resolution), resolution)
    for seed in "abc":
        assert found >= cpm(graph, solve(graph, "cpm", resolution, seed, 10), resolution)


@settings(max_examples=20, deadline=None)
@given(st.lists(connected_graphs(), min_size=1, max_size=4))
def test_graphs_solved_together_are_solved_alone(graphs: list[WeightedGraph]) -> None:
    alone = np.concatenate([solve_small(as_parts([graph]), 0.6) for graph in graphs])
    assert solve_small(as_parts(graphs), 0.6).tolist() == alone.tolist()


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (3, [0, 0, 2]),  # 0 | 1 2 is as good, but comes later
        (4, [0, 0, 2, 2]),
        (5, [0, 0, 2, 2, 4]),  # as good: 0 | 1 2 | 3 4 and others
    ],
)
def test_paths_are_cut_in_pairs_and_ties_go_to_the_first(count: int, expected: list[int]) -> None:
    assert solve_small(as_parts([path(count)]), 0.54).tolist() == expected


def test_a_tie_between_one_and_two_communities_goes_to_one() -> None:
    # Whole: 2 * 0.75 - 3 * 0.5 = 0, as much as single nodes; less than a pair's 0.25.
    assert solve_small(as_parts([path(3, 0.75)]), 0.5).tolist() == [0, 0, 2]
    assert solve_small(as_parts([path(2, 0.5)]), 0.5).tolist() == [0, 0]


def test_sizes_of_millions_do_not_overflow() -> None:
    graph = WeightedGraph(
        np.array([10**6, 10**6, 10**6]),
        np.array([0, 1]),
        np.array([1, 2]),
        np.array([0.9e12, 0.7e12]),
    )
    assert solve_small(as_parts([graph]), 0.6).tolist() == [0, 0, 2]


def test_the_largest_allowed_beat_the_solver_in_no_time() -> None:
    rng = np.random.default_rng(0)
    graphs = []
    for _ in range(300):
        src, dst = np.triu_indices(MOST_NODES, 1)
        chosen = (rng.random(len(src)) < 0.5) | (dst == src + 1)
        weight = rng.uniform(0.75, 1.0, chosen.sum())
        ones = np.ones(MOST_NODES, dtype=np.int64)
        graphs.append(WeightedGraph(ones, src[chosen], dst[chosen], weight))
    found = solve_small(as_parts(graphs), 0.5).reshape(300, MOST_NODES)
    for graph, label in zip(graphs, found, strict=True):
        solver = solve(graph, "cpm", 0.5, "seed", 10)
        assert float(cpm(graph, label, 0.5)) >= float(cpm(graph, solver, 0.5)) - 1e-9
