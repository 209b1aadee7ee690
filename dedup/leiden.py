"""The Leiden solvers behind the quality functions, one component at a time or in batches.

CPM runs in ``dedup.cpm``, modularity in igraph's C code, the others in leidenalg. ``solve``
also does CPM in igraph: the reference that ``dedup.cpm`` is measured against.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from dedup.aggregate import Parts, WeightedGraph
from dedup.arrays import Ints, regroup
from dedup.cpm import solve_cpm
from dedup.options import Quality

if TYPE_CHECKING:
    import igraph

T = TypeVar("T")
R = TypeVar("R")

_LEIDENALG = {
    "rb": "RBConfigurationVertexPartition",
    "rber": "RBERVertexPartition",
    "surprise": "SurpriseVertexPartition",
    "significance": "SignificanceVertexPartition",
}
_WITH_RESOLUTION = ("rb", "rber")
_WITH_SIZES = ("rber", "surprise", "significance")
_UNWEIGHTED = ("significance",)
_IGRAPH = threading.Lock()  # igraph has one random generator for the whole process


class Mapper(Protocol):
    """Like the builtin ``map`` over a sequence: applies a function, answers in task order."""

    def __call__(self, function: Callable[[T], R], tasks: Sequence[T], /) -> Iterable[R]:
        """One answer per task."""
        ...


@dataclass(frozen=True)
class Batch:
    """Components for one call of ``solve_batch``; may be pickled to another process.

    Args:
        parts: The components.
        seeds: A seed for each.
        quality: The function to maximise.
        resolution: Its resolution parameter, where it has one.
        iterations: Passes at most.
    """

    parts: Parts
    seeds: list[str]
    quality: Quality
    resolution: float
    iterations: int


def solve_batch(batch: Batch) -> Ints:
    """Solve each component of a batch on its own.

    Returns:
        For each node the lowest node of its community, numbered within its graph, int64.
    """
    if batch.quality == "cpm":
        seeds = np.array([_number(seed) for seed in batch.seeds], dtype=np.uint64)
        return solve_cpm(batch.parts, batch.resolution, seeds, batch.iterations)
    found = np.empty(len(batch.parts.nodes), dtype=np.int64)
    for part, seed in enumerate(batch.seeds):
        nodes = slice(batch.parts.node_start[part], batch.parts.node_start[part + 1])
        graph = batch.parts[part]
        found[nodes] = solve(graph, batch.quality, batch.resolution, seed, batch.iterations)
    return found


def _number(seed: str) -> int:
    return int.from_bytes(blake2b(seed.encode(), digest_size=8).digest(), "little")


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

    # igraph reads the ends of the edges straight from the memory of an int64 array.
    return igraph.Graph(n=len(graph), edges=np.column_stack([graph.src, graph.dst]))


def _igraph(
    graph: WeightedGraph, quality: str, resolution: float, generator: random.Random, iterations: int
) -> list[int]:
    import igraph

    # igraph derives the node weights of modularity from the degrees by itself.
    sizes = {"node_weights": graph.sizes.tolist()} if quality == "cpm" else {}
    with _IGRAPH:
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
