"""``deduplicate``: the decisions for a table of items with vectors, hashes and a policy."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Ints, Vectors, name_rows
from dedup.cells.graph import Mapper
from dedup.cells.source import ArraySource, Source
from dedup.cells.store import Store
from dedup.evidence import Evidence, masked, named, weigh
from dedup.exact import Nodes, collapse
from dedup.graph import NeighbourGraph
from dedup.hashed import HashPairs, confirmed_hashes, with_pairs
from dedup.lookup import Rows
from dedup.options import DedupOptions
from dedup.policy import matching, policy_rank, sees_other_rows
from dedup.search import CellStore, Kept, Searched, gathered, grow, mapped, search
from dedup.settled import Settled, settle, within
from dedup.solve import solve
from dedup.stats import audited, describe
from dedup.vectors import check_shape

#: Part of the recipe of decisions that are taken over: other code decides otherwise.
_VERSION = 2


@dataclass(frozen=True)
class Decisions:
    """What ``deduplicate`` gives back.

    Args:
        decisions: One row per item, ascending by item_id: component, cluster, variant,
            subject (int64, the lowest item id inside), keep, witness_id, witness_similarity,
            reason (exact, perceptual or semantic; these three null where kept).
        stats: Figures for the audit.
        list_edges: Makes ``edges``.
    """

    decisions: pa.Table
    stats: dict[str, Any]
    list_edges: Callable[[], pa.Table] = field(repr=False)

    @cached_property
    def edges(self) -> pa.Table:
        """Every pair found down to the loosest level, sorted.

        Columns src, dst (item ids, int64, src < dst), similarity (float32). Equal items form a
        star around the lowest id.

        Listed when it is first asked for: where items were added to many, most pairs are old.
        """
        return self.list_edges()


@dataclass
class Session:
    """How a search runs that will be added to, and what it keeps.

    Args:
        mapper: Where tasks run; ``None`` for threads of this process.
        store: Where rows by cell and pairs lie.
        kept: What earlier searches left; ``deduplicate`` replaces it.
        added: Source of the rows that came since, where ``kept`` is there.
        prefix: Of the names of files, where a graph is begun.
        settled: What was decided about the rows of ``kept``; ``deduplicate`` replaces it.
        recipe: Of these decisions; others are not taken over.
    """

    mapper: Mapper | None
    store: Store
    kept: Kept | None = None
    added: Source | None = None
    prefix: str = ""
    settled: Settled | None = None
    recipe: str = ""


@dataclass(frozen=True)
class _Found:
    """What a search has to say.

    Args:
        searched: Nodes and edges of the rows that are to be decided.
        by_hash: Pairs that only hashes found, by place among these rows.
        rows: Which rows they are, int64 (m,), ascending; ``None`` for all.
    """

    searched: Searched
    by_hash: HashPairs
    rows: Ints | None = None


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
    before = _taken_over(session, items, options)
    evidence = weigh(items, None if before is None else before.same_bytes)
    found = _search(source, names, evidence, options, session, before)
    settled = _decide(items, ids, found, evidence, options, before)
    if session is not None:
        session.settled, session.recipe = settled, _recipe(items, options)

    def whole() -> Searched:
        if found.rows is None or session is None or session.kept is None:
            return found.searched
        searched = gathered(session.kept, [settled.same_bytes], names)
        return with_pairs(searched, settled.by_hash)

    stats = describe(found.searched, settled, options)
    if options.audit:
        with mapped(options.graph, session.mapper if session else None) as run:
            stats |= audited(source, whole(), names, options, run)
    return Decisions(
        decisions=_decisions(ids, settled),
        stats=stats,
        list_edges=lambda: _edges(whole(), ids, options.floor),
    )


def _taken_over(session: Session | None, items: pa.Table, options: DedupOptions) -> Settled | None:
    """Earlier decisions that hold for all components that nothing joins."""
    if session is None or session.kept is None or session.settled is None:
        return None
    if len(session.settled) != len(session.kept.valid):
        return None
    recipe = _recipe(items, options)
    return session.settled if recipe and session.recipe == recipe else None


def _recipe(items: pa.Table, options: DedupOptions) -> str:
    """What decisions depend on beside the rows of a component; empty where on other rows, too."""
    order = options.keep
    if order.strip() and sees_other_rows(order):
        return ""
    shaping = replace(options, graph=type(options.graph)(), audit=0)
    return repr((_VERSION, shaping, sorted(items.column_names)))


def _decide(
    items: pa.Table,
    ids: Ints,
    found: _Found,
    evidence: Evidence,
    options: DedupOptions,
    before: Settled | None,
) -> Settled:
    """Decide about the rows that were found, and take over what was decided about the others."""
    if found.rows is not None:
        rows = found.rows
        items, ids = items.take(pa.array(rows)), ids[rows]
        evidence = evidence.take(rows)
    rank = policy_rank(items, _order(items, options))
    protect = matching(items, options.protect)
    with ThreadPoolExecutor(options.graph.cores) as pool:
        solution = solve(
            found.searched,
            rank,
            options.levels,
            options.communities,
            ids,
            options.seed,
            protect=protect if protect.any() else None,
            mapper=pool.map if options.communities.quality == "cpm" else None,
        )
    reason = evidence.reasons(solution.witness, options.phash_distance)
    part = settle(
        found.searched,
        solution,
        evidence.same_bytes,
        reason,
        options.threshold,
        found.by_hash,
        ids,
    )
    if before is None or found.rows is None:
        return part
    with ThreadPoolExecutor(options.graph.cores) as pool:
        return before.replaced(found.rows, part, pool.map)


def _order(items: pa.Table, options: DedupOptions) -> str:
    if options.keep_earlier and "batch" in items.column_names:
        return f"batch, {options.keep}" if options.keep.strip() else "batch"
    return options.keep


def _search(
    source: Source,
    ids: Ints,
    evidence: Evidence,
    options: DedupOptions,
    session: Session | None,
    before: Settled | None,
) -> _Found:
    equals = [evidence.same_bytes]
    if session is None:
        searched = search(source, options.floor, options.graph, options.seed, equals, ids=ids)
        return _with_hashes(searched, source, evidence, options)
    count = 0 if session.kept is None else len(session.kept.valid)
    new = source if session.kept is None else session.added
    if new is not None:
        with mapped(options.graph, session.mapper) as run:
            place = CellStore(session.store, session.prefix, codes=True)
            session.kept = grow(session.kept, new, options.floor, options.graph, equals, run, place)
    if session.kept is None:
        raise ValueError("a session without what it kept needs a source to begin with")
    added = session.kept.added
    # Where full lists were searched anew, old pairs may have gone.
    if before is None or (new is not None and (added is None or added.touched)):
        searched = gathered(session.kept, equals, ids)
        return _with_hashes(searched, source, evidence, options)
    return _search_added(source, ids, evidence, options, session.kept, before, count)


def _search_added(
    source: Source,
    ids: Ints,
    evidence: Evidence,
    options: DedupOptions,
    kept: Kept,
    before: Settled,
    count: int,
) -> _Found:
    """Nodes and edges of the components that rows from ``count`` on belong to."""
    rows = np.arange(count, len(ids))
    joined = [(rows, evidence.same_bytes[count:])]
    if len(rows):
        place = Rows(ids)
        joined += [(place(one), place(other)) for one, other in kept.found_last()]
    hashed = None
    if evidence.known[count:].any():
        nodes = collapse([kept.first_of_equal(ids), evidence.same_bytes])
        hashed = _confirmed(nodes, kept.valid, source, evidence, options, since=count)
        joined.append((hashed.src, hashed.dst))
    root = before.grown(len(ids), joined)
    reached = np.zeros(len(ids), dtype=np.bool_)
    reached[root[count:]] = True
    rows = np.flatnonzero(reached[root])
    by_hash = within(before.by_hash, rows)
    if hashed is not None:
        by_hash = by_hash.joined(within(hashed, rows))
    equals = [evidence.take(rows).same_bytes]
    with ThreadPoolExecutor(options.graph.cores) as pool:
        searched = gathered(kept, equals, ids[rows], chosen=rows, mapper=pool.map)
    return _Found(with_pairs(searched, by_hash), by_hash, rows)


def _with_hashes(
    searched: Searched, source: Source, evidence: Evidence, options: DedupOptions
) -> _Found:
    if not evidence.known.any():
        return _Found(searched, HashPairs.none())
    by_hash = _confirmed(
        searched.nodes, searched.valid, source, evidence, options, graph=searched.graph
    )
    return _Found(with_pairs(searched, by_hash), by_hash)


def _confirmed(
    nodes: Nodes,
    valid: Bools,
    source: Source,
    evidence: Evidence,
    options: DedupOptions,
    *,
    graph: NeighbourGraph | None = None,
    since: int = 0,
) -> HashPairs:
    return confirmed_hashes(
        nodes,
        valid,
        source,
        evidence.hashes,
        evidence.known,
        options.phash_distance,
        options.floor,
        graph=graph,
        since=since,
    )


def _in_order(items: pa.Table, vectors: Vectors | Source) -> tuple[pa.Table, Source]:
    """Items and vectors ascending by id, checked against each other."""
    missing = {"item_id", "sha256"} - set(items.column_names)
    if missing:
        raise ValueError(f"items lack the column {' and '.join(sorted(missing))}")
    count = len(vectors) if isinstance(vectors, np.ndarray) else int(vectors.sizes.sum())
    if count != items.num_rows:
        raise ValueError(f"{items.num_rows} items but {count} vectors: one each is needed")
    ids = items.column("item_id").to_numpy()
    ascending = bool((ids[1:] > ids[:-1]).all())
    order = np.argsort(ids, kind="stable") if not ascending else np.arange(0)
    repeated = ids[order][1:][np.diff(ids[order]) == 0]
    if len(repeated):
        raise ValueError(f"item_id must be unique; repeated: {name_rows(repeated)}")
    if not isinstance(vectors, np.ndarray):
        if not ascending:
            raise ValueError("items must ascend by item_id, as the rows of a source do")
        return items, vectors
    check_shape(vectors)
    if ascending:
        return items, ArraySource(vectors)
    return items.take(pa.array(order)), ArraySource(vectors[order])


def _edges(searched: Searched, ids: Ints, floor: float) -> pa.Table:
    src, dst, similarity = searched.pairs(floor)
    return pa.table({"src": ids[src], "dst": ids[dst], "similarity": similarity})


def _decisions(ids: Ints, settled: Settled) -> pa.Table:
    gone = ~settled.keep
    return pa.table(
        {
            "item_id": ids,
            "component": settled.component,
            **settled.levels,
            "keep": settled.keep,
            "witness_id": masked(settled.witness, gone),
            "witness_similarity": masked(settled.similarity, gone),
            "reason": named(settled.reason),
        }
    )
