from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.cells import graph as cells
from dedup.cells.graph import CellGraph, plan_cells, survey_source
from dedup.cells.source import ArraySource
from dedup.cells.store import FolderStore, MemoryStore, Store
from dedup.options import GraphOptions
from dedup.units import as_units
from tests.dedup.planted import Array, groups_and_chains, near, true_pairs, unit

OPTIONS = GraphOptions(threads=1)


@pytest.fixture(autouse=True)
def small_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many cells for few rows, so that what millions of rows go through is seen."""
    monkeypatch.setattr(cells, "ONE_CELL", 200)
    monkeypatch.setattr(cells, "CELL_ROWS", 50)


def planted(seed: int = 0, scale: int = 1) -> Array:
    rng = np.random.default_rng(seed)
    return groups_and_chains(rng, groups=80 * scale, chains=40 * scale, singles=150 * scale)


def searched(
    vectors: Array,
    parts: list[slice],
    store: Store | None = None,
    most: int = 1000,
    block: int = 97,
) -> CellGraph:
    """A graph over all vectors with the centroids of all, to which parts were added in turn."""
    whole = ArraySource(vectors, block)
    survey = survey_source(whole, map)
    plan = plan_cells(survey.sample, len(vectors), whole, 0.8, OPTIONS, codes=len(parts) > 1)
    graph = CellGraph(store or MemoryStore(), plan, 0.8, most)
    for part in parts:
        source = ArraySource(vectors[part], block, part.start or 0)
        graph.add(source, survey.valid[part], map)
    return graph


def edges(graph: CellGraph) -> list[tuple[int, int, float]]:
    table = pa.Table.from_batches(list(graph.pairs()))
    return sorted(
        zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True)
    )


def test_cells_find_what_an_exact_search_finds() -> None:
    vectors = planted(scale=3)
    graph = searched(vectors, [slice(None)])
    truth = true_pairs(vectors, 0.8)
    found = {(src, dst) for src, dst, _ in edges(graph)}
    assert len(graph.plan.index) > 20
    assert found <= true_pairs(vectors, 0.8 - 1e-6)
    assert len(found & truth) > 0.99 * len(truth)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 600), st.integers(1, 900), st.sampled_from([4, 1000]))
def test_what_is_added_later_gives_the_same_edges(
    seed: int, first: int, second: int, most: int
) -> None:
    vectors = planted(seed)
    cuts = sorted({0, min(first, len(vectors)), min(second, len(vectors)), len(vectors)})
    parts = [slice(start, stop) for start, stop in pairwise(cuts)]
    at_once = searched(vectors, [slice(None)], most=most)
    in_turn = searched(vectors, parts, most=most)
    assert edges(at_once) == edges(in_turn)
    for one, other in zip(at_once.saturated(), in_turn.saturated(), strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.sampled_from([4, 1000]))
def test_many_small_batches_give_the_same_edges(seed: int, size: int, most: int) -> None:
    vectors = planted(seed)
    vectors = np.concatenate([vectors, vectors[::11], vectors[::17]])
    start = len(vectors) - 5 * size
    cuts = [0, *range(start, len(vectors), size), len(vectors)]
    parts = [slice(begin, end) for begin, end in pairwise(cuts)]
    few = cells.CompareFew.__call__
    calls: list[int] = []

    def counted(task: cells.CompareFew, groups: Any) -> Any:
        calls.append(len(groups))
        return few(task, groups)

    at_once = searched(vectors, [slice(None)], most=most)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells.CompareFew, "__call__", counted)
        in_turn = searched(vectors, parts, most=most)
    assert calls
    assert edges(at_once) == edges(in_turn)
    for one, other in zip(at_once.saturated(), in_turn.saturated(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_order_and_blocks_change_no_pair() -> None:
    vectors = planted(5)
    order = np.random.default_rng(1).permutation(len(vectors))
    base = edges(searched(vectors, [slice(None)]))
    other = edges(searched(vectors[order], [slice(None)], block=31))
    renamed = sorted(
        (*sorted((int(order[src]), int(order[dst]))), similarity) for src, dst, similarity in other
    )
    assert renamed == base


def test_rows_on_disk_give_the_same_edges_as_rows_in_memory(tmp_path: Path) -> None:
    vectors = planted(2)
    in_memory = searched(vectors, [slice(None)])
    on_disk = searched(vectors, [slice(None)], FolderStore(tmp_path))
    assert edges(on_disk) == edges(in_memory)
    on_disk.drop_rows()
    assert edges(on_disk) == edges(in_memory)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith("block")]


def test_equal_vectors_are_copies_of_the_first_in_whatever_block() -> None:
    vectors = planted(3)
    doubled = np.concatenate([vectors, 2 * vectors[:100], vectors[:50]])
    whole = ArraySource(doubled, 60)
    survey = survey_source(whole, map)
    plan = plan_cells(survey.sample, len(doubled), whole, 0.8, OPTIONS)
    graph = CellGraph(MemoryStore(), plan, 0.8, 1000)
    added = graph.add(whole, survey.valid, map)
    assert {row: int(first) for row, first in added.copies.tolist()} == {
        **{len(vectors) + at: at for at in range(100)},
        **{len(vectors) + 100 + at: at for at in range(50)},
    }
    assert max(dst for _, dst, _ in edges(graph)) < len(vectors)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_without_direction_take_no_part(dtype: Any) -> None:
    vectors = planted(4).astype(dtype)
    vectors[::7] = 0
    vectors[3::7, 1] = np.nan
    vectors[5::7, 0] = np.inf
    survey = survey_source(ArraySource(vectors, 64), map)
    np.testing.assert_array_equal(survey.valid, as_units(vectors)[1])
    found = {row for edge in edges(searched(vectors, [slice(None)])) for row in edge[:2]}
    assert found
    assert survey.valid[sorted(found)].all()


def test_a_dense_region_becomes_many_cells() -> None:
    rng = np.random.default_rng(6)
    centre = unit(rng.normal(size=(1, 48)))[0].astype(np.float64)
    dense = [near(rng, centre, 0.7) for _ in range(1500)]
    vectors = unit(np.concatenate([dense, rng.normal(size=(1500, 48))]))
    graph = searched(vectors, [slice(None)])
    fair = 1 / len(graph.plan.index)
    assert graph.plan.index.share.max() < 5 * fair
