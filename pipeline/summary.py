"""What the command line prints: short tables of what a run did and how a corpus stands."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.config import Config
from pipeline.ledger import STATUSES, Ledger
from pipeline.registry import stages_of
from pipeline.runner import RunResult, check_stage, current_ledger
from pipeline.state import State, StateReader
from stages.corpus import Corpus
from stages.storage import Storage

_CELL = 60
_UNBOUNDED = 10_000


def print_result(console: Console, config: Config, result: RunResult, report: str) -> None:
    """After a run: the stages, what became of the items, where the output is."""
    print_stages(console, result)
    print_ledger(console, result.ledger)
    shards = Corpus(config.corpus, Storage(config.storage)).place("shards", "index.json")
    console.print(f"shards  {escape(shards)}", highlight=False, soft_wrap=True)
    console.print(f"report  {escape(report)}", highlight=False, soft_wrap=True)


def print_stages(console: Console, result: RunResult) -> None:
    """What a run computed and skipped, by stage."""
    table = _table("stage", "computed", "skipped", "seconds")
    for each in result.stages:
        table.add_row(each.stage, str(each.computed), str(each.skipped), f"{each.seconds:.1f}")
    console.print(table)


def print_status(console: Console, config: Config) -> None:
    """How a corpus stands against a configuration."""
    storage = Storage(config.storage)
    storage.check(config.corpus, writable=storage.is_local(config.corpus))
    for stage in stages_of(config):
        check_stage(stage, config, storage)
    corpus = Corpus(config.corpus, storage)
    if not corpus.partitions():
        console.print(
            f"{escape(config.corpus)}: nothing has been run yet", highlight=False, soft_wrap=True
        )
        return
    reader = StateReader(config, corpus)
    table = _table("stage", "done", "stale", "missing")
    for stage in stages_of(config):
        state = reader.read(stage)
        counts = [len(state.of(each)) for each in (State.DONE, State.STALE, State.MISSING)]
        table.add_row(stage.name, *(str(count) for count in counts))
    console.print(table)
    print_ledger(console, current_ledger(config, corpus))


def print_ledger(console: Console, ledger: Ledger) -> None:
    """The ledger's lines and the outcomes, which sum to all items."""
    table = _table("stage", "items in", "rows", "quarantined")
    for line in ledger.lines:
        figures = (line.items_in, line.rows, line.quarantined_total)
        table.add_row(line.stage, *(f"{figure:,}" for figure in figures))
    console.print(table)
    shown = [each for each in STATUSES if ledger.outcomes[each] or each != "pending"]
    parts = " + ".join(f"{ledger.outcomes[each]:,} {each}" for each in shown)
    console.print(f"ledger  {ledger.items:,} items = {parts}", highlight=False, soft_wrap=True)
    for title, counts in (("filtered", ledger.clauses), ("removed", ledger.duplicates)):
        if counts:
            text = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
            console.print(f"        {title}: {escape(text)}", highlight=False, soft_wrap=True)
    if ledger.lost_witnesses:
        console.print(
            f"        {ledger.lost_witnesses:,} removed items lost their witness to a later "
            "quarantine: see the report",
            highlight=False,
        )


def print_rows(console: Console, rows: pa.Table) -> None:
    """The rows of a query."""
    table = Table(box=None, pad_edge=False)
    for name in rows.column_names:
        table.add_column(escape(name), overflow="fold")
    for row in rows.to_pylist():
        table.add_row(*(escape(_short(value)) for value in row.values()))
    unbounded = console.options.update(max_width=_UNBOUNDED)
    if console.measure(table, options=unbounded).maximum <= console.width:
        console.print(table)
    else:
        _print_records(console, rows)


def _print_records(console: Console, rows: pa.Table) -> None:
    """Rows that are too wide for a table: a line per value."""
    width = max(len(name) for name in rows.column_names)
    for number, row in enumerate(rows.to_pylist()):
        if number:
            console.print()
        for name, value in row.items():
            text = f"{name:<{width}}  {_short(value)}"
            console.print(escape(text), highlight=False, soft_wrap=True)


def _short(value: Any) -> str:  # noqa: ANN401 - any column type
    text = "null" if value is None else str(value)
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first)
    for name in numbers:
        table.add_column(name, justify="right")
    return table
