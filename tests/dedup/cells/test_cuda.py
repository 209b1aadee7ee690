from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.cells import graph as cells
from dedup.cells.assign import centroid_codes, nearest, nearest_in_lists
from dedup.cells.codes import encode, padded
from dedup.cells.cuda import arithmetic, compare, group, lanes, resolve_device
from dedup.cells.cuda.pile import TensorPile
from dedup.cells.graph import CellGraph, plan_cells, survey_source
from dedup.cells.pile import Pile
from dedup.cells.products import products
from dedup.cells.source import ArraySource
from dedup.cells.store import MemoryStore
from dedup.options import GraphOptions
from dedup.units import as_units, cosine
from tests.dedup.planted import Array, groups_and_chains, near, unit

# "cpu" would choose the code for processors; under its other name the tensors run there.
HERE = "cpu:0"
DEVICES = [
    HERE,
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ],
    ),
]
every_device = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(autouse=True)
def small_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many cells, tiles and pieces for few rows, so that what millions go through is seen."""
    monkeypatch.setattr(cells, "ONE_CELL", 200)
    monkeypatch.setattr(cells, "CELL_ROWS", 50)
    monkeypatch.setattr(compare, "_TILE", 2000)
    monkeypatch.setattr(arithmetic, "_PAIR_BYTES", 5000)
    monkeypatch.setattr(lanes, "_BUFFER", 10_000)


def planted(seed: int) -> Array:
    rng = np.random.default_rng(seed)
    return groups_and_chains(rng, groups=80, chains=40, singles=150)


def searched(
    vectors: Array, device: str, parts: list[slice] | None = None, most: int = 1000
) -> CellGraph:
    whole = ArraySource(vectors, 97)
    survey = survey_source(whole, map)
    options = GraphOptions(threads=1)
    parts = parts or [slice(None)]
    plan = plan_cells(survey.sample, len(vectors), whole, 0.8, options, codes=len(parts) > 1)
    graph = CellGraph(MemoryStore(), replace(plan, device=device), 0.8, most)
    with ThreadPoolExecutor(4) as pool:
        for part in parts:
            source = ArraySource(vectors[part], 97, part.start or 0)
            graph.add(source, survey.valid[part], pool.map)
    return graph


def edges(graph: CellGraph) -> list[tuple[int, int, float]]:
    found: list[Any] = []
    for batch in graph.pairs():
        found += zip(*(column.to_pylist() for column in batch.columns), strict=True)
    return sorted(found)


def assert_same(one: CellGraph, other: CellGraph) -> None:
    assert edges(one)
    assert edges(one) == edges(other)
    for left, right in zip(one.saturated(), other.saturated(), strict=True):
        np.testing.assert_array_equal(left, right)


def rows_of(kind: str, dtype: Any, width: int) -> Array:
    rng = np.random.default_rng(width)
    rows = rng.normal(size=(60, width))
    if kind == "spiky":
        rows[:, 0] *= 50
    if kind == "one-hot":
        rows = -np.eye(width)[rng.integers(0, width, 60)]
    rows[7] = 0
    rows[8, 0] = np.nan
    return rows.astype(dtype)


@every_device
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", ["normal", "spiky", "one-hot"])
@pytest.mark.parametrize("width", [1, 33, 512])
def test_units_and_codes_are_those_of_the_processor(
    device: str, dtype: Any, kind: str, width: int
) -> None:
    rows = rows_of(kind, dtype, width)
    units, _ = as_units(rows)
    codes = encode(units)

    found = arithmetic.unit_rows(torch.from_numpy(rows).to(device))
    coded = arithmetic.encode(torch.from_numpy(units).to(device))

    np.testing.assert_array_equal(found.cpu().numpy().view(np.int32), units.view(np.int32))
    np.testing.assert_array_equal(coded.values.cpu().numpy(), codes.values)
    np.testing.assert_array_equal(coded.scale.cpu().numpy(), codes.scale)
    np.testing.assert_allclose(coded.error.cpu().numpy(), codes.error, rtol=1e-4, atol=1e-8)
    rest = units - codes.scale[:, None] * codes.values[:, :width].astype(np.float64)
    assert (coded.error.cpu().numpy() >= np.linalg.norm(rest, axis=1)).all()


def test_float64_beyond_the_square_root_of_the_largest_still_has_a_direction() -> None:
    rows = np.array([[1e200, 1e200], [1e-200, 0.0]])
    found = arithmetic.unit_rows(torch.from_numpy(rows)).numpy()
    np.testing.assert_array_equal(found, as_units(rows)[0])


@every_device
@pytest.mark.parametrize(("left", "right"), [(1, 1), (3, 5), (17, 33), (100, 257)])
@pytest.mark.parametrize("width", [1, 500, 3000])
def test_products_are_exact(device: str, left: int, right: int, width: int) -> None:
    rng = np.random.default_rng(0)
    codes = rng.choice(np.array([-127, 126, 127], dtype=np.int8), (left + right, padded(width)))
    a, b = (torch.from_numpy(part).to(device) for part in (codes[:left], codes[left:]))
    for found in (arithmetic.products(a, b), arithmetic._in_float32(a, b)):
        np.testing.assert_array_equal(found.cpu().numpy(), products(codes[:left], codes[left:]))


@every_device
@pytest.mark.parametrize("width", [1, 2, 31, 512])
def test_cosines_are_those_of_the_processor(device: str, width: int) -> None:
    rng = np.random.default_rng(width)
    units, _ = as_units(rng.normal(size=(50, width)))
    left, right = (rng.integers(0, 50, 300) for _ in range(2))
    found = arithmetic.cosines(
        torch.from_numpy(units).to(device),
        torch.from_numpy(left).to(device),
        torch.from_numpy(right).to(device),
    )
    np.testing.assert_array_equal(found.cpu().numpy(), cosine(units, left, right))


@every_device
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 150),
    most=st.integers(1, 5),
    slack=st.floats(0, 0.5),
)
def test_nearest_centroids_are_those_of_the_processor(
    device: str, seed: int, count: int, most: int, slack: float
) -> None:
    rng = np.random.default_rng(seed)
    rows = encode(as_units(groups_and_chains(rng))[0])
    units = as_units(rng.normal(size=(count, 32)))[0]
    centroids = centroid_codes(units[rng.integers(0, count, count)])  # equal ones among them
    bounds = np.sort(np.concatenate([[0, count], rng.integers(0, count + 1, 4)]))
    probes = np.stack([rng.permutation(6)[:3] - 1 for _ in range(len(rows))]).astype(np.int32)

    for most_here, slack_here in ((most, slack), (1, 0.3)):
        expected = nearest(rows, centroids, most_here, slack_here)
        found = nearest(rows, centroids, most_here, slack_here, device)
        np.testing.assert_array_equal(found, expected)
        in_lists = (rows, centroids, probes, bounds, most_here, slack_here)
        expected = nearest_in_lists(*in_lists)
        np.testing.assert_array_equal(nearest_in_lists(*in_lists, device), expected)


@every_device
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), most=st.integers(1, 6), cuts=st.integers(1, 5))
def test_piles_keep_what_those_of_the_processor_keep(
    device: str, seed: int, most: int, cuts: int
) -> None:
    rng = np.random.default_rng(seed)
    left, right = np.triu_indices(30, 1)
    chosen = rng.permutation(len(left))[: rng.integers(0, len(left) + 1)]
    similarity = rng.integers(0, 8, len(left)).astype(np.float32) / 8  # many are equal
    ids = rng.permutation(100)[:30]
    pile = Pile(ids, most)
    tensors = TensorPile(torch.from_numpy(ids).to(device), most)
    tensors._room = 40
    for part in np.array_split(chosen, cuts):
        pairs = left[part], right[part], similarity[part]
        pile.add(*pairs)
        tensors.add(*(torch.from_numpy(each).to(device) for each in pairs))

    expected, found = pile.result(), tensors.result()

    for one, other in ((expected, found), (found, expected)):
        rows = zip(one.left.tolist(), one.right.tolist(), one.similarity.tolist(), strict=True)
        others = zip(other.left.tolist(), other.right.tolist(), other.similarity, strict=True)
        assert set(rows) <= set(others)
    assert len(found.left) == len(expected.left)
    np.testing.assert_array_equal(found.full, expected.full)
    np.testing.assert_array_equal(found.reach, expected.reach)


@every_device
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 1000),
    first=st.integers(1, 600),
    second=st.integers(1, 900),
    most=st.sampled_from([4, 1000]),
)
def test_edges_are_those_of_the_processor_whatever_is_added_when(
    device: str, seed: int, first: int, second: int, most: int
) -> None:
    vectors = planted(seed)
    vectors[40:60] = 2 * vectors[:20]  # copies
    cuts = sorted({0, min(first, len(vectors)), min(second, len(vectors)), len(vectors)})
    parts = [slice(start, stop) for start, stop in pairwise(cuts)]
    base = searched(vectors, "cpu", most=most)
    assert_same(base, searched(vectors, device, most=most))
    assert_same(base, searched(vectors, device, parts, most))


@every_device
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_edges_of_every_type_are_those_of_the_processor(device: str, dtype: Any) -> None:
    vectors = planted(3).astype(dtype)
    vectors[::9] = 0
    assert_same(searched(vectors, "cpu"), searched(vectors, device))


@every_device
@pytest.mark.parametrize("alike", [0.5, 0.99])
def test_cells_that_are_split_give_the_edges_of_the_processor(
    device: str, alike: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    centre = unit(rng.normal(size=(1, 48)))[0].astype(np.float64)
    crowd = np.array([near(rng, centre, alike) for _ in range(250)])
    others = groups_and_chains(rng, groups=20, chains=10, singles=10, width=48)
    vectors = unit(np.concatenate([crowd, others]))
    monkeypatch.setattr("dedup.cells.pairs.compare.__defaults__", (60,))
    monkeypatch.setitem(compare.compare_group.__kwdefaults__, "largest", 60)
    monkeypatch.setattr(cells, "CELL_ROWS", 200)
    assert_same(searched(vectors, "cpu", most=20), searched(vectors, device, most=20))


def test_what_does_not_fit_the_device_is_compared_by_the_processor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    vectors = planted(2)
    monkeypatch.setattr(group, "unit_rows", full)
    assert_same(searched(vectors, "cpu"), searched(vectors, HERE))
    assert "does not fit the memory" in caplog.text


def test_a_gpu_is_used_where_there_is_one_and_missed_where_it_is_asked_for() -> None:
    assert resolve_device("cpu") == "cpu"
    if torch.cuda.is_available():
        assert resolve_device("auto") == resolve_device("cuda") == "cuda"
        return
    assert resolve_device("auto") == "cpu"
    with pytest.raises(ValueError, match="PyTorch sees no GPU"):
        resolve_device("cuda")
