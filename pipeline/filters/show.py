"""What ``winnow filter explore`` prints."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.filters.explore import Exploration, RuleCounts
from pipeline.report.format import number, percent, whole

_SHOWN = ("0.01", "0.05", "0.5", "0.95", "0.99")


def print_exploration(console: Console, found: Exploration) -> None:
    """A row per signal, then a row per clause."""
    _print_signals(console, found)
    for rule in found.rules:
        console.print()
        _print_rule(console, rule)


def _print_signals(console: Console, found: Exploration) -> None:
    shown = [each for each in found.signals if each.values]
    heads = ["least", "1 %", "5 %", "median", "95 %", "99 %", "most"]
    some_lack = any(each.missing for each in shown)
    table = _table("signal", *heads, *(["without"] if some_lack else []))
    for each in shown:
        marks = [each.minimum, *(each.quantiles[level] for level in _SHOWN), each.maximum]
        lacking = [whole(each.missing) if each.missing else ""] if some_lack else []
        table.add_row(each.name, *(number(mark) for mark in marks), *lacking)
    console.print(table)
    empty = [each.name for each in found.signals if not each.values]
    if empty:
        console.print(f"null for all images: {', '.join(empty)}", highlight=False, soft_wrap=True)


def _print_rule(console: Console, rule: RuleCounts) -> None:
    dropped = rule.items - rule.passed
    where = f"source {rule.source}: " if rule.source is not None else ""
    console.print(
        f"{escape(where)}{dropped:,} of {rule.items:,} images dropped "
        f"({percent(dropped, rule.items)})",
        highlight=False,
        soft_wrap=True,
    )
    table = _table("clause", "alone", "on top", "in order")
    table.add_column("")
    for each in rule.clauses:
        counts = (whole(count) for count in (each.alone, each.unique, each.in_order))
        table.add_row(escape(each.name), *counts, escape(" ".join(each.sql.split())))
    console.print(table)


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table
