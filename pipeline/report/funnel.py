"""The funnel: images left after each stage, and why the others are not."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipeline.ledger import Ledger, outcome_tables
from stages.corpus import Corpus

#: What the images are called that a stage lets through.
LABELS = {
    "ingest": "Readable",
    "profile": "Profiled",
    "embed": "Embedded",
    "score": "Scored",
    "filter": "Passed the filters",
    "dedup": "Kept after deduplication",
    "ocr": "Text read",
    "caption": "Captioned",
    "shard": "In shards",
}


def funnel(corpus: Corpus, ledger: Ledger) -> list[dict[str, Any]]:
    """Images left after each stage that has run.

    Returns:
        Per step ``stage`` (null for what was found), ``label``, ``count``, ``share`` of all,
        and ``dropped``: per ``kind`` and ``reason`` how many left the line here. A step's
        count and its drops sum to the count of the step before.

    Raises:
        ValueError: If they do not.
    """
    stages = [line.stage for line in ledger.lines]
    drops = _drops(corpus, stages)
    left = ledger.items
    steps = [_step(None, "Found", left, left, Counter())]
    for stage in stages:
        dropped = drops.pop(stage, Counter())
        left -= dropped.total()
        steps.append(_step(stage, LABELS.get(stage, stage), left, ledger.items, dropped))
    if left != ledger.outcomes["kept"] + ledger.outcomes["pending"] or drops:
        raise ValueError(f"the funnel ends with {left} images, the ledger with {ledger.outcomes}")
    return steps


def _drops(corpus: Corpus, stages: list[str]) -> dict[str, Counter[tuple[str, str]]]:
    """Images that left the line, per stage, by kind and reason."""
    drops: dict[str, Counter[tuple[str, str]]] = {}
    for table in outcome_tables(corpus, corpus.partitions(), stages):
        grouped = table.group_by(["stage", "status", "reason"]).aggregate([([], "count_all")])
        for row in grouped.to_pylist():
            if row["stage"] is not None:
                key = (row["status"], row["reason"])
                drops.setdefault(row["stage"], Counter())[key] += row["count_all"]
    return drops


def _step(
    stage: str | None, label: str, count: int, total: int, dropped: Counter[tuple[str, str]]
) -> dict[str, Any]:
    ordered = sorted(dropped.items(), key=lambda each: (-each[1], each[0]))
    return {
        "stage": stage,
        "label": label,
        "count": count,
        "share": count / total if total else 0.0,
        "dropped": [
            {"kind": kind, "reason": reason, "count": number} for (kind, reason), number in ordered
        ],
    }
