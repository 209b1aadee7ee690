"""The Leiden solvers: igraph's C code, and leidenalg for the quality functions it lacks."""

from __future__ import annotations

import random
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from dedup.arrays import Doubles, Ints, regroup
from dedup.options import Quality

if TYPE_CHECKING:
    import igraph

_LEIDENALG = {
    "rb": "RBConfigurationVertexPartition",
    "rber": "RBERVertexPartition",
    "surprise": "SurpriseVertexPartition",
    "significance": "SignificanceVertexPartition",
}
_WITH_RESOLUTION = ("rb", "rber")
_WITH_SIZES = ("rber", "surprise", "significance")
_UNWEIGHTED = ("significance",)


@dataclass(frozen=True)
class WeightedGraph:
    """A small graph for a solver: undirected, each edge once, loops allowed.

    Args:
        sizes: Items that each node stands for, int64 (n,).
        src: One end of each edge, int64 (p,), in 0..n-1.
        dst: The other end, int64 (p,).
        weight: Edge weights, at least 0, float64 (p,).
    """

    sizes: Ints
    src: Ints
    dst: Ints
    weight: Doubles

    def __len__(self) -> int:
        return len(self.sizes)


def solve(
    graph: WeightedGraph, quality: Quality, resolution: float, seed: str, iterations: int
) -> Ints:
    """Cut one connected graph into communities with the Leiden algorithm.

    Traag, Waltman and van Eck, "From Louvain to Leiden", Scientific Reports 9 (2019) 5233.

    Args:
        graph: The graph; the result depends on the order of its nodes and edges.
        quality: The function to maximise.
        resolution: Its resolution parameter, where it has one.
        seed: Any string; the same string gives the same communities.
        iterations: Passes at most.

    Returns:
        For each node the lowest node of its community, int64 (n,).

    Raises:
        ImportError: If the quality needs leidenalg and it is not installed.
    """
    generator = random.Random(seed)  # noqa: S311 - tie breaking, not cryptography
    if quality in _LEIDENALG:
        membership = _leidenalg(graph, quality, resolution, generator, iterations)
    else:
        membership = _igraph(graph, quality, resolution, generator, iterations)
    return regroup(np.asarray(membership, dtype=np.int64))


def _as_igraph(graph: WeightedGraph) -> igraph.Graph:
    import igraph

    edges = np.column_stack([graph.src, graph.dst])
    return igraph.Graph(n=len(graph), edges=edges.tolist(), directed=False)


def _igraph(
    graph: WeightedGraph, quality: str, resolution: float, generator: random.Random, iterations: int
) -> list[int]:
    import igraph

    # igraph derives the node weights of modularity from the degrees by itself.
    sizes = {"node_weights": graph.sizes.tolist()} if quality == "cpm" else {}
    igraph.set_random_number_generator(generator)
    try:
        found = _as_igraph(graph).community_leiden(
            objective_function="CPM" if quality == "cpm" else "modularity",
            weights=graph.weight.tolist(),
            resolution=resolution,
            n_iterations=iterations,
            **sizes,
        )
    finally:
        igraph.set_random_number_generator(random)  # the module, igraph's own default
    return found.membership


def _leidenalg(
    graph: WeightedGraph, quality: str, resolution: float, generator: random.Random, iterations: int
) -> list[int]:
    leidenalg = _import_leidenalg(quality)
    arguments: dict[str, Any] = {}
    if quality not in _UNWEIGHTED:
        arguments["weights"] = graph.weight.tolist()
    if quality in _WITH_RESOLUTION:
        arguments["resolution_parameter"] = resolution
    if quality in _WITH_SIZES:
        arguments["node_sizes"] = graph.sizes.tolist()
    found = leidenalg.find_partition(
        _as_igraph(graph),
        getattr(leidenalg, _LEIDENALG[quality]),
        seed=generator.getrandbits(31),
        n_iterations=iterations,
        **arguments,
    )
    return found.membership


def check_solver(quality: Quality) -> None:
    """Raise ImportError, saying what to install, if a quality has no solver here."""
    if quality in _LEIDENALG:
        _import_leidenalg(quality)


def _import_leidenalg(quality: str) -> ModuleType:
    try:
        import leidenalg
    except ImportError as error:
        raise ImportError(
            f"community quality {quality!r} needs leidenalg: install winnow[leiden], or use "
            "cpm or modularity, which igraph computes"
        ) from error
    return leidenalg
