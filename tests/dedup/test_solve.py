from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.exact import Nodes
from dedup.options import CommunityOptions, Level
from dedup.search import Searched
from dedup.solve import Solution, solve
from tests.dedup.graphs import exact_graph
from tests.dedup.planted import Array, groups_and_chains

LEVELS = (Level("cluster", 0.9), Level("variant", 0.8))


def rows_of(of_row: Array, vectors: Array) -> Searched:
    """Rows on nodes, and the graph of the nodes."""
    first = np.unique(of_row, return_index=True)[1]
    valid = np.ones(len(of_row), dtype=np.bool_)
    return Searched(Nodes(of_row, first), exact_graph(vectors, 0.8), valid)


def rows_on_nodes(seed: int) -> tuple[Searched, Array, Array]:
    """What a search left, a rank and protected rows; some nodes hold several rows."""
    rng = np.random.default_rng(seed)
    vectors = groups_and_chains(rng, groups=6, chains=4, singles=4, width=12)
    extra = rng.integers(0, len(vectors), len(vectors) // 2)
    of_row = np.concatenate([np.arange(len(vectors)), np.sort(extra)])
    rank = rng.permutation(len(of_row))
    return rows_of(of_row, vectors), rank, rng.random(len(of_row)) < 0.2


def decide(
    rows: Searched, rank: Array, protect: Array | None, within: str = "component"
) -> Solution:
    options = CommunityOptions(within=within)  # type: ignore[arg-type]
    return solve(rows, rank, LEVELS, options, np.arange(len(rank)), 0, protect=protect)


def similarity(rows: Searched) -> Array:
    """Between rows: 1 on the same node, that of an edge, else -1."""
    graph = rows.graph
    alike = np.full((graph.count, graph.count), -1.0)
    alike[graph.src, graph.dst] = alike[graph.dst, graph.src] = graph.similarity
    np.fill_diagonal(alike, 1.0)
    return alike[rows.nodes.of_row][:, rows.nodes.of_row]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["component", "community"]), st.booleans())
def test_rows_removed_have_a_kept_witness_and_protected_ones_stay(
    seed: int, within: str, protecting: bool
) -> None:
    rows, rank, protect = rows_on_nodes(seed)
    protect = protect & protecting
    found = decide(rows, rank, protect if protecting else None, within)

    assert found.keep[protect].all()
    alike, of_row = similarity(rows), rows.nodes.of_row
    for row in range(len(rank)):
        witness = found.witness[row]
        if found.keep[row]:
            assert witness == -1
            assert np.isnan(found.similarity[row])
            continue
        assert found.keep[witness]
        assert found.similarity[row] == np.float32(alike[row, witness])
        assert alike[row, witness] >= 0.9
        on_node = protect & (of_row == of_row[row])
        if on_node.any():
            assert witness == np.flatnonzero(on_node)[np.argmin(rank[on_node])]
    if within == "component":
        kept = np.flatnonzero(found.keep)
        near = (alike[kept][:, kept] >= 0.9) & ~np.eye(len(kept), dtype=bool)
        assert not (near & ~(protect[kept][:, None] & protect[kept])).any()


def test_protecting_nothing_changes_nothing() -> None:
    rows, rank, protect = rows_on_nodes(1)
    plain, none = decide(rows, rank, None), decide(rows, rank, protect & False)
    np.testing.assert_array_equal(plain.keep, none.keep)
    np.testing.assert_array_equal(plain.witness, none.witness)
    np.testing.assert_array_equal(plain.similarity, none.similarity)
    assert [note.level for note in plain.notes] == ["cluster", "variant"]


def test_all_protected_rows_of_a_node_stay_and_the_first_of_them_speaks() -> None:
    vectors = np.array([[1.0, 0.0], [0.6, 0.8]], dtype=np.float32)
    rows = rows_of(np.array([0, 0, 0, 0, 1]), vectors)
    rank = np.array([0, 3, 2, 1, 4])
    protect = np.array([False, True, True, False, False])
    found = decide(rows, rank, protect)
    assert found.keep.tolist() == [False, True, True, False, True]
    assert found.witness.tolist() == [2, -1, -1, 2, -1]
    assert found.similarity[[0, 3]].tolist() == [1.0, 1.0]


def test_protection_of_a_wrong_shape_is_refused() -> None:
    rows, rank, protect = rows_on_nodes(2)
    with pytest.raises(ValueError, match="protect must have shape"):
        decide(rows, rank, protect[:-1])
