"""Editing pairs: how many there are of each kind, which checks failed, and examples."""

from __future__ import annotations

import json
from typing import Any

from pipeline.report.tables import Row, Tables
from stages.schemas import PAIRS

_COLUMNS = ", ".join(f'"{name}"' for name in PAIRS.names)
_KINDS = ("edit", "video", "copy", "subject")


def pair_facts(tables: Tables, examples: int) -> dict[str, Any] | None:
    """What ``pairs`` made; ``None`` where it has not run.

    Args:
        tables: The tables that are up to date.
        examples: Most examples, the kinds taking turns.
    """
    if not tables.ran("pairs"):
        return None
    totals = tables.one(
        'SELECT count(*) AS pairs, count(DISTINCT "group") AS groups, '
        "count(*) FILTER (WHERE len(checks) > 0) AS flagged, "
        "count(*) FILTER (WHERE instruction_en IS NULL) AS without_instruction FROM pairs"
    )
    images = tables.one(
        "SELECT count(*) AS images FROM paired WHERE as_source > 0 OR as_target > 0"
    )
    return {
        **totals,
        **images,
        "kinds": _kinds(tables),
        "backends": tables.counts("SELECT backend, count(*) FROM pairs GROUP BY backend"),
        "checks": tables.counts(
            "SELECT trim(split_part(flag, ':', 1)) AS kind, count(*) "
            "FROM (SELECT unnest(checks) AS flag FROM pairs) GROUP BY kind"
        ),
        "examples": _examples(tables, examples),
    }


def _kinds(tables: Tables) -> list[Row]:
    """Per kind: pairs, groups they are from, and the range of their similarity."""
    rows = tables.rows(
        'SELECT kind, count(*) AS pairs, count(DISTINCT "group") AS groups, '
        "count(*) FILTER (WHERE len(checks) > 0) AS flagged, "
        "min(similarity) AS least, max(similarity) AS most FROM pairs GROUP BY kind"
    )
    return sorted(rows, key=lambda row: _KINDS.index(row["kind"]))


def _examples(tables: Tables, examples: int) -> list[Row]:
    """Pairs chosen by a hash of their ids, as many of each kind as there is room for."""
    rows = tables.rows(
        f"SELECT {_COLUMNS} FROM (SELECT *, row_number() OVER "  # noqa: S608 - our own columns
        "(PARTITION BY kind ORDER BY md5(pair_id), pair_id) AS place FROM pairs) "
        "WHERE place <= ? ORDER BY place, list_position(?::VARCHAR[], kind) LIMIT ?",
        examples,
        list(_KINDS),
        examples,
    )
    cards = tables.cards([row[name] for row in rows for name in ("source_id", "target_id")])
    return [
        {
            **row,
            "differences": json.loads(row["differences"]),
            "pair": [cards[row["source_id"]], cards[row["target_id"]]],
        }
        for row in rows
    ]
