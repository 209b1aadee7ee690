"""A graph by cells as bytes, so that a later search can add to it."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from typing import Any

import numpy as np

from dedup.cells.centroids import CellIndex
from dedup.cells.graph import CellGraph
from dedup.cells.shuffle import Layout
from dedup.cells.store import Store
from dedup.cells.tasks import CellPlan


def dump(graph: CellGraph, **arrays: np.ndarray) -> bytes:
    """Everything but the files: those stay in the store.

    Args:
        graph: The graph.
        arrays: What else is to be kept with it.
    """
    plan = graph.plan
    head = {
        "width": plan.layout.width,
        "dtype": plan.layout.dtype,
        "codes": plan.layout.codes,
        "most_cells": plan.most,
        "slack": plan.slack,
        "floor": graph.floor,
        "most": graph.most,
        "runs": graph.runs,
        "written": graph.written,
        "prefix": graph.prefix,
        "blocks": graph.blocks,
        "busiest": {str(group): most for group, most in graph.busiest.items()},
        "edges": {str(group): names for group, names in graph.edges.items()},
    }
    groups = sorted(graph.full)
    full = [graph.full[group] for group in groups]
    sizes = np.array([len(ids) for ids, _ in full], dtype=np.int64)
    everything = {
        "head": np.frombuffer(json.dumps(head).encode(), dtype=np.uint8),
        "bounds": plan.layout.bounds,
        "full_groups": np.repeat(np.array(groups, dtype=np.int64), sizes),
        "full_ids": np.concatenate([np.zeros(0, dtype=np.int64), *(ids for ids, _ in full)]),
        "full_reach": np.concatenate([np.zeros(0, dtype=np.float32), *(ends for _, ends in full)]),
        **{f"index_{name}": value for name, value in asdict(plan.index).items()},
        **{f"more_{name}": value for name, value in arrays.items()},
    }
    sink = io.BytesIO()
    np.savez(sink, allow_pickle=False, **everything)
    return sink.getvalue()


def load(data: bytes, store: Store) -> tuple[CellGraph, dict[str, np.ndarray]]:
    """The opposite of ``dump``: the graph, and what was kept with it."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        found = dict(arrays)
    head: dict[str, Any] = json.loads(found["head"].tobytes())
    index = CellIndex(**_named(found, "index_"))
    layout = Layout(found["bounds"], head["width"], head["dtype"], head["codes"])
    plan = CellPlan(index, layout, head["most_cells"], head["slack"])
    graph = CellGraph(
        store=store,
        plan=plan,
        floor=head["floor"],
        most=head["most"],
        blocks=head["blocks"],
        edges={int(group): names for group, names in head["edges"].items()},
        full={
            int(group): (
                found["full_ids"][found["full_groups"] == group],
                found["full_reach"][found["full_groups"] == group],
            )
            for group in np.unique(found["full_groups"])
        },
        busiest={int(group): most for group, most in head["busiest"].items()},
        runs=head["runs"],
        # Unknown in what older versions wrote: nothing is few beside it.
        written=head.get("written", 0),
        prefix=head["prefix"],
    )
    return graph, _named(found, "more_")


def _named(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
