"""``deduplicate``: the decisions for a table of items with vectors, hashes and a policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Hashes, Ints, Vectors, name_rows
from dedup.cells.source import ArraySource
from dedup.exact import first_of_equal
from dedup.options import DedupOptions
from dedup.perceptual import hamming, hash_column
from dedup.policy import policy_rank
from dedup.search import Searched, add_perceptual, search
from dedup.solve import Solution, solve
from dedup.vectors import check_shape


@dataclass(frozen=True)
class Decisions:
    """What ``deduplicate`` gives back.

    Args:
        edges: src, dst (item ids, int64, src < dst), similarity (float32): every pair found
            down to the loosest level. Equal items form a star around the lowest id.
        decisions: One row per item, ascending by item_id: component, cluster, variant,
            subject (int64, the lowest item id inside), keep, witness_id, witness_similarity,
            reason (exact, perceptual or semantic; these three null where kept).
        stats: Figures for the audit.
    """

    edges: pa.Table
    decisions: pa.Table
    stats: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Evidence:
    """What tells one kind of removal from another, by row."""

    same_bytes: Ints
    hashes: Hashes
    known: Bools

    def reasons(self, witness: Ints, distance: int) -> pa.Array:
        """Why each removed row went; null where ``witness`` is -1."""
        rows = np.arange(len(witness))
        exact = self.same_bytes[rows] == self.same_bytes[witness]
        perceptual = self.known[rows] & self.known[witness]
        perceptual &= hamming(self.hashes[rows], self.hashes[witness]) <= distance
        reason = np.where(exact, "exact", np.where(perceptual, "perceptual", "semantic"))
        return pa.array(reason.astype(object), type=pa.string(), mask=witness < 0)


def deduplicate(
    items: pa.Table, vectors: Vectors, options: DedupOptions | None = None
) -> Decisions:
    """Decide which items are kept.

    Items with the same ``sha256`` or the same vector are one node of the neighbour graph;
    how many copies an item has does not sway the communities. An item whose vector has no
    direction (zeros, NaN) has no neighbours: it goes only if its bytes are those of a kept item.

    Args:
        items: ``item_id`` (int64, unique), ``sha256``, optionally ``phash`` (uint64, nullable),
            and every column that the policy uses.
        vectors: Row i belongs to item i; shape (n, d), any floating type, normalised or not.
        options: Thresholds, policy and methods.

    Returns:
        Edges, decisions and figures. Neither the order of the rows nor the number of threads
        changes them.

    Raises:
        ValueError: If vectors and items do not match, ids repeat, or the policy fails.
        ImportError: If FAISS, or leidenalg where it is asked for, is not installed.
    """
    options = options or DedupOptions()
    items, vectors = _in_order(items, vectors)
    ids = items.column("item_id").to_numpy().astype(np.int64)
    rank = policy_rank(items, options.keep)
    check_shape(vectors)
    source = ArraySource(vectors)
    evidence = _evidence(items)
    searched = search(source, options.floor, options.graph, options.seed, [evidence.same_bytes])
    if evidence.known.any():
        searched = add_perceptual(
            searched, source, evidence.hashes, evidence.known, options.phash_distance
        )
    solution = solve(searched, rank, options.levels, options.communities, ids, options.seed)
    src, dst, similarity = searched.pairs(options.floor)
    reasons = evidence.reasons(solution.witness, options.phash_distance)
    return Decisions(
        edges=pa.table({"src": ids[src], "dst": ids[dst], "similarity": similarity}),
        decisions=_decisions(ids, solution, reasons),
        stats=_stats(searched, solution, reasons, options),
    )


def _in_order(items: pa.Table, vectors: Vectors) -> tuple[pa.Table, Vectors]:
    """Items and vectors ascending by id, checked against each other."""
    missing = {"item_id", "sha256"} - set(items.column_names)
    if missing:
        raise ValueError(f"items lack the column {' and '.join(sorted(missing))}")
    if len(vectors) != items.num_rows:
        raise ValueError(f"{items.num_rows} items but {len(vectors)} vectors: one each is needed")
    ids = items.column("item_id").to_numpy()
    steps = np.diff(ids)
    if (steps <= 0).any():
        order = np.argsort(ids, kind="stable")
        items, vectors = items.take(pa.array(order)), vectors[order]
        repeated = ids[order][1:][np.diff(ids[order]) == 0]
        if len(repeated):
            raise ValueError(f"item_id must be unique; repeated: {name_rows(repeated)}")
    return items, vectors


def _evidence(items: pa.Table) -> _Evidence:
    count = items.num_rows
    hashes, known = np.zeros(count, dtype=np.uint64), np.zeros(count, dtype=np.bool_)
    if "phash" in items.column_names:
        hashes, known = hash_column(items.column("phash"))
    return _Evidence(first_of_equal(items.column("sha256")), hashes, known)


def _decisions(ids: Ints, solution: Solution, reasons: pa.Array) -> pa.Table:
    kept = solution.keep
    return pa.table(
        {
            "item_id": ids,
            "component": ids[solution.component],
            **{name: ids[labels] for name, labels in solution.levels.items()},
            "keep": kept,
            "witness_id": pa.array(ids[solution.witness], mask=kept),
            "witness_similarity": pa.array(solution.similarity, mask=kept),
            "reason": reasons,
        }
    )


def _stats(
    searched: Searched, solution: Solution, reasons: pa.Array, options: DedupOptions
) -> dict[str, Any]:
    graph, threshold = searched.graph, options.threshold
    _, members = np.unique(solution.component, return_counts=True)
    counts = {str(pair["values"]): int(pair["counts"]) for pair in reasons.value_counts().tolist()}
    stats: dict[str, Any] = {
        "items": len(solution.keep),
        "distinct": len(searched.nodes),
        "method": graph.method,
        "threshold": threshold,
        "floor": graph.floor,
        "within": options.communities.within,
        "pairs": len(graph.above(threshold)),
        "pairs_above_floor": len(graph),
        "saturated": graph.saturated(threshold),
        "saturated_above_floor": graph.saturated(graph.floor),
        "crowded_hashes": searched.crowded,
        "vectors_without_direction": int(np.count_nonzero(~searched.valid)),
        "components": int(np.count_nonzero(members > 1)),
        "largest_component": int(members.max(initial=0)),
        "kept": int(np.count_nonzero(solution.keep)),
    }
    for name, labels in solution.levels.items():
        _, members = np.unique(labels, return_counts=True)
        stats[f"{name}_communities"] = int(np.count_nonzero(members > 1))
    for reason in ("exact", "perceptual", "semantic"):
        stats[f"removed_{reason}"] = counts.get(reason, 0)
    return stats
