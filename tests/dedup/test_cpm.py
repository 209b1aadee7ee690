from __future__ import annotations

from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.aggregate import Parts, WeightedGraph
from dedup.components import components
from dedup.cpm import RESTART_EDGES, solve_cpm
from dedup.leiden import solve
from dedup.small import solve_small
from tests.dedup.graphs import as_parts, connected_graphs, cpm, rough_cpm


def blobs(seed: int, count: int, groups: int, inside: float, across: float) -> WeightedGraph:
    """Groups with many edges inside and few across."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, count)
    src, dst = np.triu_indices(count, 1)
    same = group[src] == group[dst]
    chosen = rng.random(len(src)) < np.where(same, inside, across)
    weight = rng.uniform(0.75, 1.0, chosen.sum())
    return WeightedGraph(rng.integers(1, 3, count), src[chosen], dst[chosen], weight)


def numbers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def together(parts: Parts, seed: int = 0, passes: int = 10, resolution: float = 0.5) -> list[int]:
    seeds = np.arange(seed, seed + len(parts), dtype=np.uint64)
    return solve_cpm(parts, resolution, seeds, passes).tolist()


def test_scores_are_those_of_igraph_within_chance() -> None:
    mine, reference = [], []
    for seed in range(25):
        graph = blobs(seed, 60 + 10 * seed, 4 + seed, 0.7, 0.03)
        found = solve_cpm(as_parts([graph]), 0.5, numbers(seed), 10)
        mine.append(rough_cpm(graph, found, 0.5))
        reference.append(rough_cpm(graph, solve(graph, "cpm", 0.5, str(seed), 10), 0.5))
    # Weak groups, many near-best answers: single ones differ by a few per cent both ways.
    assert min(np.array(mine) / reference) > 0.95
    assert sum(mine) >= 0.99 * sum(reference)


def test_planted_groups_are_found() -> None:
    cliques = [range(first, first + 8) for first in range(0, 96, 8)]
    pairs = [(a, b) for clique in cliques for a in clique for b in clique if a < b]
    pairs += [(8 * at + 7, 8 * at + 8) for at in range(11)]
    src, dst = np.array(sorted(pairs)).T
    graph = WeightedGraph(np.ones(96, dtype=np.int64), src, dst, np.full(len(src), 0.9))
    assert together(as_parts([graph])) == [node - node % 8 for node in range(96)]


@settings(max_examples=60, deadline=None)
@given(connected_graphs(most=8), st.sampled_from([0.25, 0.5, 0.75]), st.integers(0, 2**64 - 1))
def test_small_components_come_out_within_a_whisker_of_the_best(
    graph: WeightedGraph, resolution: float, seed: int
) -> None:
    parts = as_parts([graph])
    found = cpm(graph, solve_cpm(parts, resolution, numbers(seed), 10), resolution)
    best = cpm(graph, solve_small(parts, resolution), resolution)
    assert best >= found >= 0
    assert found >= best / 2


def test_nearly_all_small_components_come_out_best() -> None:
    graphs = [blobs(seed, 9, 3, 0.9, 0.2) for seed in range(300)]
    parts = as_parts(graphs)
    found = solve_cpm(parts, 0.5, np.arange(300, dtype=np.uint64), 10).reshape(300, 9)
    best = solve_small(parts, 0.5).reshape(300, 9)
    equal = [
        abs(rough_cpm(graph, one, 0.5) - rough_cpm(graph, other, 0.5)) < 1e-9
        for graph, one, other in zip(graphs, found, best, strict=True)
    ]
    assert sum(equal) >= 290


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 0.9))
def test_no_node_gains_by_moving_and_communities_hang_together(
    seed: int, resolution: float
) -> None:
    graph = blobs(seed, 40, 4, 0.6, 0.1)
    found = solve_cpm(as_parts([graph]), resolution, numbers(seed), 1000)
    same = found[graph.src] == found[graph.dst]
    pieces = components(40, graph.src[same], graph.dst[same])
    np.testing.assert_array_equal(pieces, found)
    weight = np.zeros((40, 40))
    weight[graph.src, graph.dst] = weight[graph.dst, graph.src] = graph.weight
    total = np.bincount(found, weights=graph.sizes, minlength=40)
    for node in range(40):
        size = graph.sizes[node]
        gain = np.bincount(found, weights=weight[node], minlength=40) - resolution * size * total
        gain[found[node]] += resolution * size * size
        assert gain[found[node]] >= max(gain.max(), 0.0) - 1e-9


def test_a_component_is_solved_the_same_in_any_company() -> None:
    graphs = [blobs(seed, 30, 4, 0.8, 0.1) for seed in range(5)]
    seeds = np.arange(5, dtype=np.uint64) + np.uint64(2**63)
    whole = solve_cpm(as_parts(graphs), 0.5, seeds, 10).reshape(5, 30)
    for at in (3, 0, 4):
        alone = solve_cpm(as_parts([graphs[at]]), 0.5, seeds[at : at + 1], 10)
        np.testing.assert_array_equal(alone, whole[at])


def test_the_seed_decides_and_repeats() -> None:
    ring = np.arange(60)
    graph = WeightedGraph(np.ones(60, dtype=np.int64), ring, (ring + 1) % 60, np.full(60, 0.9))
    parts = as_parts([graph])
    answers = [together(parts, seed, 1) for seed in range(8)]
    assert answers == [together(parts, seed, 1) for seed in range(8)]
    assert len({tuple(answer) for answer in answers}) > 1


def test_loops_and_edges_without_weight_change_nothing() -> None:
    graph = blobs(7, 40, 4, 0.8, 0.1)
    more = WeightedGraph(
        graph.sizes,
        np.append(graph.src, [3, 0]),
        np.append(graph.dst, [3, 39]),
        np.append(graph.weight, [50.0, 0.0]),
    )
    assert together(as_parts([graph])) == together(as_parts([more]))


@pytest.mark.parametrize("passes", [1, 2, 50])
def test_a_large_component_takes_one_start_and_comes_out_well(passes: int) -> None:
    graph = blobs(8, 400, 12, 0.8, 0.02)
    assert len(graph.src) > RESTART_EDGES
    found = solve_cpm(as_parts([graph]), 0.5, numbers(1), passes)
    reference = solve(graph, "cpm", 0.5, "1", 10)
    assert rough_cpm(graph, found, 0.5) >= 0.99 * rough_cpm(graph, reference, 0.5)


def woven(seed: int, count: int) -> WeightedGraph:
    """Blurred groups, by arithmetic alone: the same with every version of numpy."""
    src, dst = np.triu_indices(count, 1)
    drawn = (src * 7919 + dst * 104729 + seed * 15485863) % 1009
    chosen = drawn < np.where(src % 5 == dst % 5, 700, 60)
    weight = 0.75 + drawn[chosen] / 4036
    return WeightedGraph(1 + np.arange(count) % 2, src[chosen], dst[chosen], weight)


@pytest.mark.parametrize(
    ("resolution", "expected"), [(0.4, 67238473), (0.6, 639420716), (0.8, 1382129025)]
)
def test_answers_stay_what_they_were_in_earlier_versions(resolution: float, expected: int) -> None:
    # Rows already written were grouped by these answers: faster code must not change them.
    parts = as_parts([woven(seed, 12 + 9 * seed) for seed in range(30)])
    found = solve_cpm(parts, resolution, np.arange(30, dtype=np.uint64), 10)
    assert crc32(found.astype("<i8").tobytes()) == expected


def test_nothing_to_solve_is_no_error() -> None:
    none = np.zeros(0, dtype=np.int64)
    start = np.zeros(1, dtype=np.int64)
    parts = Parts(start, start, none, none, none, none, np.zeros(0))
    assert solve_cpm(parts, 0.5, numbers(), 10).tolist() == []


def test_more_nodes_than_32_bits_can_number_are_refused() -> None:
    none = np.zeros(0, dtype=np.int64)
    start = np.array([0, 2**32], dtype=np.int64)
    parts = Parts(start, np.zeros(2, dtype=np.int64), none, none, none, none, np.zeros(0))
    with pytest.raises(ValueError, match="at most 4294967294 nodes, got 4294967296"):
        solve_cpm(parts, 0.5, numbers(1), 10)
