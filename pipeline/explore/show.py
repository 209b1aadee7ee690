"""What the two commands print."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dedup.explore import Exploration
from dedup.judged import Judged
from dedup.labels import Choice, Curve
from pipeline.explore.explored import Explored
from pipeline.explore.stored import decimals, keep_order
from pipeline.report.format import percent, whole


def print_explored(console: Console, explored: Explored) -> None:
    """A row per threshold, whose policy it is, and where the page lies."""
    dedup, origin = explored.settings.config.dedup, explored.settings.origin
    _print_summary(console, explored.exploration, dedup.threshold)
    lines = [
        f"items   {explored.exploration.count:,} compared",
        f"policy  {keep_order(dedup)}  ({origin})",
    ]
    if dedup.protect.strip():
        lines.append(f"protect {dedup.protect}")
    if not explored.settings.made_it:
        lines.append("        the dedup tables are not up to date with these settings")
    if dedup.communities.within != "component":
        lines.append("        with within: community a run removes other images; see the page")
    lines.append(f"page    {explored.page}")
    for line in lines:
        console.print(escape(line), highlight=False, soft_wrap=True)


def _print_summary(console: Console, exploration: Exploration, current: float) -> None:
    rows = exploration.summary.to_pylist()
    table = _table("threshold", "removed", "share", "clusters", "largest", "pairs")
    table.add_column("")
    digits = decimals([row["threshold"] for row in rows])
    for row in rows:
        names = ("clusters", "largest", "pairs")
        in_force = abs(row["threshold"] - current) < 1e-9
        table.add_row(
            f"{row['threshold']:.{digits}f}",
            whole(int(row["removed"])),
            percent(row["share"]),
            *(whole(int(row[name])) for name in names),
            "in force" if in_force else "",
            style="bold" if in_force else None,
        )
    console.print(table)


def print_curve(console: Console, curve: Curve) -> None:
    """A row per candidate threshold."""
    table = _table("threshold", "precision", "at least", "at most", "recall", "labels", "pairs")
    digits = decimals(curve.threshold.tolist())
    for row in curve.to_table().to_pylist():
        shares = (percent(row[name]) for name in ("precision", "low", "high", "recall"))
        counts = (whole(row[name]) for name in ("labels", "pairs"))
        table.add_row(f"{row['threshold']:.{digits}f}", *shares, *counts)
    console.print(table)


def print_judged(console: Console, judged: Judged) -> None:
    """What of the labels counts, and what does not."""
    yes = int(judged.yes.sum())
    parts = [f"{yes:,} yes, {len(judged.yes) - yes:,} no"]
    if judged.unsure:
        parts.append(f"{judged.unsure:,} unsure, left out")
    if judged.equal:
        parts.append(f"{judged.equal:,} pairs of equal images, left out: no threshold parts them")
    console.print(f"labels  {'; '.join(parts)}", highlight=False, soft_wrap=True)


def print_choice(console: Console, choice: Choice) -> None:
    """The answer, and how to use it."""
    console.print(
        f"[bold]threshold {choice.threshold:g}[/]: precision {percent(choice.precision)}, "
        f"{100 * choice.confidence:g} % interval {percent(choice.low)} to {percent(choice.high)}, "
        f"from {choice.labels:,} labels; it keeps {percent(choice.recall)} of the yes pairs",
        highlight=False,
        soft_wrap=True,
    )
    setting = escape(f"--set dedup.threshold={choice.threshold:g}")
    console.print(f"use it  {setting}", highlight=False, soft_wrap=True)


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first)
    for name in numbers:
        table.add_column(name, justify="right")
    return table
