from __future__ import annotations

import builtins
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.communities import find_communities
from dedup.components import components
from dedup.graph import NeighbourGraph
from dedup.leiden import WeightedGraph, solve
from dedup.neighbours import find_neighbours
from dedup.options import QUALITIES, CommunityOptions, Level
from tests.dedup.planted import Array, groups_and_chains

LEVELS = (Level("cluster", 0.9), Level("variant", 0.8), Level("subject", 0.7))


def given_graph(count: int, edges: dict[tuple[int, int], float], floor: float) -> NeighbourGraph:
    pairs = np.array(sorted(edges), dtype=np.int64).reshape(-1, 2)
    weights = np.array([edges[pair] for pair in sorted(edges)], dtype=np.float32)
    return NeighbourGraph(count, pairs[:, 0], pairs[:, 1], weights, floor)


def cpm(graph: NeighbourGraph, labels: Array, resolution: float) -> float:
    """The quality that CPM maximises, by a double loop over pairs."""
    weights = dict(
        zip(zip(graph.src, graph.dst, strict=True), graph.similarity.astype(float), strict=True)
    )
    return sum(
        weights.get(pair, 0.0) - resolution
        for pair in combinations(range(graph.count), 2)
        if labels[pair[0]] == labels[pair[1]]
    )


def changes(labels: Array) -> Iterator[Array]:
    """The labels, one node moved to another or a new community, or two communities merged."""
    yield labels
    for node in range(len(labels)):
        for target in [*np.unique(labels), -1]:
            moved = labels.copy()
            moved[node] = target
            yield moved
    for one, other in combinations(np.unique(labels), 2):
        yield np.where(labels == one, other, labels)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.floats(0.3, 1.0), st.data())
def test_no_move_and_no_merger_improves_the_communities(
    count: int, resolution: float, data: st.DataObject
) -> None:
    weight = st.floats(0.5, 1.0, width=32)
    edges = {
        pair: data.draw(weight)
        for pair in combinations(range(count), 2)
        if data.draw(st.booleans())
    }
    graph = given_graph(count, edges, 0.5)
    options = CommunityOptions(resolution=resolution)

    labels = find_communities(graph, [Level("cluster", 0.5)], options)["cluster"]

    found = cpm(graph, labels, resolution * 0.5)
    others = [cpm(graph, each, resolution * 0.5) for each in changes(labels)]
    assert found >= max(others) - 1e-5


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.integers(0, 1000))
def test_solver_and_shortcut_agree_on_cliques(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = np.array(list(combinations(range(count), 2)))
    weight = rng.uniform(0.9, 1.0, len(pairs))
    clique = WeightedGraph(np.ones(count, dtype=np.int64), pairs[:, 0], pairs[:, 1], weight)
    assert solve(clique, "cpm", 0.54, "seed", 10).tolist() == [0] * count
    edges = dict(zip(map(tuple, pairs.tolist()), weight, strict=True))
    graph = given_graph(count, edges, 0.5)
    assert not find_communities(graph, [Level("cluster", 0.9)])["cluster"].any()


def test_resolution_above_a_similarity_splits_even_a_pair() -> None:
    graph = given_graph(2, {(0, 1): 0.9}, 0.5)
    options = CommunityOptions(resolution=1.2)
    assert find_communities(graph, [Level("cluster", 0.8)], options)["cluster"].tolist() == [0, 1]


def test_a_chain_of_groups_is_one_component_and_several_communities() -> None:
    cliques = [range(first, first + 5) for first in (0, 5, 10)]
    edges = {pair: 0.95 for clique in cliques for pair in combinations(clique, 2)}
    edges |= {(4, 5): 0.91, (9, 10): 0.91}
    graph = given_graph(15, edges, 0.9)

    assert not components(15, graph.src, graph.dst).any()
    labels = find_communities(graph, [Level("cluster", 0.9)])["cluster"]
    assert labels.tolist() == [0] * 5 + [5] * 5 + [10] * 5


@pytest.mark.parametrize("quality", QUALITIES)
def test_every_quality_gives_nested_connected_levels(quality: Any) -> None:
    vectors = groups_and_chains(np.random.default_rng(5), groups=20, chains=10, width=12)
    graph = find_neighbours(vectors, 0.7)

    found = find_communities(graph, LEVELS, CommunityOptions(quality))

    finer = np.arange(graph.count)
    for level in LEVELS:
        labels = found[level.name]
        at_level = graph.above(level.threshold)
        for group in np.unique(finer):
            assert len(np.unique(labels[finer == group])) == 1
        inside = at_level.where(labels[at_level.src] == labels[at_level.dst])
        np.testing.assert_array_equal(components(graph.count, inside.src, inside.dst), labels)
        finer = labels
    assert len(np.unique(found["cluster"])) > len(np.unique(found["subject"])) > 1


@pytest.mark.parametrize("quality", ["cpm", "modularity", "surprise"])
def test_other_components_do_not_sway_a_component(quality: Any) -> None:
    vectors = groups_and_chains(np.random.default_rng(6), groups=0, chains=20)
    graph = find_neighbours(vectors, 0.8)
    options = CommunityOptions(quality)
    level = [Level("cluster", 0.9)]
    near = graph.above(0.9)
    component = components(graph.count, near.src, near.dst)
    ids = np.arange(graph.count) * 7 + (1 << 40)
    whole = find_communities(graph, level, options, ids, seed=3)["cluster"]

    for first in np.unique(component):
        nodes = np.flatnonzero(component == first)
        inside = near.where(component[near.src] == first)
        alone = NeighbourGraph(
            len(nodes),
            np.searchsorted(nodes, inside.src),
            np.searchsorted(nodes, inside.dst),
            inside.similarity,
            0.9,
        )
        labels = find_communities(alone, level, options, ids[nodes], seed=3)["cluster"]
        np.testing.assert_array_equal(nodes[labels], whole[nodes])


def test_the_same_seed_repeats_and_leaves_the_global_generator_alone() -> None:
    import random

    graph = find_neighbours(groups_and_chains(np.random.default_rng(7), chains=40), 0.8)
    options = CommunityOptions("modularity")
    random.seed(1)
    expected = random.random()
    random.seed(1)
    first = find_communities(graph, [Level("cluster", 0.8)], options, seed=5)["cluster"]
    assert random.random() == expected
    random.seed(2)
    again = find_communities(graph, [Level("cluster", 0.8)], options, seed=5)["cluster"]
    np.testing.assert_array_equal(first, again)


def test_negative_similarities_hold_nothing_together() -> None:
    graph = given_graph(3, {(0, 1): -0.5, (1, 2): 0.9}, -1.0)
    options = CommunityOptions(resolution=0.6)
    assert find_communities(graph, [Level("cluster", 0.5)], options)["cluster"].tolist() == [
        0,
        1,
        1,
    ]
    modularity = CommunityOptions("modularity")
    assert find_communities(graph, [Level("cluster", -1.0)], modularity)["cluster"][1] == 1


def test_levels_in_the_wrong_order_or_below_the_floor_are_refused() -> None:
    graph = given_graph(2, {(0, 1): 0.9}, 0.8)
    with pytest.raises(ValueError, match="'b' at 0.95 lies above the finer level at 0.9"):
        find_communities(graph, [Level("a", 0.9), Level("b", 0.95)])
    with pytest.raises(ValueError, match=r"'b' at 0.7 lies below the graph's floor 0.8"):
        find_communities(graph, [Level("a", 0.9), Level("b", 0.7)])


def test_without_leidenalg_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def no_leidenalg(name: str, *rest: Any, **more: Any) -> Any:
        if name == "leidenalg":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", no_leidenalg)
    graph = given_graph(2, {(0, 1): 0.95}, 0.8)
    with pytest.raises(ImportError, match=r"'surprise' needs leidenalg: install winnow\[leiden\]"):
        find_communities(graph, [Level("a", 0.9)], CommunityOptions("surprise"))
