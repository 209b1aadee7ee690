"""``deduplicate``: the decisions for a table of items with vectors, hashes and a policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Hashes, Ints, Vectors, name_rows
from dedup.cells.graph import Mapper
from dedup.cells.source import ArraySource, Source
from dedup.cells.store import Store
from dedup.exact import first_of_equal
from dedup.options import DedupOptions
from dedup.perceptual import hamming, hash_column
from dedup.policy import matching, policy_rank
from dedup.search import CellStore, Kept, Searched, add_perceptual, gathered, grow, mapped, search
from dedup.solve import Solution, solve
from dedup.stats import audited, describe
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


@dataclass
class Session:
    """How a search runs that will be added to, and what it keeps.

    Args:
        mapper: Where tasks run; ``None`` for threads of this process.
        store: Where rows by cell and pairs lie.
        kept: What earlier searches left; ``deduplicate`` replaces it.
        added: Source of the rows that came since, where ``kept`` is there.
        prefix: Of the names of files, where a graph is begun.
    """

    mapper: Mapper | None
    store: Store
    kept: Kept | None = None
    added: Source | None = None
    prefix: str = ""


def deduplicate(
    items: pa.Table,
    vectors: Vectors | Source,
    options: DedupOptions | None = None,
    session: Session | None = None,
) -> Decisions:
    """Decide which items are kept.

    Items with the same ``sha256`` or the same vector are one node of the neighbour graph;
    how many copies an item has does not sway the communities. An item whose vector has no
    direction (zeros, NaN) has no neighbours: it goes only if its bytes are those of a kept item.

    Args:
        items: ``item_id`` (int64, unique), ``sha256``, optionally ``phash`` (uint64, nullable)
            and ``batch`` (integer), and every column that the policy uses.
        vectors: Row i belongs to item i; shape (n, d), any floating type, normalised or not;
            or a source of them, with the items' ids, both ascending.
        options: Thresholds, policy and methods.
        session: For searches that will be added to; by cells only.

    Returns:
        Edges, decisions and figures. Neither the order of the rows nor the number of threads
        changes them.

    Raises:
        ValueError: If vectors and items do not match, ids repeat, or the policy fails.
        ImportError: If a library that ``options`` ask for is not installed.
    """
    options = options or DedupOptions()
    items, source = _in_order(items, vectors)
    ids = items.column("item_id").to_numpy().astype(np.int64)
    # An array's rows go by their numbers.
    names = np.arange(len(ids)) if isinstance(source, ArraySource) else ids
    rank = policy_rank(items, _order(items, options))
    protect = matching(items, options.protect)
    evidence = _evidence(items)
    searched = _search(source, names, evidence, options, session)
    solution = solve(
        searched,
        rank,
        options.levels,
        options.communities,
        ids,
        options.seed,
        protect=protect if protect.any() else None,
    )
    src, dst, similarity = searched.pairs(options.floor)
    reasons = evidence.reasons(solution.witness, options.phash_distance)
    stats = describe(searched, solution, reasons, options)
    if options.audit:
        with mapped(options.graph, session.mapper if session else None) as run:
            stats |= audited(source, searched, names, options, run)
    return Decisions(
        edges=pa.table({"src": ids[src], "dst": ids[dst], "similarity": similarity}),
        decisions=_decisions(ids, solution, reasons),
        stats=stats,
    )


def _order(items: pa.Table, options: DedupOptions) -> str:
    if options.keep_earlier and "batch" in items.column_names:
        return f"batch, {options.keep}" if options.keep.strip() else "batch"
    return options.keep


def _search(
    source: Source,
    ids: Ints,
    evidence: _Evidence,
    options: DedupOptions,
    session: Session | None,
) -> Searched:
    equals = [evidence.same_bytes]
    if session is None:
        searched = search(source, options.floor, options.graph, options.seed, equals, ids=ids)
    else:
        new = source if session.kept is None else session.added
        with mapped(options.graph, session.mapper) as run:
            if new is not None:
                session.kept = grow(
                    session.kept,
                    new,
                    options.floor,
                    options.graph,
                    equals,
                    run,
                    CellStore(session.store, session.prefix, codes=True),
                )
        if session.kept is None:
            raise ValueError("a session without what it kept needs a source to begin with")
        searched = gathered(session.kept, equals, ids)
    if not evidence.known.any():
        return searched
    return add_perceptual(searched, source, evidence.hashes, evidence.known, options.phash_distance)


def _in_order(items: pa.Table, vectors: Vectors | Source) -> tuple[pa.Table, Source]:
    """Items and vectors ascending by id, checked against each other."""
    missing = {"item_id", "sha256"} - set(items.column_names)
    if missing:
        raise ValueError(f"items lack the column {' and '.join(sorted(missing))}")
    count = len(vectors) if isinstance(vectors, np.ndarray) else int(vectors.sizes.sum())
    if count != items.num_rows:
        raise ValueError(f"{items.num_rows} items but {count} vectors: one each is needed")
    ids = items.column("item_id").to_numpy()
    order = np.argsort(ids, kind="stable")
    repeated = ids[order][1:][np.diff(ids[order]) == 0]
    if len(repeated):
        raise ValueError(f"item_id must be unique; repeated: {name_rows(repeated)}")
    ascending = bool((order == np.arange(len(order))).all())
    if not isinstance(vectors, np.ndarray):
        if not ascending:
            raise ValueError("items must ascend by item_id, as the rows of a source do")
        return items, vectors
    check_shape(vectors)
    if ascending:
        return items, ArraySource(vectors)
    return items.take(pa.array(order)), ArraySource(vectors[order])


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
