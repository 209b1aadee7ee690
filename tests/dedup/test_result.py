from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import CommunityOptions, Duplicates, GraphOptions, find_duplicates
from tests.dedup.planted import Array, groups_and_chains, near, true_pairs, unit


def assert_same(one: Duplicates, other: Duplicates) -> None:
    assert one.to_table().equals(other.to_table())
    assert one.pairs().equals(other.pairs())
    np.testing.assert_array_equal(one.components, other.components)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.floats(0.5, 1.0),
    st.sampled_from([np.float16, np.float32]),
    st.sampled_from(["component", "community"]),
    st.sampled_from(["faiss-flat", "faiss-ivf"]),
)
def test_every_removed_row_has_a_kept_witness_that_comes_before_it(
    seed: int, threshold: float, dtype: Any, within: Any, method: Any
) -> None:
    rng = np.random.default_rng(seed)
    vectors = (groups_and_chains(rng) * rng.uniform(0.5, 2, (1, 1))).astype(dtype)
    vectors = np.concatenate([vectors, vectors[::7]])
    priority = rng.integers(0, 50, len(vectors))

    found = find_duplicates(
        vectors,
        threshold,
        priority=priority,
        graph=GraphOptions(method, k=2, max_k=64),
        communities=CommunityOptions(within=within),
    )

    exact = vectors.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    removed = np.flatnonzero(~found.keep)
    witness = found.witness[removed]
    assert found.keep[witness].all()
    true = np.einsum("ij,ij->i", exact[removed], exact[witness])
    assert (true >= threshold - 1e-6).all()
    assert (found.similarity[removed].astype(np.float64) >= threshold).all()
    np.testing.assert_allclose(found.similarity[removed], true, atol=1e-6)
    assert (priority[witness] <= priority[removed]).all()
    assert (found.witness[found.keep] == -1).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_within_components_no_kept_rows_are_alike_and_a_second_run_removes_nothing(
    seed: int,
) -> None:
    vectors = groups_and_chains(np.random.default_rng(seed))
    kept = vectors[find_duplicates(vectors, 0.9).keep]
    assert not true_pairs(kept, 0.9 + 1e-6)
    assert find_duplicates(kept, 0.9).keep.all()


def test_within_communities_near_copies_of_different_communities_stay() -> None:
    vectors = groups_and_chains(np.random.default_rng(0), groups=0, chains=60, singles=0)
    component = find_duplicates(vectors, 0.9)
    community = find_duplicates(vectors, 0.9, communities=CommunityOptions(within="community"))
    assert component.keep.sum() < community.keep.sum()
    assert not true_pairs(vectors[component.keep], 0.9 + 1e-6)
    assert true_pairs(vectors[community.keep], 0.9)
    # A witness never lies in another community.
    removed = ~community.keep
    labels = community.labels
    np.testing.assert_array_equal(labels[removed], labels[community.witness[removed]])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_order_of_rows_does_not_change_what_is_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = groups_and_chains(rng)
    priority = rng.permutation(len(vectors))
    order = rng.permutation(len(vectors))

    straight = find_duplicates(vectors, 0.9, priority=priority)
    mixed = find_duplicates(vectors[order], 0.9, priority=priority[order])

    np.testing.assert_array_equal(straight.keep[order], mixed.keep)
    np.testing.assert_array_equal(straight.similarity[order], mixed.similarity)
    removed = ~mixed.keep
    np.testing.assert_array_equal(straight.witness[order][removed], order[mixed.witness[removed]])


@pytest.mark.parametrize("within", ["component", "community"])
@pytest.mark.parametrize("threshold", [0.8, 0.85, 0.93, 0.99, 1.0])
def test_rethreshold_equals_a_fresh_run_up_and_down(threshold: float, within: Any) -> None:
    vectors = groups_and_chains(np.random.default_rng(8), groups=40, chains=20)
    options = CommunityOptions(within=within)
    first = find_duplicates(vectors, 0.9, floor=0.8, communities=options)

    fresh = find_duplicates(vectors, threshold, communities=options)

    assert_same(first.rethreshold(threshold), fresh)
    assert_same(first.rethreshold(threshold).rethreshold(0.9), first)


def test_rethreshold_below_the_floor_says_so() -> None:
    found = find_duplicates(np.eye(3, dtype=np.float32), 0.9)
    assert found.floor == 0.8
    with pytest.raises(ValueError, match=r"0.7 lies below the floor 0.8 .*floor=0.7"):
        found.rethreshold(0.7)
    with pytest.raises(ValueError, match=r"in \[-1, 1\], got 1.2"):
        found.rethreshold(1.2)


def test_pairs_are_those_of_a_matrix_product() -> None:
    vectors = groups_and_chains(np.random.default_rng(9))
    pairs = find_duplicates(vectors, 0.9).pairs()
    rows = zip(pairs["src"].to_pylist(), pairs["dst"].to_pylist(), strict=True)
    assert set(rows) == true_pairs(vectors, 0.9)
    assert pairs.schema.names == ["src", "dst", "similarity"]


def test_memory_mapped_and_scaled_vectors_give_the_same_answer(tmp_path: Path) -> None:
    vectors = groups_and_chains(np.random.default_rng(10))
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    assert_same(find_duplicates(vectors), find_duplicates(mapped))
    assert_same(find_duplicates(vectors), find_duplicates(vectors * np.float32(4)))


def test_a_chain_is_cut_by_witnesses_and_not_swallowed() -> None:
    rng = np.random.default_rng(11)
    link = unit(rng.normal(size=(1, 64)))[0].astype(np.float64)
    chain = [link]
    for _ in range(5):
        chain.append(near(rng, chain[-1], 0.93))
    found = find_duplicates(unit(np.array(chain)), 0.92)
    assert not found.components.any()
    assert found.keep.tolist() == [True, False] * 3
    assert found.witness.tolist() == [-1, 0, -1, 2, -1, 4]


def test_explain_names_witness_and_neighbours() -> None:
    vectors = np.array([[1, 0, 0], [1, 0.1, 0], [0, 0, 1], [1, 0, 0]], dtype=np.float32)
    found = find_duplicates(vectors, 0.9)

    removed = found.explain(1)
    assert (removed.keep, removed.witness, removed.members) == (False, 0, 3)
    assert removed.neighbours == [(0, pytest.approx(0.995, abs=1e-3))]
    assert "row 1 (cluster 0 of 3) is removed: kept row 0" in str(removed)
    assert found.explain(3).neighbours == [(0, 1.0), (1, pytest.approx(0.995, abs=1e-3))]
    assert str(found.explain(2)) == "row 2 is kept: no other row reaches similarity 0.9"
    assert "no row kept before it" in str(found.explain(0))
    with pytest.raises(IndexError, match=r"0\.\.3, got 4"):
        found.explain(4)


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one(count: int) -> None:
    found = find_duplicates(np.ones((count, 4), dtype=np.float16))
    assert found.labels.tolist() == list(range(count))
    assert found.keep.all()
    assert found.pairs().num_rows == 0
    table = found.to_table()
    assert table.schema.names == ["row", "cluster", "keep", "witness", "similarity"]
    assert table.num_rows == count
    assert table["witness"].null_count == count


def test_a_hundred_thousand_identical_vectors_are_one_node() -> None:
    vectors = np.ones((100_000, 64), dtype=np.float16)
    found = find_duplicates(vectors)
    assert len(found.searched.nodes) == 1
    assert found.keep.sum() == 1
    assert (found.witness[1:] == 0).all()
    assert (found.similarity[1:] == 1.0).all()
    assert found.pairs().num_rows == 99_999


def test_a_crowd_of_near_copies_stays_bounded_and_says_that_it_is_saturated() -> None:
    rng = np.random.default_rng(12)
    vectors = unit(np.ones((3000, 16)) + 0.01 * rng.normal(size=(3000, 16)))
    found = find_duplicates(vectors, graph=GraphOptions(max_k=64))
    assert found.saturated == 3000
    assert found.pairs().num_rows <= 3000 * 64
    assert found.keep[found.witness[~found.keep]].all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 1.5}, r"threshold must be in \[-1, 1\], got 1.5"),
        ({"threshold": float("nan")}, r"threshold must be in \[-1, 1\], got nan"),
        ({"floor": 0.95}, "floor 0.95 lies above threshold 0.9"),
        ({"priority": np.arange(4)}, r"priority must have shape \(3,\), got \(4,\)"),
        ({"vectors": np.zeros((3, 2))}, "rows 0, 1, 2"),
        ({"vectors": np.ones(3)}, "shape"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    vectors: Array = arguments.pop("vectors", np.eye(3))
    with pytest.raises(ValueError, match=message):
        find_duplicates(vectors, **arguments)


def test_importing_the_package_is_light() -> None:
    heavy = "{'faiss', 'igraph', 'leidenalg', 'duckdb', 'scipy', 'torch', 'ray', 'pandas'}"
    code = f"import sys, dedup; assert not {heavy} & set(sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
