"""Small graphs for the tests of solvers, and their truths by brute force."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from dedup.aggregate import Parts, WeightedGraph
from dedup.graph import NeighbourGraph
from tests.dedup.planted import Array


def given_graph(count: int, edges: dict[tuple[int, int], float], floor: float) -> NeighbourGraph:
    """A graph of these edges, ``src < dst``."""
    pairs = np.array(sorted(edges), dtype=np.int64).reshape(-1, 2)
    weights = np.array([edges[pair] for pair in sorted(edges)], dtype=np.float32)
    return NeighbourGraph(count, pairs[:, 0], pairs[:, 1], weights, floor)


def exact_graph(vectors: Array, floor: float) -> NeighbourGraph:
    """All pairs of unit vectors at or above the floor."""
    similarity = (vectors @ vectors.T).astype(np.float32)
    src, dst = np.nonzero(np.triu(similarity.astype(np.float64) >= floor, 1))
    return NeighbourGraph(len(vectors), src, dst, similarity[src, dst], floor)


def partitions(count: int) -> Iterator[tuple[int, ...]]:
    """All restricted growth strings of this length, in lexicographic order."""

    def grow(label: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(label) == count:
            yield label
            return
        for value in range(max(label, default=-1) + 2):
            yield from grow((*label, value))

    return grow(())


def cpm(graph: WeightedGraph, label: Array | tuple[int, ...], resolution: float) -> Fraction:
    """The score of the Constant Potts Model, without loops and without rounding."""
    total = Fraction(0)
    for one, other in combinations(range(len(graph)), 2):
        if label[one] == label[other]:
            sizes = int(graph.sizes[one]) * int(graph.sizes[other])
            total -= Fraction(float(resolution)) * sizes
    for src, dst, weight in zip(graph.src, graph.dst, graph.weight, strict=True):
        if src != dst and label[src] == label[dst]:
            total += Fraction(float(weight))
    return total


def rough_cpm(graph: WeightedGraph, label: Array, resolution: float) -> float:
    """The same in floating point, for larger graphs."""
    inside = (label[graph.src] == label[graph.dst]) & (graph.src != graph.dst)
    squares = np.bincount(label, weights=graph.sizes) ** 2 - np.bincount(
        label, weights=graph.sizes.astype(np.float64) ** 2
    )
    return float(graph.weight[inside].sum() - resolution * squares.sum() / 2)


def as_parts(graphs: list[WeightedGraph]) -> Parts:
    """Several graphs in one set of arrays, as ``take_parts`` lays them out."""

    def starts(lengths: list[int]) -> Array:
        return np.cumsum([0, *lengths]).astype(np.int64)

    def join(arrays: list[Array], dtype: type) -> Array:
        return np.concatenate([np.zeros(0), *arrays]).astype(dtype)

    return Parts(
        starts([len(graph) for graph in graphs]),
        starts([len(graph.src) for graph in graphs]),
        np.arange(sum(len(graph) for graph in graphs)),
        join([graph.sizes for graph in graphs], np.int64),
        join([graph.src for graph in graphs], np.int64),
        join([graph.dst for graph in graphs], np.int64),
        join([graph.weight for graph in graphs], np.float64),
    )


@st.composite
def connected_graphs(
    draw: st.DrawFn, most: int = 7, sizes: int = 3, steps: int = 16
) -> WeightedGraph:
    """Connected graphs; weights are multiples of 1 / steps, so that scores tie."""
    count = draw(st.integers(2, most))
    edges = {(draw(st.integers(0, node - 1)), node) for node in range(1, count)}
    share = draw(st.sampled_from([0.1, 0.5, 0.9]))
    for pair in combinations(range(count), 2):
        if draw(st.floats(0, 1)) < share:
            edges.add(pair)
    ends = np.array(sorted(edges), dtype=np.int64).reshape(-1, 2)
    size = np.array(draw(st.lists(st.integers(1, sizes), min_size=count, max_size=count)))
    units = draw(st.lists(st.integers(steps // 2, steps), min_size=len(ends), max_size=len(ends)))
    pairs = size[ends[:, 0]] * size[ends[:, 1]]
    weight = np.array(units, dtype=np.float64) / steps * pairs
    return WeightedGraph(size.astype(np.int64), ends[:, 0].copy(), ends[:, 1].copy(), weight)
