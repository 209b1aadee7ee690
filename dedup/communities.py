"""Communities inside components, and their levels.

**Levels nest by construction.** The finest level partitions the nodes. The next one
partitions a graph whose nodes are the communities of the finer level: its node sizes are
the communities' sizes and its edge weights the sums of the edges between them, counting the
edges of its own, lower threshold. A coarser community is therefore a union of finer ones.

**CPM is unmoved by that aggregation.** The Constant Potts Model (Traag, Van Dooren and
Nesterov, Physical Review E 84 (2011) 016114) scores a partition with

    H = sum over communities C, over pairs i < j in C, of (w_ij - g * n_i * n_j)

where w_ij is 0 without an edge. For a union of finer communities the sums over the
aggregated graph and over the nodes differ by a constant only, the pairs inside the finer
communities. Nor does any optimal community cross components: splitting it there loses no
w_ij and saves g * n_i * n_j >= 0 for every pair across. Components can be solved one by one.

**Three routes.** Pairs, cliques and near-cliques provably stay whole (``dedup.whole``). What
else is small is searched exhaustively, by CPM (``dedup.small``). The rest goes to Leiden
(``dedup.cpm``, or igraph and leidenalg for other qualities), each component with a generator
of its own, seeded by the seed, the level and the id of its lowest node: no answer depends on
other components, nor on the order or the grouping in which they are solved.

**Components too large for the solver** are cut. Inside them, and inside the pieces that are
still too large, the threshold is raised by twentieths of its distance to 1 until every piece
fits. For the communities the edges below it are ignored; for the keepers nothing changes.

Similarities below 0 count as weight 0: they are never a reason to belong together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dedup.aggregate import Parts, WeightedGraph, aggregate, dense, take_parts
from dedup.arrays import Doubles, Ints
from dedup.components import components
from dedup.graph import NeighbourGraph
from dedup.leiden import Batch, Mapper, check_solver, solve_batch
from dedup.near import Near
from dedup.options import CommunityOptions, Level
from dedup.small import MOST_NODES, solve_small
from dedup.whole import Census, take_census

MOST_EDGES = 20_000_000
"""Edges of a component that is solved in one piece: about 100 bytes each in the solver."""

_BATCH_EDGES = 200_000
_BATCH_PARTS = 1_000
_RAISES = 20
_ABOVE_ALL = 2.0


@dataclass(frozen=True)
class Cut:
    """A component that was too large for the solver.

    Args:
        first: Id of its lowest node.
        nodes: Its nodes: communities of the finer level.
        edges: Edges between them.
        pieces: How many components it fell into.
        threshold: The highest threshold that a piece of it needed; 2 where a piece did not
            fit before all of its edges were gone.
    """

    first: int
    nodes: int
    edges: int
    pieces: int
    threshold: float


@dataclass(frozen=True)
class LevelNotes:
    """How one level was solved; components of one node count nowhere.

    Args:
        level: Its name.
        whole: Components left in one piece by proof.
        exhaustive: Components solved by exhaustive search.
        solver: Components solved by Leiden.
        cuts: Components cut before they were solved; their pieces count above.
    """

    level: str
    whole: int
    exhaustive: int
    solver: int
    cuts: tuple[Cut, ...]


@dataclass(frozen=True)
class _Task:
    """One level: the items' graph, and the communities it starts from.

    Of the first level the components may be known.
    """

    graph: NeighbourGraph
    level: Level
    node: Ints
    ids: Ints
    options: CommunityOptions
    seed: str
    component: Ints | None = None

    @property
    def cpm(self) -> bool:
        return self.options.quality == "cpm"

    @property
    def resolution(self) -> float:
        return self.options.resolution_at(self.level.threshold)

    def aggregate(self, raised: Doubles | None = None) -> WeightedGraph:
        # Loops add a constant to CPM; the other qualities count them.
        return aggregate(
            self.graph, self.level.threshold, self.node, len(self.ids), not self.cpm, raised
        )

    def census(self, graph: WeightedGraph, component: Ints) -> Census:
        return take_census(graph, component, self.resolution if self.cpm else None)


def find_communities(
    graph: NeighbourGraph,
    levels: Sequence[Level],
    options: CommunityOptions | None = None,
    ids: Ints | None = None,
    seed: int = 0,
    *,
    mapper: Mapper | None = None,
    max_edges: int = MOST_EDGES,
    notes: list[LevelNotes] | None = None,
    near: Near | None = None,
) -> dict[str, Ints]:
    """Cut the graph into nested communities.

    The result depends on the ids, the edges, the options and the seed; it does not depend on
    the order in which components are solved, as each has a random generator of its own.

    Args:
        graph: Edges down to the lowest threshold of the levels.
        levels: From the finest to the loosest, thresholds not rising.
        options: How to cut.
        ids: Stable, ascending ids of the nodes, int64 (n,); they seed the components.
            ``None`` for the node numbers.
        seed: Of the solver.
        mapper: Applies a function to each of a sequence of batches of components, and gives
            the answers in order; ``None`` for the builtin ``map``. Function and batches can
            be pickled. For CPM threads do as well as processes: it runs without the GIL.
        max_edges: A component with more edges than this, at least 1, between communities of
            the finer level is cut before it is solved; see the module.
        notes: A list to which one entry per level is appended: how it was solved.
        near: Of the graph, at the threshold of the first level, where it is known already.

    Returns:
        By level name, for each node the lowest node of its community, int64 (n,).

    Raises:
        ImportError: If the quality needs leidenalg and it is not installed.
        ValueError: If a level lies below the graph's floor or above the level before it, or
            ``max_edges`` is below 1.
    """
    options = options or CommunityOptions()
    check_solver(options.quality)
    _check_levels(graph, levels)
    if max_edges < 1:
        raise ValueError(f"max_edges must be at least 1, got {max_edges}")
    ids = np.arange(graph.count, dtype=np.int64) if ids is None else ids
    labels = np.arange(graph.count, dtype=np.int64)
    found: dict[str, Ints] = {}
    for number, level in enumerate(levels):
        firsts, node = dense(labels)
        task = _Task(graph, level, node, ids[firsts], options, f"{seed}/{level.name}")
        if near is not None and not number:
            task = replace(task, graph=near.graph, component=near.component)
        merged, note = _solve_level(task, mapper or map, max_edges)
        labels = firsts[merged][node]
        found[level.name] = labels
        if task.cpm and number < len(levels) - 1:
            # Edges inside a community have had their say: of the looser levels no CPM counts them.
            graph = graph.across(labels)
        if notes is not None:
            notes.append(note)
    return found


def _check_levels(graph: NeighbourGraph, levels: Sequence[Level]) -> None:
    above = 1.0
    for level in levels:
        if level.threshold > above:
            raise ValueError(
                f"level {level.name!r} at {level.threshold:g} lies above the finer level "
                f"at {above:g}: give the levels from the highest threshold to the lowest"
            )
        above = level.threshold
    if levels and above < graph.floor:
        raise ValueError(
            f"level {levels[-1].name!r} at {above:g} lies below the graph's floor "
            f"{graph.floor:g}: search again with a lower floor"
        )


@dataclass(frozen=True)
class _Split:
    """What is left to be solved at a level, once its graph is taken apart."""

    labels: Ints
    small: Parts
    large: Parts
    seeds: list[str]
    notes: LevelNotes


def _solve_level(task: _Task, mapper: Mapper, max_edges: int) -> tuple[Ints, LevelNotes]:
    """The community of each node of the level, by its lowest node."""
    split = _split(task, max_edges)
    if len(split.small):
        split.small.relabel(solve_small(split.small, task.resolution), split.labels)
    batches = [
        Batch(
            split.large.between(start, stop),
            split.seeds[start:stop],
            task.options.quality,
            task.resolution,
            task.options.iterations,
        )
        for start, stop in _batch_bounds(np.diff(split.large.edge_start))
    ]
    for batch, found in zip(batches, mapper(solve_batch, batches), strict=True):
        batch.parts.relabel(found, split.labels)
    return split.labels, split.notes


def _split(task: _Task, max_edges: int) -> _Split:
    """Take the level's graph apart by the routes of its components."""
    coarse, component = task.aggregate(), task.component
    if component is None:
        component = components(len(coarse), coarse.src, coarse.dst)
    census = task.census(coarse, component)
    cuts: tuple[Cut, ...] = ()
    if _too_large(census, max_edges).size:
        coarse, cuts = _cut(task, component, census, max_edges)
        component = components(len(coarse), coarse.src, coarse.dst)
        census = task.census(coarse, component)
    hard = np.flatnonzero((census.nodes > 1) & ~census.whole)
    is_small = census.nodes[hard] <= (MOST_NODES if task.cpm else 0)
    small, large = hard[is_small], hard[~is_small]
    # The largest first, so that no worker is left with one at the end.
    large = large[np.argsort(-census.edges[large], kind="stable")]
    whole = int(np.count_nonzero((census.nodes > 1) & census.whole))
    parts = take_parts(coarse, component, np.concatenate([small, large]))
    return _Split(
        labels=component if task.component is None else component.copy(),
        small=parts.between(0, len(small)),
        large=parts.between(len(small), len(parts)),
        seeds=[f"{task.seed}/{number}" for number in task.ids[large].tolist()],
        notes=LevelNotes(task.level.name, whole, len(small), len(large), cuts),
    )


def _batch_bounds(edges: Ints) -> Iterator[tuple[int, int]]:
    """Runs of components, each of few enough components and edges (or of one component)."""
    start, total = 0, 0
    for part, own in enumerate(edges.tolist()):
        if part > start and (total + own > _BATCH_EDGES or part - start >= _BATCH_PARTS):
            yield start, part
            start, total = part, 0
        total += own
    if len(edges):
        yield start, len(edges)


def _too_large(census: Census, max_edges: int) -> Ints:
    """Lowest nodes of the components to be cut."""
    return np.flatnonzero((census.edges > max_edges) & ~census.whole)


def _cut(
    task: _Task, component: Ints, census: Census, max_edges: int
) -> tuple[WeightedGraph, tuple[Cut, ...]]:
    """The level's graph without the edges below the raised thresholds, and what was cut."""
    first = _too_large(census, max_edges)
    threshold = task.level.threshold
    raised = np.full(len(component), threshold)
    roots, piece, step = first, component, 0
    while len(roots):
        step += 1
        share = step / _RAISES
        now = threshold + (1.0 - threshold) * share if step <= _RAISES else _ABOVE_ALL
        raised[np.isin(piece, roots)] = now
        coarse = task.aggregate(raised)
        piece = components(len(coarse), coarse.src, coarse.dst)
        roots = _too_large(task.census(coarse, piece), max_edges)
    cuts = []
    for root in first.tolist():
        inside = component == root
        cuts.append(
            Cut(
                first=int(task.ids[root]),
                nodes=int(census.nodes[root]),
                edges=int(census.edges[root]),
                pieces=len(np.unique(piece[inside])),
                threshold=float(raised[inside].max()),
            )
        )
    return coarse, tuple(cuts)
