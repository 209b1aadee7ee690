"""What was decided about the first rows of a growing set, and what new rows leave of it.

Neither communities nor keepers look beyond a connected component at the lowest threshold.
A component that no new row has joined is therefore what it was, and so is all that was
decided about its rows: only the others are solved again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numba import njit

from dedup.arrays import Bools, Codes, Floats, Ints
from dedup.components import UnionFind
from dedup.evidence import REASONS
from dedup.exact import Nodes
from dedup.hashed import HashPairs
from dedup.mapping import LocalMapper
from dedup.search import Searched
from dedup.solve import Solution


@dataclass(frozen=True)
class Settled:
    """Decisions by row, and what is needed to go on from them.

    Args:
        same_bytes: First row with the same bytes, int64 (n,).
        root: Component at the floor, by its lowest row, int64 (n,).
        component: Component at the threshold, by its lowest id, int64 (n,).
        levels: Communities by level name, by their lowest ids, int64 (n,) each.
        keep: bool (n,).
        witness: Id that each removed row names, int64 (n,); -1 where kept.
        similarity: To the witness, float32 (n,); NaN where kept.
        reason: Place in ``evidence.REASONS``, uint8 (n,).
        valid: Which rows have a direction, bool (n,).
        node: Which rows stand for a node of the graph, bool (n,).
        pairs: Edges whose lower end the row stands for, int32 (n,).
        near: The same of edges at or above the threshold.
        cut: Which rows are the first of a component that was cut at some level, int8 (n,):
            how often.
        by_hash: Pairs of rows that perceptual hashes alone have found.
        sums: Figures that add up over components, by name; see ``dedup.stats``.
        largest: Rows of the largest component at the threshold.
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
    sums: dict[str, int]
    largest: int

    def __len__(self) -> int:
        return len(self.root)

    def forest(self, count: int) -> UnionFind:
        """The components at the floor, for more rows, each new one alone so far."""
        forest = UnionFind.restore(self.root)
        forest.grow(count)
        return forest

    def copied(self, count: int) -> dict[str, np.ndarray]:
        """Arrays by row for more rows, the first of them as here; see ``replaced``."""
        copies = {}
        for name in (*_PLAIN, *_BY_ROW, *self.levels):
            before = self._named(name)
            copies[name] = np.empty(count, dtype=before.dtype)
            copies[name][: len(before)] = before
        return copies

    def replaced(
        self,
        parts: Sequence[tuple[Ints, Settled]],
        copies: dict[str, np.ndarray],
        mapper: LocalMapper = map,
    ) -> Settled:
        """The same with what was decided anew.

        Args:
            parts: Rows, int64 (m,), ascending, and what was decided about them. Together they
                are all new ones, and whole components. Where a part names a row, it is by
                place among its rows.
            copies: As ``copied`` gives them, for all rows there are now; written over.
            mapper: Threads for millions of rows.
        """

        def exchange(part: tuple[Ints, Settled]) -> dict[str, int]:
            rows, now = part
            for name, whole in copies.items():
                values = now._named(name)
                whole[rows] = rows[values] if name in _BY_ROW else values
            return self._sums_of(rows[: np.searchsorted(rows, len(self))])

        sums, by_hash = dict(self.sums), self.by_hash
        for gone, (rows, part) in zip(mapper(exchange, parts), parts, strict=True):
            sums = {name: sums[name] - gone[name] + part.sums[name] for name in sums}
            by_hash = _exchanged(by_hash, rows, part.by_hash)
        return Settled(
            **{name: copies[name] for name in (*_PLAIN, *_BY_ROW)},
            levels={name: copies[name] for name in self.levels},
            by_hash=by_hash,
            sums=sums,
            # A component only grows: the largest of those that are left is no larger than before.
            largest=max([self.largest, *(part.largest for _, part in parts)]),
        )

    def _named(self, name: str) -> np.ndarray:
        """One of the arrays by row."""
        values: np.ndarray = self.levels[name] if name in self.levels else getattr(self, name)
        return values

    def _sums_of(self, rows: Ints) -> dict[str, int]:
        """The sums of some rows, whole components."""
        some = {name: getattr(self, name)[rows] for name in _COUNTED}
        groups = {"component": self.component, **self.levels}
        return _sums(some, {name: _plural(labels[rows]) for name, labels in groups.items()})

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays by name, to be saved; see ``from_arrays``."""
        found = {name: getattr(self, name) for name in (*_PLAIN, *_BY_ROW)}
        found |= {f"level_{name}": labels for name, labels in self.levels.items()}
        found |= {f"sum_{name}": np.array([value]) for name, value in self.sums.items()}
        return found | {
            "largest": np.array([self.largest]),
            "hash_src": self.by_hash.src,
            "hash_dst": self.by_hash.dst,
            "hash_similarity": self.by_hash.similarity,
            "hash_crowded": np.array([self.by_hash.crowded]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Settled:
        """The opposite of ``arrays``.

        Raises:
            KeyError: If one is missing, as where an older version has saved them.
        """

        def named(prefix: str) -> dict[str, np.ndarray]:
            return {
                name.removeprefix(prefix): values
                for name, values in arrays.items()
                if name.startswith(prefix)
            }

        by_hash = HashPairs(
            arrays["hash_src"],
            arrays["hash_dst"],
            arrays["hash_similarity"],
            int(arrays["hash_crowded"][0]),
        )
        return cls(
            **{name: arrays[name] for name in (*_PLAIN, *_BY_ROW)},
            levels=named("level_"),
            by_hash=by_hash,
            sums={name: int(values[0]) for name, values in named("sum_").items()},
            largest=int(arrays["largest"][0]),
        )


#: Fields by row: rows, and what holds no row.
_BY_ROW = ("same_bytes", "root")
_COUNTED = ("keep", "reason", "valid", "node", "pairs", "near", "cut")
_PLAIN = ("component", "witness", "similarity", *_COUNTED)


def _exchanged(before: HashPairs, rows: Ints, now: HashPairs) -> HashPairs:
    """Pairs of rows, those of some components replaced by others, by place among their rows."""
    if not len(before.src) and not len(now.src):
        return now
    rest = ~np.isin(before.src, rows)
    ours = HashPairs(*(getattr(before, end)[rest] for end in ("src", "dst", "similarity")))
    return ours.joined(replace(now, src=rows[now.src], dst=rows[now.dst]))


def _plural(labels: Ints) -> int:
    """How many groups have more than one member."""
    ordered = np.sort(labels)
    again = ordered[1:] == ordered[:-1]
    return int(np.count_nonzero(again[:1]) + np.count_nonzero(again[1:] & ~again[:-1]))


def _sums(some: Mapping[str, np.ndarray], groups: Mapping[str, int]) -> dict[str, int]:
    """Figures that add up, of whole components.

    Args:
        some: The counted fields.
        groups: How many have more than one row, by what groups them.
    """
    sums = {
        "kept": np.count_nonzero(some["keep"]),
        "distinct": np.count_nonzero(some["node"]),
        "without_direction": np.count_nonzero(~some["valid"]),
        "pairs": some["near"].sum(dtype=np.int64),
        "pairs_above_floor": some["pairs"].sum(dtype=np.int64),
        "cut": some["cut"].sum(dtype=np.int64),
    }
    reasons = np.bincount(some["reason"], minlength=len(REASONS))
    sums |= {f"removed_{name}": reasons[code] for code, name in enumerate(REASONS) if code}
    sums |= {f"groups_{name}": number for name, number in groups.items()}
    return {name: int(value) for name, value in sums.items()}


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
    pairs, near = _tally(graph.count, graph.src, graph.similarity, np.float64(threshold))
    cut = np.zeros(count, dtype=np.int8)
    firsts = [each.first for notes in solution.notes for each in notes.cuts]
    np.add.at(cut, np.searchsorted(ids, np.array(firsts, dtype=np.int64)), 1)
    counted: dict[str, np.ndarray] = {
        "keep": solution.keep,
        "reason": reason,
        "valid": searched.valid,
        "node": nodes.first[nodes.of_row] == np.arange(count),
        "pairs": _at_first(nodes, pairs),
        "near": _at_first(nodes, near),
        "cut": cut,
    }
    groups = {"component": solution.component, **solution.levels}
    sizes = {name: np.bincount(labels) for name, labels in groups.items()}
    return Settled(
        same_bytes=same_bytes,
        root=solution.root,
        component=ids[solution.component],
        levels={name: ids[labels] for name, labels in solution.levels.items()},
        witness=np.where(solution.keep, -1, ids[solution.witness]),
        similarity=solution.similarity,
        **counted,
        by_hash=by_hash,
        sums=_sums(counted, {name: int((each > 1).sum()) for name, each in sizes.items()}),
        largest=int(sizes["component"].max(initial=0)),
    )


@njit(cache=True, nogil=True)
def _tally(
    count: int, src: Ints, similarity: Floats, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """By lower end: all edges, and those at or above the threshold, int32 (n,) each."""
    pairs, near = np.zeros(count, np.int32), np.zeros(count, np.int32)
    edge = 0
    while edge < len(src):
        node, start, close = src[edge], edge, np.int32(0)
        while edge < len(src) and src[edge] == node:
            close += np.float64(similarity[edge]) >= threshold
            edge += 1
        pairs[node] += np.int32(edge - start)
        near[node] += close
    return pairs, near


def _at_first(nodes: Nodes, values: np.ndarray) -> np.ndarray:
    """What holds of nodes, int32 (m,), at the first row of each; 0 elsewhere."""
    found = np.zeros(len(nodes.of_row), dtype=np.int32)
    found[nodes.first] = values
    return found


def within(found: HashPairs, rows: Ints) -> HashPairs:
    """The pairs of some rows, int64 (m,), ascending and whole components, by place."""
    if not len(found.src):
        return found
    inside = np.isin(found.src, rows)
    return replace(
        found,
        src=np.searchsorted(rows, found.src[inside]),
        dst=np.searchsorted(rows, found.dst[inside]),
        similarity=found.similarity[inside],
    )
