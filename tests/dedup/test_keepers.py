from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.graph import NeighbourGraph
from dedup.keepers import choose_keepers


@st.composite
def graphs(draw: st.DrawFn) -> tuple[NeighbourGraph, list[int], list[int]]:
    count = draw(st.integers(1, 12))
    every = [(src, dst) for src in range(count) for dst in range(src + 1, count)]
    pairs = sorted(draw(st.sets(st.sampled_from(every)))) if every else []
    # Few different values, so that ties between witnesses happen.
    alike = [draw(st.sampled_from([0.9, 0.95, 1.0])) for _ in pairs]
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    graph = NeighbourGraph(count, ends[:, 0], ends[:, 1], np.array(alike, np.float32), 0.9)
    rank = draw(st.permutations(range(count)))
    group = [draw(st.integers(0, 2)) for _ in range(count)]
    return graph, rank, group


@settings(max_examples=200, deadline=None)
@given(graphs(), st.booleans())
def test_keepers_equal_those_of_the_rule_followed_by_hand(
    case: tuple[NeighbourGraph, list[int], list[int]], grouped: bool
) -> None:
    graph, rank, group = case
    alike = {}
    for src, dst, value in zip(graph.src, graph.dst, graph.similarity, strict=True):
        if not grouped or group[src] == group[dst]:
            alike[src, dst] = alike[dst, src] = value
    kept: list[int] = []
    witness = {}
    for node in sorted(range(graph.count), key=lambda each: rank[each]):
        neighbours = [other for other in kept if (node, other) in alike]
        if neighbours:
            witness[node] = min(neighbours, key=lambda other: (-alike[node, other], rank[other]))
        else:
            kept.append(node)

    found = choose_keepers(graph, np.array(rank), np.array(group) if grouped else None)

    assert np.flatnonzero(found.keep).tolist() == sorted(kept)
    for node in range(graph.count):
        assert found.witness[node] == witness.get(node, -1)
        if node in witness:
            assert found.similarity[node] == alike[node, witness[node]]
        else:
            assert np.isnan(found.similarity[node])


def test_a_long_chain_keeps_every_second_link() -> None:
    count = 20_000
    nodes = np.arange(count)
    graph = NeighbourGraph(count, nodes[:-1], nodes[1:], np.full(count - 1, 0.9, np.float32), 0.9)
    found = choose_keepers(graph, nodes)
    assert np.flatnonzero(found.keep).tolist() == list(range(0, count, 2))
    np.testing.assert_array_equal(found.witness[1::2], nodes[::2])
