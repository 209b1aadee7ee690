"""What was decided about the first rows of a growing set, and what new rows leave of it.

Neither communities nor keepers look beyond a connected component at the lowest threshold.
A component that no new row has joined is therefore what it was, and so is all that was
decided about its rows: only the others are solved again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from dedup.arrays import Bools, Codes, Floats, Ints
from dedup.components import UnionFind, components
from dedup.exact import Nodes
from dedup.hashed import HashPairs
from dedup.search import Searched
from dedup.solve import Solution

Pair = tuple[Ints, Ints]


@dataclass(frozen=True)
class Settled:
    """Decisions by row, and what is needed to go on from them. Groups bear their lowest row.

    Args:
        same_bytes: First row with the same bytes, int64 (n,).
        root: Component at the floor, int64 (n,).
        component: Component at the threshold, int64 (n,).
        levels: Communities by level name, int64 (n,) each.
        keep: bool (n,).
        witness: Row that each removed row names, int64 (n,); -1 where kept.
        similarity: To the witness, float32 (n,); NaN where kept.
        reason: Place in ``evidence.REASONS``, uint8 (n,).
        valid: Which rows have a direction, bool (n,).
        node: Which rows stand for a node of the graph, bool (n,).
        pairs: Edges whose lower end the row stands for, int32 (n,).
        near: The same of edges at or above the threshold.
        cut: Which rows are the first of a component that was cut at some level, int8 (n,):
            how often.
        by_hash: Pairs of rows that perceptual hashes alone have found.
    """

    same_bytes: Ints
    root: Ints
    component: Ints
    levels: dict[str, Ints]
    keep: Bools
    witness: Ints
    similarity: Floats
    reason: Codes
    valid: Bools
    node: Bools
    pairs: np.ndarray
    near: np.ndarray
    cut: np.ndarray
    by_hash: HashPairs

    def __len__(self) -> int:
        return len(self.root)

    def grown(self, count: int, joined: Sequence[Pair]) -> Ints:
        """The component at the floor of each row, with more rows and edges.

        Args:
            count: Rows there are now.
            joined: Pairs of rows that belong together since; a row with itself does no harm.
        """
        forest = UnionFind.restore(self.root)
        forest.grow(count)
        for one, other in joined:
            forest.add(one, other)
        return forest.labels()

    def replaced(self, rows: Ints, part: Settled) -> Settled:
        """The same with what was decided anew.

        Args:
            rows: The rows of ``part``, int64 (m,), ascending: all new ones, and whole
                components. Where ``part`` names a row, it is by place among these.
            part: About them.
        """
        count = int(rows[-1]) + 1 if len(rows) else 0
        count = max(count, len(self))
        # Places become rows; -1 stays.
        name = np.append(rows, -1)

        def laid(before: np.ndarray, now: np.ndarray) -> np.ndarray:
            whole = np.empty(count, dtype=before.dtype)
            whole[: len(before)] = before
            whole[rows] = now
            return whole

        merged: dict[str, Any] = {"by_hash": self._hash_pairs(rows, part.by_hash)}
        for each in fields(self):
            if each.name == "levels":
                merged["levels"] = {
                    level: laid(labels, name[part.levels[level]])
                    for level, labels in self.levels.items()
                }
            elif each.name in {"same_bytes", "root", "component", "witness"}:
                merged[each.name] = laid(getattr(self, each.name), name[getattr(part, each.name)])
            elif each.name != "by_hash":
                merged[each.name] = laid(getattr(self, each.name), getattr(part, each.name))
        return Settled(**merged)

    def _hash_pairs(self, rows: Ints, now: HashPairs) -> HashPairs:
        rest = ~np.isin(self.by_hash.src, rows)
        ours = HashPairs(
            *(getattr(self.by_hash, end)[rest] for end in ("src", "dst", "similarity"))
        )
        return ours.joined(replace(now, src=rows[now.src], dst=rows[now.dst]))

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays by name, to be saved; see ``from_arrays``."""
        found = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in {"levels", "by_hash"}
        }
        found |= {f"level_{name}": labels for name, labels in self.levels.items()}
        return found | {
            "hash_src": self.by_hash.src,
            "hash_dst": self.by_hash.dst,
            "hash_similarity": self.by_hash.similarity,
            "hash_crowded": np.array([self.by_hash.crowded]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Settled:
        """The opposite of ``arrays``.

        Raises:
            KeyError: If one is missing.
        """
        levels = {
            name.removeprefix("level_"): labels
            for name, labels in arrays.items()
            if name.startswith("level_")
        }
        by_hash = HashPairs(
            arrays["hash_src"],
            arrays["hash_dst"],
            arrays["hash_similarity"],
            int(arrays["hash_crowded"][0]),
        )
        plain = {
            each.name: arrays[each.name]
            for each in fields(cls)
            if each.name not in {"levels", "by_hash"}
        }
        return cls(levels=levels, by_hash=by_hash, **plain)


def settle(
    searched: Searched,
    solution: Solution,
    same_bytes: Ints,
    reason: Codes,
    threshold: float,
    by_hash: HashPairs,
    ids: Ints,
) -> Settled:
    """Note what was decided.

    Args:
        searched: Nodes and edges down to the floor.
        solution: Of them.
        same_bytes: First row with the same bytes, int64 (n,).
        reason: See ``Settled``.
        threshold: Of near-copies.
        by_hash: Pairs of rows that perceptual hashes alone have found.
        ids: Of the rows, int64 (n,), ascending.
    """
    nodes, graph = searched.nodes, searched.graph
    count = len(solution.keep)
    close = graph.similarity >= np.float64(threshold)
    cut = np.zeros(count, dtype=np.int8)
    firsts = [each.first for notes in solution.notes for each in notes.cuts]
    np.add.at(cut, np.searchsorted(ids, np.array(firsts, dtype=np.int64)), 1)
    return Settled(
        same_bytes=same_bytes,
        root=_by_row(nodes, components(graph.count, graph.src, graph.dst)),
        component=solution.component,
        levels=solution.levels,
        keep=solution.keep,
        witness=solution.witness,
        similarity=solution.similarity,
        reason=reason,
        valid=searched.valid,
        node=nodes.first[nodes.of_row] == np.arange(count),
        pairs=_at_first(nodes, graph.src, count),
        near=_at_first(nodes, graph.src[close], count),
        cut=cut,
        by_hash=by_hash,
    )


def _by_row(nodes: Nodes, labels: Ints) -> Ints:
    return nodes.first[labels][nodes.of_row]


def _at_first(nodes: Nodes, ends: Ints, count: int) -> np.ndarray:
    """How many of some nodes each row stands for."""
    found = np.zeros(count, dtype=np.int32)
    found[nodes.first] = np.bincount(ends, minlength=len(nodes))
    return found


def within(found: HashPairs, rows: Ints) -> HashPairs:
    """The pairs of some rows, int64 (m,), ascending and whole components, by place."""
    inside = np.isin(found.src, rows)
    return replace(
        found,
        src=np.searchsorted(rows, found.src[inside]),
        dst=np.searchsorted(rows, found.dst[inside]),
        similarity=found.similarity[inside],
    )
