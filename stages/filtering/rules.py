"""Which clauses hold for which images: a common set, and changes to it by source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.filtering.clauses import evaluate
from stages.sources.listing import canonical
from stages.storage import Storage


@dataclass(frozen=True)
class Rule:
    """The clauses of some images, in their order.

    Args:
        source: The name or pattern that picks the images; ``None`` for all that no other picks.
        clauses: Name to SQL.
        origins: The setting each clause stands in, by name, for messages.
    """

    source: str | None
    clauses: Mapping[str, str]
    origins: Mapping[str, str]


def make_rules(
    clauses: Mapping[str, str], sources: Mapping[str, Mapping[str, str | None]]
) -> tuple[Rule, ...]:
    """One rule per entry of ``sources``, in their order, and the common one at the end.

    A clause of a source takes the place of the common one of its name, and comes last where
    there is none; null takes it away.

    Args:
        clauses: The common clauses.
        sources: Name or pattern to the changes.

    Raises:
        ValueError: If a change takes away what is not there.
    """
    common = {name: f"filter.clauses.{name}" for name in clauses}
    rules = []
    for source, changes in sources.items():
        for name, sql in changes.items():
            if sql is None and name not in clauses:
                raise ValueError(
                    f"{source}.clauses.{name} is null, but there is no clause {name!r} to take "
                    f"away; there are {', '.join(clauses) or 'none'}"
                )
        mixed = {**clauses, **changes}
        own = {name: f"filter.sources.{source}.clauses.{name}" for name in changes}
        kept = {name: sql for name, sql in mixed.items() if sql is not None}
        rules.append(Rule(source, kept, {**common, **own}))
    return (*rules, Rule(None, dict(clauses), common))


def rule_sql(rules: Sequence[Rule], storage: Storage) -> str:
    """SQL for the number of the rule that holds for a row of ``items``: the first that fits.

    A name fits images of the source of that uri; a pattern (``*``, ``?``, ``[...]``) fits uris.
    Local paths may be relative, as those of sources may.
    """
    parts = [
        f"WHEN {_fits(rule.source, storage)} THEN {number}"
        for number, rule in enumerate(rules)
        if rule.source is not None
    ]
    last = len(rules) - 1
    return " ".join(["CASE", *parts, f"ELSE {last} END"]) if parts else str(last)


def _fits(source: str, storage: Storage) -> str:
    spellings = sorted({source, canonical(storage, source)})
    tests = [
        test
        for text in map(_quoted, spellings)
        for test in (f"source = {text}", f"uri = {text}", f"uri GLOB {text}")
    ]
    return f"coalesce({' OR '.join(tests)}, false)"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def rule_numbers(
    database: duckdb.DuckDBPyConnection,
    rows: pa.Table,
    rules: Sequence[Rule],
    storage: Storage,
) -> NDArray[np.int64]:
    """The number of the rule that holds for each row: int64 (n,)."""
    if len(rules) == 1:
        return np.zeros(rows.num_rows, dtype=np.int64)
    return evaluate(database, rows, rule_sql(rules, storage)).astype(np.int64)
