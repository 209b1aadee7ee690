"""``deduplicate``: the decisions for a table of items with vectors, hashes and a policy."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa

from dedup.arrays import Ints, Vectors, name_rows
from dedup.cells.graph import Mapper
from dedup.cells.source import ArraySource, Source
from dedup.cells.store import Store
from dedup.decide import Found, decide, terms_of
from dedup.evidence import Evidence, masked, named, weigh
from dedup.hashed import HashPairs, confirmed_hashes, with_pairs
from dedup.later import decide_joined, join
from dedup.options import DedupOptions
from dedup.policy import sees_other_rows
from dedup.search import CellStore, Kept, Searched, gathered, grow, mapped, search
from dedup.settled import Settled
from dedup.stats import audited, describe
from dedup.vectors import check_shape

#: Part of the recipe of decisions that are taken over: other code decides otherwise.
_VERSION = 3


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
    with ThreadPoolExecutor(options.graph.cores) as pool:
        # Beside what has one core to itself until the comparisons begin.
        beside = (
            None
            if before is None
            else (pool.submit(before.copied, len(ids)), pool.submit(before.forest, len(ids)))
        )
        evidence = weigh(items, None if before is None else before.same_bytes)
        partly = session is not None and _grown(session, source, evidence, options)
        kept = None if session is None else session.kept
        if partly and kept is not None and before is not None and beside is not None:
            copies, forest = beside
            joined = join(source, names, evidence, options, kept, before, forest)
            asked = partial(terms_of, items, ids, evidence, joined.rows, options)
            settled, searched = decide_joined(joined, asked, names, options, kept, before, copies)
        else:
            partly, found = False, _search(source, names, evidence, options, session)
            terms = terms_of(items, ids, evidence, None, options)
            settled, searched = decide(found, terms, options, pool.map), found.searched
    if session is not None:
        session.settled, session.recipe = settled, _recipe(items, options)

    def whole() -> Searched:
        if kept is None or not partly:
            return searched
        return with_pairs(gathered(kept, [settled.same_bytes], names), settled.by_hash)

    stats = describe(searched, settled, options)
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


def _grown(session: Session, source: Source, evidence: Evidence, options: DedupOptions) -> bool:
    """Search what was added; whether no pair of earlier rows has gone."""
    new = source if session.kept is None else session.added
    if new is None:
        return True
    with mapped(options.graph, session.mapper) as run:
        place = CellStore(session.store, session.prefix, codes=True)
        equals = [evidence.same_bytes]
        session.kept = grow(session.kept, new, options.floor, options.graph, equals, run, place)
    # Where full lists were searched anew, old pairs may have gone.
    return session.kept.added is not None and not session.kept.added.touched


def _search(
    source: Source,
    ids: Ints,
    evidence: Evidence,
    options: DedupOptions,
    session: Session | None,
) -> Found:
    """Nodes and edges of all rows."""
    equals = [evidence.same_bytes]
    if session is None:
        searched = search(source, options.floor, options.graph, options.seed, equals, ids=ids)
    elif session.kept is None:
        raise ValueError("a session without what it kept needs a source to begin with")
    else:
        searched = gathered(session.kept, equals, ids)
    if not evidence.known.any():
        return Found(searched, HashPairs.none())
    by_hash = confirmed_hashes(
        searched.nodes,
        searched.valid,
        source,
        evidence.hashes,
        evidence.known,
        options.phash_distance,
        options.floor,
        graph=searched.graph,
    )
    return Found(with_pairs(searched, by_hash), by_hash)


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
