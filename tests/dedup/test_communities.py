from __future__ import annotations

import builtins
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import communities
from dedup.communities import LevelNotes, find_communities
from dedup.components import components
from dedup.graph import NeighbourGraph
from dedup.leiden import WeightedGraph, solve
from dedup.options import QUALITIES, CommunityOptions, Level
from tests.dedup.graphs import cpm, exact_graph, given_graph
from tests.dedup.planted import Array, groups_and_chains

LEVELS = (Level("cluster", 0.9), Level("variant", 0.8), Level("subject", 0.7))


def as_weighted(graph: NeighbourGraph) -> WeightedGraph:
    ones = np.ones(graph.count, dtype=np.int64)
    return WeightedGraph(ones, graph.src, graph.dst, graph.similarity.astype(np.float64))


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

    weighted = as_weighted(graph)
    found = cpm(weighted, labels, resolution * 0.5)
    others = [cpm(weighted, each, resolution * 0.5) for each in changes(labels)]
    assert float(found) >= float(max(others)) - 1e-9


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
    graph = exact_graph(vectors, 0.7)

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
    graph = exact_graph(vectors, 0.8)
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


def backwards(function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
    """As another process would see the tasks, and in the wrong order."""
    function, tasks = pickle.loads(pickle.dumps((function, list(tasks))))
    return [pickle.loads(pickle.dumps(function(task))) for task in reversed(tasks)][::-1]


@pytest.mark.parametrize("quality", ["cpm", "modularity"])
def test_neither_batches_nor_who_solves_them_matter(
    quality: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = groups_and_chains(np.random.default_rng(8), groups=60, chains=80, width=8)
    graph = exact_graph(vectors, 0.7)
    options = CommunityOptions(quality)
    notes: list[LevelNotes] = []
    alone = find_communities(graph, LEVELS, options, seed=2, notes=notes)
    assert sum(note.solver for note in notes) > 3

    for edges, parts in ((1, 1), (40, 3), (10**9, 10**9)):
        monkeypatch.setattr(communities, "_BATCH_EDGES", edges)
        monkeypatch.setattr(communities, "_BATCH_PARTS", parts)
        with ThreadPoolExecutor(4) as pool:
            for mapper in (None, backwards, pool.map):
                again = find_communities(graph, LEVELS, options, seed=2, mapper=mapper)
                for level in LEVELS:
                    np.testing.assert_array_equal(again[level.name], alone[level.name])


def test_read_only_arrays_do() -> None:
    vectors = groups_and_chains(np.random.default_rng(12), groups=30, chains=40, width=8)
    graph = exact_graph(vectors, 0.7)
    expected = find_communities(graph, LEVELS)

    def frozen(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        for task in tasks:
            for array in vars(task.parts).values():
                array.flags.writeable = False
            yield function(task)

    for array in (graph.src, graph.dst, graph.similarity):
        array.flags.writeable = False
    found = find_communities(graph, LEVELS, mapper=frozen)
    for level in LEVELS:
        np.testing.assert_array_equal(found[level.name], expected[level.name])


def ring_of_blobs(blobs: int, size: int) -> NeighbourGraph:
    """Groups at 0.99, each a clique without its last edge, in a ring of links at 0.907."""
    edges: dict[tuple[int, int], float] = {}
    for first in range(0, blobs * size, size):
        edges |= dict.fromkeys(combinations(range(first, first + size), 2), 0.99)
        del edges[first, first + size - 1]
        one, other = first + 1, (first + size + 1) % (blobs * size)
        edges[min(one, other), max(one, other)] = 0.907
    return given_graph(blobs * size, edges, 0.9)


def test_the_notes_tell_who_solved_what() -> None:
    edges = {(0, 1): 0.95, (2, 3): 0.95, (3, 4): 0.95}
    ring = ring_of_blobs(4, 6)
    edges |= {
        (int(src) + 5, int(dst) + 5): float(alike)
        for src, dst, alike in zip(ring.src, ring.dst, ring.similarity, strict=True)
    }
    graph = given_graph(29, edges, 0.9)
    notes: list[LevelNotes] = []
    labels = find_communities(graph, [Level("cluster", 0.9)], notes=notes)["cluster"]
    assert notes == [LevelNotes("cluster", whole=1, exhaustive=1, solver=1, cuts=())]
    assert labels.tolist() == [0, 0, 2, 2, 4] + [5 + 6 * (at // 6) for at in range(24)]


def test_a_component_too_large_is_cut_at_the_first_threshold_that_fits() -> None:
    ring, other = ring_of_blobs(10, 6), ring_of_blobs(3, 6)
    graph = NeighbourGraph(
        78,
        np.concatenate([ring.src, other.src + 60]),
        np.concatenate([ring.dst, other.dst + 60]),
        np.concatenate([ring.similarity, other.similarity]),
        0.9,
    )
    level = [Level("cluster", 0.9)]
    ids = np.arange(78) + (1 << 40)
    notes: list[LevelNotes] = []

    labels = find_communities(graph, level, ids=ids, max_edges=50, notes=notes)["cluster"]

    # Links at 0.907 lie between the first step, 0.905, and the second.
    (cut,) = notes[0].cuts
    assert (cut.first, cut.nodes, cut.edges, cut.pieces) == (1 << 40, 60, 10 * 14 + 10, 10)
    assert cut.threshold == pytest.approx(0.91)
    assert notes[0].whole == 10  # the pieces lack an edge, but are whole by degree
    assert notes[0].solver == 1  # the smaller ring fits, and is not cut
    kept = graph.where((graph.similarity >= 0.95) | (graph.src >= 60))
    expected = find_communities(kept, level, ids=ids)["cluster"]
    np.testing.assert_array_equal(labels, expected)
    assert find_communities(graph, level, max_edges=150, notes=notes)
    assert notes[1].cuts == ()


def test_cutting_keeps_levels_nested_and_every_piece_small() -> None:
    vectors = groups_and_chains(np.random.default_rng(9), groups=80, chains=60, width=6)
    graph = exact_graph(vectors, 0.6)
    levels = (Level("cluster", 0.9), Level("variant", 0.8), Level("subject", 0.6))
    notes: list[LevelNotes] = []
    found = find_communities(graph, levels, max_edges=60, notes=notes)
    assert any(note.cuts for note in notes)
    finer = np.arange(graph.count)
    for level, note in zip(levels, notes, strict=True):
        labels = found[level.name]
        np.testing.assert_array_equal(labels[finer], labels)
        for cut in note.cuts:
            assert cut.edges > 60
            assert cut.pieces > 1
            assert cut.threshold > level.threshold
        finer = labels
    with pytest.raises(ValueError, match="max_edges must be at least 1, got 0"):
        find_communities(graph, levels, max_edges=0)


def test_what_no_threshold_divides_falls_apart_altogether() -> None:
    nodes = np.arange(12)
    path = NeighbourGraph(12, nodes[:-1], nodes[1:], np.ones(11, dtype=np.float32), 0.9)
    notes: list[LevelNotes] = []
    labels = find_communities(path, [Level("cluster", 0.9)], max_edges=10, notes=notes)["cluster"]
    assert labels.tolist() == nodes.tolist()
    assert (notes[0].cuts[0].pieces, notes[0].cuts[0].threshold) == (12, 2.0)


def test_the_order_of_nodes_and_edges_is_no_matter_where_no_chance_is_involved() -> None:
    rng = np.random.default_rng(11)
    vectors = groups_and_chains(rng, groups=40, chains=0, width=64)
    order = rng.permutation(len(vectors))
    level = [Level("cluster", 0.9)]
    graph, moved = exact_graph(vectors, 0.8), exact_graph(vectors[order], 0.8)
    notes: list[LevelNotes] = []
    labels = find_communities(graph, level, notes=notes)["cluster"]
    again = find_communities(moved, level)["cluster"]
    assert notes[0].solver == 0
    same = labels[:, None] == labels
    np.testing.assert_array_equal((again[:, None] == again), same[order][:, order])


def test_the_same_seed_repeats_and_leaves_the_global_generator_alone() -> None:
    import random

    graph = exact_graph(groups_and_chains(np.random.default_rng(7), chains=40), 0.8)
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
