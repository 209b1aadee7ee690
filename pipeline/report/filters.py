"""Filters: what each clause dropped, and images on both sides of what it tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from pipeline.report.histograms import histograms
from pipeline.report.tables import CARD_COLUMNS, Row, Tables
from stages.filter import FilterSettings
from stages.filtering.clauses import parenthesised
from stages.filtering.rules import Rule, rule_sql
from stages.storage import Storage

_COMPARISON = re.compile(
    r"\s*(?P<value>[^<>=!]+?)\s*(?P<operator>>=|<=|>|<)\s*"
    r"(?P<cut>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*"
)
_NOT_ONE_VALUE = re.compile(r"\b(and|or|not|case|between|in|is|like)\b|--|;", re.IGNORECASE)
#: Null passes in any case, so a clause that says so is still one comparison.
_OR_NULL = (
    re.compile(r"\s*(?P<null>\w+)\s+is\s+null\s+or\s+(?P<rest>.+)", re.IGNORECASE | re.DOTALL),
    re.compile(r"(?P<rest>.+?)\s+or\s+(?P<null>\w+)\s+is\s+null\s*", re.IGNORECASE | re.DOTALL),
)


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
    """Take a clause apart; ``None`` where it is more than one comparison with a number.

    ``X is null or X > 1`` is one too.
    """
    for pattern in _OR_NULL:
        match = pattern.fullmatch(clause)
        inner = _plain_comparison(match["rest"]) if match else None
        if match and inner and inner.value.lower() == match["null"].lower():
            return inner
    return _plain_comparison(clause)


def _plain_comparison(clause: str) -> Comparison | None:
    match = _COMPARISON.fullmatch(clause)
    if match is None or _NOT_ONE_VALUE.search(match["value"]):
        return None
    return Comparison(match["value"], match["operator"], float(match["cut"]))


@dataclass(frozen=True)
class _Variant:
    """A clause as it holds for some images.

    Args:
        name: Of the clause.
        sql: Its text.
        sources: The entries of ``filter.sources`` that it was changed for; none: the common one.
        scope: SQL that is true for these images.
    """

    name: str
    sql: str
    sources: tuple[str, ...]
    scope: str


def filter_facts(
    tables: Tables, settings: FilterSettings, storage: Storage, examples: int
) -> dict[str, Any] | None:
    """What each clause dropped and left, examples on both sides, for simple ones a histogram.

    A clause that ``filter.sources`` changes has an entry for each of its texts.

    Args:
        tables: Where to read.
        settings: The clauses.
        storage: Where uris are resolved.
        examples: Most images listed on either side of a cut.

    Returns:
        ``None`` where ``filter`` has not run.
    """
    if not tables.ran("filter"):
        return None
    totals = tables.one(
        "SELECT count(*) AS items, count(*) FILTER (WHERE passed) AS passed FROM filter"
    )
    facts = [_clause(tables, each, examples) for each in _variants(settings.rules(), storage)]
    left = totals["items"]
    for each in facts:
        left -= each["dropped"]
        each["left"] = left
    return {**totals, "clauses": facts}


def _variants(rules: Sequence[Rule], storage: Storage) -> list[_Variant]:
    """Every text of every clause: the common clauses in their order, then those added."""
    number = rule_sql(rules, storage)
    common = rules[-1]
    names = dict.fromkeys([*common.clauses, *(name for rule in rules for name in rule.clauses)])
    found = []
    for name in names:
        texts: dict[str, list[int]] = {}
        for at in (len(rules) - 1, *range(len(rules) - 1)):
            if name in rules[at].clauses:
                texts.setdefault(rules[at].clauses[name], []).append(at)
        for sql, places in texts.items():
            everywhere = len(places) == len(rules)
            sources = () if common.clauses.get(name) == sql else places
            found.append(
                _Variant(
                    name,
                    sql,
                    tuple(str(rules[at].source) for at in sources),
                    "true" if everywhere else f"({number}) IN ({', '.join(map(str, places))})",
                )
            )
    return found


def _clause(tables: Tables, clause: _Variant, examples: int) -> dict[str, Any]:
    dropped = tables.one(
        "SELECT count(*) AS count FROM items WHERE item_id IN "  # noqa: S608 - our own SQL
        f"(SELECT item_id FROM filter WHERE clause = ?) AND {clause.scope}",
        clause.name,
    )
    facts = {"name": clause.name, "sql": clause.sql, "sources": list(clause.sources)}
    return facts | {"dropped": dropped["count"]} | _examples(tables, clause, examples)


def _examples(tables: Tables, clause: _Variant, examples: int) -> dict[str, Any]:
    test = comparison(clause.sql)
    if test is not None:
        try:
            return _around_the_cut(tables, clause, test, examples)
        except duckdb.Error:  # text compared with a number, unbalanced parentheses: no histogram
            pass
    holds = f"TRY({parenthesised(clause.sql)})"
    return {
        "test": None,
        "dropped_examples": _sample(tables, clause, "clause = ?", [clause.name], examples),
        "passed_examples": _sample(tables, clause, f"passed AND {holds}", [], examples),
    }


def _around_the_cut(
    tables: Tables, clause: _Variant, test: Comparison, examples: int
) -> dict[str, Any]:
    """The distribution, and the images nearest the cut on either side."""
    view = f"(SELECT * FROM measured WHERE {clause.scope})"  # noqa: S608 - our own SQL
    kept = tables.ran("dedup")
    histogram = histograms(tables, view, {clause.name: test.value}, kept=kept)[0]
    return {
        "test": {
            "value": test.value,
            "operator": test.operator,
            "cut": test.cut,
            "histogram": histogram,
        },
        "dropped_examples": _nearest(tables, clause, test, "clause = ?", [clause.name], examples),
        "passed_examples": _nearest(tables, clause, test, "passed", [], examples),
    }


def _nearest(
    tables: Tables,
    clause: _Variant,
    test: Comparison,
    where: str,
    values: list[str],
    examples: int,
) -> list[Row]:
    return tables.rows(
        f"SELECT {CARD_COLUMNS}, ({test.value})::DOUBLE AS value FROM measured "  # noqa: S608
        f"JOIN filter USING (item_id) WHERE {where} AND {clause.scope} AND isfinite(value) "
        f"ORDER BY abs(value - {test.cut!r}), item_id LIMIT ?",
        *values,
        examples,
    )


def _sample(
    tables: Tables, clause: _Variant, where: str, values: list[str], examples: int
) -> list[Row]:
    """Images in an order that has nothing to do with what they show, and is always the same."""
    return tables.rows(
        f"SELECT {CARD_COLUMNS}, NULL AS value FROM measured "  # noqa: S608 - the user's clause
        f"JOIN filter USING (item_id) WHERE {where} AND {clause.scope} "
        "ORDER BY md5(item_id::VARCHAR), item_id LIMIT ?",
        *values,
        examples,
    )
