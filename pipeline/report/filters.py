"""Filters: what each clause dropped, and the distribution of what it tests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from pipeline.report.histograms import histograms
from pipeline.report.tables import CARD_COLUMNS, Row, Tables

_COMPARISON = re.compile(
    r"\s*(?P<value>[^<>=!]+?)\s*(?P<operator>>=|<=|>|<)\s*"
    r"(?P<cut>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*"
)
_NOT_ONE_VALUE = re.compile(r"\b(and|or|not|case|between|in|is|like)\b|--|;", re.IGNORECASE)


@dataclass(frozen=True)
class Comparison:
    """A clause that compares one value with one number.

    Args:
        value: SQL of the value.
        operator: ``>=``, ``>``, ``<=`` or ``<``.
        cut: The number.
    """

    value: str
    operator: str
    cut: float


def comparison(clause: str) -> Comparison | None:
    """Take a clause apart; ``None`` where it is more than one comparison with a number."""
    match = _COMPARISON.fullmatch(clause)
    if match is None or _NOT_ONE_VALUE.search(match["value"]):
        return None
    return Comparison(match["value"], match["operator"], float(match["cut"]))


def filter_facts(
    tables: Tables, clauses: Mapping[str, str], examples: int
) -> dict[str, Any] | None:
    """Per clause: how many it dropped, examples, and for simple ones the histogram.

    Args:
        tables: Where to read.
        clauses: Name to SQL, in the order of the configuration.
        examples: Most images listed on either side of a cut.

    Returns:
        ``None`` where ``filter`` has not run.
    """
    if not tables.ran("filter"):
        return None
    dropped = tables.counts("SELECT clause, count(*) FROM filter WHERE NOT passed GROUP BY clause")
    totals = tables.one(
        "SELECT count(*) AS items, count(*) FILTER (WHERE passed) AS passed FROM filter"
    )
    facts = [
        {"name": name, "sql": sql, "dropped": dropped.get(name, 0)}
        | _examples(tables, name, sql, examples)
        for name, sql in clauses.items()
    ]
    return {**totals, "clauses": facts}


def _examples(tables: Tables, name: str, sql: str, examples: int) -> dict[str, Any]:
    test = comparison(sql)
    if test is not None:
        try:
            return _around_the_cut(tables, name, test, examples)
        except duckdb.Error:  # text compared with a number, unbalanced parentheses: no histogram
            pass
    rows = tables.rows(
        f"SELECT {CARD_COLUMNS}, NULL AS value FROM items "  # noqa: S608
        "WHERE item_id IN (SELECT item_id FROM filter WHERE clause = ?) "
        "ORDER BY md5(item_id::VARCHAR), item_id LIMIT ?",
        name,
        examples,
    )
    return {"test": None, "dropped_examples": rows, "passed_examples": []}


def _around_the_cut(tables: Tables, name: str, test: Comparison, examples: int) -> dict[str, Any]:
    """The distribution, and the images nearest the cut on either side."""
    histogram = histograms(tables, "measured", {name: test.value}, kept=tables.ran("dedup"))[0]
    dropped = _nearest(tables, test, "clause = ?", [name], examples)
    passed = _nearest(tables, test, "passed", [], examples)
    return {
        "test": {
            "value": test.value,
            "operator": test.operator,
            "cut": test.cut,
            "histogram": histogram,
        },
        "dropped_examples": dropped,
        "passed_examples": passed,
    }


def _nearest(
    tables: Tables, test: Comparison, where: str, values: list[str], examples: int
) -> list[Row]:
    return tables.rows(
        f"SELECT {CARD_COLUMNS}, ({test.value})::DOUBLE AS value FROM measured "  # noqa: S608
        f"WHERE item_id IN (SELECT item_id FROM filter WHERE {where}) AND isfinite(value) "
        f"ORDER BY abs(value - {test.cut!r}), item_id LIMIT ?",
        *values,
        examples,
    )
