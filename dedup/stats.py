"""Figures for the audit."""

from __future__ import annotations

from typing import Any

import numpy as np

from dedup.arrays import Ints
from dedup.cells.graph import Mapper
from dedup.cells.source import Source
from dedup.options import DedupOptions
from dedup.recall import Recall, draw_sample, exact_pairs
from dedup.search import Searched
from dedup.settled import Settled


def describe(searched: Searched, settled: Settled, options: DedupOptions) -> dict[str, Any]:
    """Figures of a search and of what was decided.

    Args:
        searched: Of what was searched now; its nodes and edges are not counted.
        settled: Of all rows.
        options: Of both.
    """
    graph, threshold, sums = searched.graph, options.threshold, settled.sums
    stats: dict[str, Any] = {
        "items": len(settled),
        "distinct": sums["distinct"],
        "method": graph.method,
        "cells": searched.cells,
        "threshold": threshold,
        "floor": graph.floor,
        "within": options.communities.within,
        "pairs": sums["pairs"],
        "pairs_above_floor": sums["pairs_above_floor"],
        "saturated": graph.saturated(threshold),
        "saturated_above_floor": graph.saturated(graph.floor),
        "crowded_hashes": settled.by_hash.crowded,
        "vectors_without_direction": sums["without_direction"],
        "components": sums["groups_component"],
        "largest_component": settled.largest,
        "kept": sums["kept"],
        "components_cut": sums["cut"],
    }
    stats |= {f"{name}_communities": sums[f"groups_{name}"] for name in settled.levels}
    return stats | {name: value for name, value in sums.items() if name.startswith("removed_")}


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
