"""Figures for the audit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from dedup.arrays import Ints
from dedup.cells.graph import Mapper
from dedup.cells.source import Source
from dedup.options import DedupOptions
from dedup.recall import Recall, draw_sample, exact_pairs
from dedup.search import Searched
from dedup.solve import Solution


def describe(
    searched: Searched, solution: Solution, reasons: pa.Array, options: DedupOptions
) -> dict[str, Any]:
    """Figures of a search and its solution."""
    graph, threshold = searched.graph, options.threshold
    _, members = np.unique(solution.component, return_counts=True)
    counts = {str(pair["values"]): int(pair["counts"]) for pair in reasons.value_counts().tolist()}
    stats: dict[str, Any] = {
        "items": len(solution.keep),
        "distinct": len(searched.nodes),
        "method": graph.method,
        "cells": searched.cells,
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
    stats["components_cut"] = sum(len(notes.cuts) for notes in solution.notes)
    for name, labels in solution.levels.items():
        _, members = np.unique(labels, return_counts=True)
        stats[f"{name}_communities"] = int(np.count_nonzero(members > 1))
    for reason in ("exact", "perceptual", "semantic"):
        stats[f"removed_{reason}"] = counts.get(reason, 0)
    return stats


def audited(
    source: Source, searched: Searched, ids: Ints, options: DedupOptions, mapper: Mapper
) -> dict[str, Any]:
    """The recall of the graph at the threshold, with its interval; see ``dedup.recall``."""
    recall = measure(source, searched, ids, options.threshold, options.audit, mapper)
    low, high = recall.interval
    return {
        "audit_sampled": recall.sampled,
        "audit_pairs": recall.pairs,
        "audit_found": recall.found,
        "recall": recall.share,
        "recall_low": low,
        "recall_high": high,
    }


def measure(
    source: Source,
    searched: Searched,
    ids: Ints,
    threshold: float,
    count: int,
    mapper: Mapper,
) -> Recall:
    """Search a sample exactly, and look its pairs up in the graph.

    Args:
        source: Of all rows, ascending by id.
        searched: What the search of them found.
        ids: Of all rows, int64 (n,).
        threshold: Pairs at or above it count.
        count: Rows sampled at most.
        mapper: Where the blocks are searched.
    """
    nodes, graph = searched.nodes, searched.graph
    # One row stands for all equal ones: the search has seen no other.
    speaks = np.zeros(len(searched.valid), dtype=np.bool_)
    speaks[nodes.spokesman(searched.valid)] = True
    speaks &= searched.valid
    sample = draw_sample(source, speaks, count, mapper)
    left, right, _ = exact_pairs(source, speaks, sample, threshold, mapper)
    one, other = (nodes.of_row[np.searchsorted(ids, each)] for each in (left, right))
    found = graph.has(np.minimum(one, other), np.maximum(one, other))
    return Recall(len(sample.ids), len(left), int(np.count_nonzero(found)))
