"""What each clause drops alone, on top of the others, and in its place; quantiles of signals."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass

from pipeline.config import Config
from pipeline.registry import stages_of
from pipeline.report.tables import Tables
from pipeline.state import StateReader
from stages.contract import ConfigurationError
from stages.corpus import Corpus
from stages.filtering.clauses import parenthesised
from stages.filtering.rules import Rule, rule_sql

#: Stages whose tables clauses read.
INPUTS = ("ingest", "profile", "score")
LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
#: Up to this many items quantiles are exact; beyond, they are those of a sample of about as many.
SAMPLE = 1_000_000

_ITEM_QUANTITIES = ("width", "height", "bytes", "frames")


@dataclass(frozen=True)
class Signal:
    """The distribution of one column.

    Args:
        name: Of the column.
        values: Items with a finite value.
        missing: Items without.
        minimum: ``None`` where no item has a value.
        maximum: As ``minimum``.
        quantiles: By ``LEVELS``; empty where no item has a value.
    """

    name: str
    values: int
    missing: int
    minimum: float | None
    maximum: float | None
    quantiles: dict[str, float]


@dataclass(frozen=True)
class ClauseCounts:
    """What a clause drops.

    Args:
        name: Its name.
        sql: Its text.
        alone: Items it drops if it is the only one.
        unique: Items that no other clause drops: what taking it away would bring back.
        in_order: Items that it drops of those that the clauses before have left.
    """

    name: str
    sql: str
    alone: int
    unique: int
    in_order: int


@dataclass(frozen=True)
class RuleCounts:
    """What the clauses of one source drop.

    Args:
        source: The entry of ``filter.sources``; ``None`` for the clauses of all other items.
        items: Items they hold for.
        passed: Items that no clause drops.
        clauses: In their order.
    """

    source: str | None
    items: int
    passed: int
    clauses: list[ClauseCounts]


@dataclass(frozen=True)
class Exploration:
    """Signals and clauses of a corpus.

    Args:
        items: Items that reach the filter.
        signals: Per numeric column of ``items``, ``profile`` and ``score``.
        rules: Per source, the common clauses last.
    """

    items: int
    signals: list[Signal]
    rules: list[RuleCounts]

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, allow_nan=False)


def explore_filters(config: Config, corpus: Corpus) -> Exploration:
    """Count what the clauses of a configuration would drop of a corpus.

    ``filter`` itself need not have run. A clause that fails on a row, such as a cast, counts as
    passed there; ``filter`` would stop.

    Args:
        config: The run.
        corpus: Its tables.

    Raises:
        ConfigurationError: If a clause cannot work, or tables are missing or stale.
    """
    settled = _settled(config, corpus)
    rules = config.filter.rules()
    number = rule_sql(rules, corpus.storage)
    with Tables(corpus, settled) as tables:
        items = tables.one("SELECT count(*) AS items FROM measured")["items"]
        names = [*_ITEM_QUANTITIES, *tables.quantities("profile", "score")]
        counted = [
            _count(tables, rule, f"({number}) = {place}") for place, rule in enumerate(rules)
        ]
        return Exploration(items, [_signal(tables, name, items) for name in names], counted)


def _settled(config: Config, corpus: Corpus) -> Collection[str]:
    """The stages that the filter reads.

    Raises:
        ConfigurationError: If one of them has not run, or is stale.
    """
    reader = StateReader(config, corpus)
    states = {stage.name: reader.read(stage).settled for stage in stages_of(config)}
    missing = [name for name in INPUTS if not states[name]]
    if missing:
        raise ConfigurationError(
            f"{corpus.uri}: {' and '.join(missing)} must have run with this configuration: "
            "winnow run CONFIG, or one by one with winnow stage NAME CONFIG"
        )
    return INPUTS


def _count(tables: Tables, rule: Rule, scope: str) -> RuleCounts:
    """One scan: for each row which clauses are false, then how they overlap."""
    clauses = list(rule.clauses.items())
    false = [f"NOT coalesce(TRY({parenthesised(sql)}), true) AS f{n}" for n, (_, sql) in _at(rule)]
    counts = ["count(*) AS items"]
    for n in range(len(clauses)):
        others = [f"f{m}" for m in range(len(clauses)) if m != n]
        before = [f"f{m}" for m in range(n)]
        counts += [
            f"count(*) FILTER (WHERE f{n}) AS alone{n}",
            f"count(*) FILTER (WHERE {_only(n, others)}) AS unique{n}",
            f"count(*) FILTER (WHERE {_only(n, before)}) AS in_order{n}",
        ]
    columns = ", ".join(["item_id", *false])
    inner = f"SELECT {columns} FROM measured WHERE {scope}"  # noqa: S608 - the user's clauses
    row = tables.one(f"SELECT {', '.join(counts)} FROM ({inner})")  # noqa: S608
    found = [
        ClauseCounts(name, sql, *(row[f"{kind}{n}"] for kind in ("alone", "unique", "in_order")))
        for n, (name, sql) in _at(rule)
    ]
    dropped = sum(each.in_order for each in found)
    return RuleCounts(rule.source, row["items"], row["items"] - dropped, found)


def _at(rule: Rule) -> list[tuple[int, tuple[str, str]]]:
    return list(enumerate(rule.clauses.items()))


def _only(clause: int, others: list[str]) -> str:
    """SQL for rows that a clause drops and none of some others does."""
    return " AND NOT ".join([f"f{clause}", *others])


def _signal(tables: Tables, name: str, items: int) -> Signal:
    value = f'"{name}"::DOUBLE'
    levels = ", ".join(str(each) for each in LEVELS)
    # A hash of the id, not chance: the same corpus gives the same figures.
    share = -(-items // SAMPLE) or 1
    row = tables.one(
        f"SELECT count(v) AS values, min(v) AS low, max(v) AS high, "  # noqa: S608 - own columns
        f"quantile_cont(v, [{levels}]) FILTER (WHERE hash(item_id) % {share} = 0) AS marks FROM "
        f"(SELECT item_id, CASE WHEN isfinite({value}) THEN {value} END AS v FROM measured)"
    )
    marks = {str(level): mark for level, mark in zip(LEVELS, row["marks"] or (), strict=False)}
    return Signal(name, row["values"], items - row["values"], row["low"], row["high"], marks)
