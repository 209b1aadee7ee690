from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.graph import NeighbourGraph
from dedup.neighbours import find_neighbours
from dedup.options import GraphOptions
from tests.dedup.planted import groups_and_chains, near, true_pairs, unit

FLAT = GraphOptions("faiss-flat")


def edges(graph: NeighbourGraph) -> set[tuple[int, int]]:
    return set(zip(graph.src.tolist(), graph.dst.tolist(), strict=True))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 5, 40]), st.floats(-1, 1))
def test_flat_search_is_exact_for_any_first_k_and_any_floor(
    seed: int, k: int, floor: float
) -> None:
    rng = np.random.default_rng(seed)
    vectors = groups_and_chains(rng, groups=4, chains=2, singles=5, width=8)

    graph = find_neighbours(vectors, floor, GraphOptions("faiss-flat", k=k))

    # Pairs on the very edge may round either way in the float64 truth.
    sure, possible = true_pairs(vectors, floor + 1e-6), true_pairs(vectors, floor - 1e-6)
    assert sure <= edges(graph) <= possible
    assert (graph.similarity.astype(np.float64) >= floor).all()
    assert graph.saturated(floor) == 0


def test_a_pair_exactly_at_the_floor_is_found_however_faiss_rounds() -> None:
    vectors = unit(np.random.default_rng(2).normal(size=(200, 512)))
    every = find_neighbours(vectors, -1.0, GraphOptions("faiss-flat", max_k=200))
    for pair in range(0, len(every), 401):
        floor = float(every.similarity[pair])
        found = find_neighbours(vectors, floor, GraphOptions("faiss-flat", max_k=200))
        assert (int(every.src[pair]), int(every.dst[pair])) in edges(found)


def test_pairs_stand_once_and_sorted() -> None:
    graph = find_neighbours(groups_and_chains(np.random.default_rng(0)), 0.8, FLAT)
    assert (graph.src < graph.dst).all()
    assert list(zip(graph.src, graph.dst, strict=True)) == sorted(edges(graph))


def test_saturated_rows_are_counted_and_their_best_neighbours_kept() -> None:
    rng = np.random.default_rng(0)
    centre = unit(rng.normal(size=(1, 16)))[0].astype(np.float64)
    crowd = unit(np.array([near(rng, centre, 0.99) for _ in range(30)]))
    vectors = np.concatenate([crowd, unit(rng.normal(size=(30, 16)))])

    graph = find_neighbours(vectors, 0.9, GraphOptions("faiss-flat", k=4, max_k=8))

    assert graph.saturated(0.9) == 30
    assert graph.saturated(1.0) == 0
    similarity = crowd @ crowd.T
    nearest = {
        (min(row, other), max(row, other))
        for row in range(30)
        for other in np.argsort(-similarity[row])[1:9].tolist()
    }
    assert nearest <= edges(graph)
    assert (
        find_neighbours(vectors, 0.9, GraphOptions("faiss-flat", k=4, max_k=29)).saturated(0.9)
        == 30
    )
    assert (
        find_neighbours(vectors, 0.9, GraphOptions("faiss-flat", k=4, max_k=30)).saturated(0.9) == 0
    )


def test_ivf_finds_nearly_all_pairs_and_all_when_it_probes_every_list() -> None:
    rng = np.random.default_rng(3)
    vectors = groups_and_chains(rng, groups=300, chains=100, singles=500)
    truth = true_pairs(vectors, 0.9)

    some = edges(find_neighbours(vectors, 0.9, GraphOptions("faiss-ivf", nprobe=8)))
    every = edges(find_neighbours(vectors, 0.9, GraphOptions("faiss-ivf", nprobe=10_000)))

    assert some <= truth
    assert len(some) > 0.9 * len(truth)
    assert every == truth


def test_threads_and_seeds_change_nothing_they_should_not() -> None:
    vectors = groups_and_chains(np.random.default_rng(4), groups=200)
    for method in ("faiss-flat", "faiss-ivf"):
        one = find_neighbours(vectors, 0.8, GraphOptions(method, threads=1), seed=1)
        two = find_neighbours(vectors, 0.8, GraphOptions(method, threads=2), seed=1)
        assert edges(one) == edges(two)
        np.testing.assert_array_equal(one.similarity, two.similarity)


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("method", ["faiss-flat", "faiss-ivf"])
def test_too_few_vectors_have_no_pairs(count: int, method: Any) -> None:
    graph = find_neighbours(np.ones((count, 1), dtype=np.float32), -1.0, GraphOptions(method))
    assert (len(graph), graph.count) == (0, count)


def test_two_vectors_are_enough_for_ivf() -> None:
    graph = find_neighbours(np.ones((2, 1), dtype=np.float32), 0.9, GraphOptions("faiss-ivf"))
    assert edges(graph) == {(0, 1)}


def test_floor_and_options_out_of_range_name_the_range() -> None:
    with pytest.raises(ValueError, match=r"floor must be in \[-1, 1\], got 1.3"):
        find_neighbours(np.eye(3, dtype=np.float32), 1.3, FLAT)
    with pytest.raises(ValueError, match=r"max_k must be at least 32, got 8"):
        GraphOptions(max_k=8)
    with pytest.raises(ValueError, match=r"one of auto, cells, faiss-flat, faiss-ivf, got 'hnsw'"):
        GraphOptions("hnsw")  # type: ignore[arg-type]


def test_without_faiss_the_error_names_both_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def no_faiss(name: Any, *rest: Any, **more: Any) -> Any:
        if name == "faiss":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", no_faiss)
    with pytest.raises(ImportError, match=r"winnow\[cpu\], or winnow\[gpu\]"):
        find_neighbours(np.eye(2, dtype=np.float32), 0.5, FLAT)
