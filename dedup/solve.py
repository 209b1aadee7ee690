"""From a neighbour graph to components, communities and keepers, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from dedup.arrays import Bools, Floats, Ints
from dedup.communities import LevelNotes, find_communities
from dedup.graph import NeighbourGraph
from dedup.keepers import Keepers, choose_keepers
from dedup.leiden import Mapper
from dedup.near import Near
from dedup.options import CommunityOptions, Level
from dedup.search import Searched


@dataclass(frozen=True)
class Solution:
    """Groups and decisions, by row. Groups bear the number of their lowest row.

    Args:
        component: Connected component at the threshold, int64 (n,).
        root: Connected component at the floor, int64 (n,).
        levels: Communities by level name, int64 (n,) each; each level's are unions of the
            communities of the level before.
        keep: Which rows are kept, bool (n,).
        witness: Kept row that each removed row names, int64 (n,); -1 where kept.
        similarity: To the witness, in [-1, 1], float32 (n,); NaN where kept.
        notes: How the communities of each level were solved, and which components were cut.
    """

    component: Ints
    root: Ints
    levels: dict[str, Ints]
    keep: Bools
    witness: Ints
    similarity: Floats
    notes: tuple[LevelNotes, ...] = ()


def solve(
    searched: Searched,
    rank: Ints,
    levels: Sequence[Level],
    options: CommunityOptions,
    ids: Ints,
    seed: int,
    *,
    protect: Bools | None = None,
    mapper: Mapper | None = None,
) -> Solution:
    """Decide everything that follows from the graph.

    A node that holds a protected row is protected. All of its protected rows stay; the first
    of them in policy order stands for the node, and the other rows name it as their witness.

    Args:
        searched: Nodes and graph.
        rank: Place of each row in policy order, int64 (n,), all different.
        levels: From the finest, at whose threshold rows are removed, to the loosest.
        options: How to cut into communities, and where keepers compete.
        ids: Stable, ascending ids of the rows, int64 (n,).
        seed: Of the solver.
        protect: Rows that are never removed, bool (n,); ``None``: none are.
        mapper: Where components are solved, beside this thread; see ``find_communities``.
            ``None``: everything is done in this thread, as where others decide beside it.

    Returns:
        Groups and decisions.

    Raises:
        ImportError: If the quality needs leidenalg and it is not installed.
        ValueError: If a level lies below the graph's floor, or an array has a wrong shape.
    """
    if protect is not None and protect.shape != rank.shape:
        raise ValueError(f"protect must have shape {rank.shape}, got {protect.shape}")
    nodes = searched.nodes
    notes: list[LevelNotes] = []
    near = Near.of(searched.graph, levels[0].threshold)

    def cut() -> dict[str, Ints]:
        return find_communities(
            searched.graph,
            levels,
            options,
            ids[nodes.first],
            seed,
            mapper=mapper,
            max_edges=options.max_edges,
            notes=notes,
            near=near,
        )

    # Neighbours always share a component: only communities narrow down who competes.
    if options.within == "component" and mapper is not None:
        with ThreadPoolExecutor(1) as beside:
            cutting = beside.submit(cut)
            keepers = _keepers(searched, near.graph, rank, None, protect)
            communities = cutting.result()
    else:
        communities = cut()
        group = None if options.within == "component" else communities[levels[0].name]
        keepers = _keepers(searched, near.graph, rank, group, protect)

    def by_row(labels: Ints) -> Ints:
        return nodes.first[labels][nodes.of_row]

    return Solution(
        component=by_row(near.component),
        root=by_row(near.root),
        levels={name: by_row(labels) for name, labels in communities.items()},
        keep=keepers.keep,
        witness=keepers.witness,
        similarity=keepers.similarity,
        notes=tuple(notes),
    )


def _keepers(
    searched: Searched,
    near: NeighbourGraph,
    rank: Ints,
    group: Ints | None,
    protect: Bools | None,
) -> Keepers:
    if protect is None:
        best = searched.nodes.best(rank)
        return _by_row(searched, choose_keepers(near, rank[best], group), best)
    order = np.lexsort((rank, ~protect))  # protected rows first
    rank = np.empty_like(rank)
    rank[order] = np.arange(len(order))
    best = searched.nodes.best(rank)
    keepers = _by_row(searched, choose_keepers(near, rank[best], group, protect[best]), best)
    return Keepers(
        keepers.keep | protect,
        np.where(protect, -1, keepers.witness),
        np.where(protect, np.float32(np.nan), keepers.similarity).astype(np.float32),
    )


def _by_row(searched: Searched, keepers: Keepers, best: Ints) -> Keepers:
    """Let the best row of a node stand for it; its copies name it, or share its witness."""
    of_row = searched.nodes.of_row
    stands = best[of_row] == np.arange(len(of_row))
    node_kept = keepers.keep[of_row]
    witness = np.where(node_kept, best[of_row], best[keepers.witness[of_row]])
    similarity = np.where(node_kept, np.float32(1.0), keepers.similarity[of_row])
    keep = node_kept & stands
    return Keepers(
        keep,
        np.where(keep, -1, witness),
        np.where(keep, np.float32(np.nan), similarity).astype(np.float32),
    )
