"""What the ``dedup`` stage does with a corpus: read what decides, search, keep the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import TypeVar

import numpy as np
import pyarrow as pa

from dedup.cells.cuda import resolve_device
from dedup.cells.graph import ONE_CELL, Mapper
from dedup.engine import Decisions, Session, deduplicate
from dedup.options import DedupOptions
from dedup.policy import columns_of
from stages.contract import Executor, Reads, Resources
from stages.corpus import Corpus, Partition, digest
from stages.graph import CorpusGraph, CorpusSource, input_hashes, open_source, outgrown
from stages.schemas import ITEMS, PROFILE, schema_of

T = TypeVar("T")
R = TypeVar("R")

#: Part of the recipe of kept graphs: other code makes other cells.
_GRAPH_VERSION = 1
#: Options of the search that do not shape the graph.
_EXECUTION = ("threads", "memory_gb", "k", "nprobe")
_BATCH = pa.field("batch", pa.int64())
#: What decides which items take part, with their vectors and nothing else.
_VECTORS = (
    Reads("items"),
    Reads("profile"),
    Reads("embed", ("vector",)),
    Reads("filter", (), where="passed"),
)
_TABLES = tuple(read.table for read in _VECTORS)


def deduplicate_corpus(
    corpus: Corpus,
    options: DedupOptions,
    executor: Executor,
    small: int = ONE_CELL,
    further: Sequence[str] = (),
) -> Decisions:
    """Deduplicate all items of a corpus that passed the filter.

    Args:
        corpus: The tables.
        options: Thresholds, policy and methods.
        executor: Where blocks and groups of cells are worked on.
        small: Up to this many items are searched here and now, and no graph is kept.
        further: Columns of ``score`` beyond the named ones, which policies may use as well.

    Raises:
        ValueError: If vectors or policy do not fit the items.
    """
    partitions = corpus.partitions()
    wanted = [
        Reads("items", _wanted(options, ITEMS, "sha256")),
        Reads("profile", _wanted(options, PROFILE, "phash")),
    ]
    scores = _wanted(options, schema_of("score", further))
    if scores:
        wanted.append(Reads("score", scores))
    tables = [_items(corpus, wanted, each) for each in partitions]
    items = pa.concat_tables(tables or [_no_items(wanted, further)])
    source = open_source(corpus, _VECTORS, partitions, [table.num_rows for table in tables])
    if items.num_rows <= small or options.graph.method not in {"auto", "cells"}:
        return deduplicate(items, source, options)
    return _deduplicate_added(corpus, items, source, options, executor, scored=bool(scores))


def _deduplicate_added(
    corpus: Corpus,
    items: pa.Table,
    source: CorpusSource,
    options: DedupOptions,
    executor: Executor,
    *,
    scored: bool,
) -> Decisions:
    """Search what is new, decide what it touches, and keep both for the next batch."""
    shaping = {
        name: value for name, value in asdict(options.graph).items() if name not in _EXECUTION
    }
    graph = CorpusGraph(corpus, digest(_GRAPH_VERSION, options.floor, shaping))
    inputs = input_hashes(corpus, _TABLES, source.partitions)
    session = Session(_mapper(executor, options), graph.store, prefix=graph.fresh_prefix())
    found = graph.load(inputs)
    if found is not None:
        new = source.after(found.partitions)
        if not outgrown(found.kept, int(new.sizes.sum()), resolve_device(options.graph.device)):
            session.kept = found.kept
            mark = _scores_mark(corpus, source.partitions[: found.partitions], scored)
            if found.decided.startswith(mark):
                session.settled, session.recipe = found.settled, found.decided.removeprefix(mark)
            session.added = new if new.partitions else None
    decided = deduplicate(items, source, options, session)
    if session.kept is not None:
        mark = _scores_mark(corpus, source.partitions, scored)
        graph.save(session.kept, inputs, session.settled, mark + session.recipe)
    return decided


def _scores_mark(corpus: Corpus, partitions: Sequence[Partition], scored: bool) -> str:
    """Hash of the scores that decisions depend on; the graph itself does not."""
    hashes = input_hashes(corpus, ("score",), partitions) if scored else {}
    return f"{digest(*hashes.values())} "


def _mapper(executor: Executor, options: DedupOptions) -> Mapper:
    resources = Resources(memory_gb=options.graph.memory_gb / options.graph.cores)

    def run(function: Callable[[T], R], tasks: Sequence[T]) -> Iterable[R]:
        return executor.map(function, tasks, resources)

    return run


def _items(corpus: Corpus, wanted: Sequence[Reads], partition: Partition) -> pa.Table:
    """What decides about the items of a partition, but for their vectors."""
    reads = (*wanted, Reads("embed"), Reads("filter", (), where="passed"))
    table = corpus.join(reads, partition)
    batch = np.full(table.num_rows, partition.batch, dtype=np.int64)
    return table.append_column(_BATCH, pa.array(batch))


def _no_items(wanted: Sequence[Reads], further: Sequence[str]) -> pa.Table:
    columns = [
        schema_of(read.table, further).field(name) for read in wanted for name in read.columns
    ]
    return pa.schema([ITEMS.field("item_id"), *columns, _BATCH]).empty_table()


def _wanted(options: DedupOptions, schema: pa.Schema, *always: str) -> tuple[str, ...]:
    """The columns that policy or protection mention, and those that are always read."""
    known = [name for name in schema.names if name != "item_id"]
    named = set(always)
    for terms in (options.keep, options.protect):
        named |= set(columns_of(terms, known)) if terms.strip() else set()
    return tuple(name for name in known if name in named)
