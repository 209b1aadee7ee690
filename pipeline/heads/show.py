"""What ``winnow train-head`` prints."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.heads.train import TrainedHead
from pipeline.report.format import percent

_THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)


def print_trained(console: Console, trained: TrainedHead) -> None:
    """How the head does on held-out images, and how to use it."""
    held, head = trained.held, trained.head
    yes = int(held.labels.sum())
    auc = held.auc
    lines = [
        (
            f"labels  {trained.trained:,} images to fit, {len(held.labels):,} held out "
            f"({yes:,} yes, {len(held.labels) - yes:,} no)"
        ),
        "        copies are on one side"
        if trained.groups
        else "        copies are not known: "
        "dedup has not run, so figures may flatter where the set has copies",
        f"AUC     {auc.value:.4f} (95 %: {auc.low:.4f} to {auc.high:.4f})",
        (
            f"        average precision {held.precision:.4f}, Brier {held.brier:.4f}, "
            f"calibration error {held.calibration_error:.4f}"
        ),
    ]
    if trained.without_vector:
        lines.insert(1, f"        {trained.without_vector:,} have no vector and are left out")
    _print(console, lines)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("score at least", "of yes", "of no"):
        table.add_column(column, justify="right")
    for threshold in _THRESHOLDS:
        table.add_row(f"{threshold:g}", *(percent(each) for each in held.above(threshold)))
    console.print(table)
    _print(
        console,
        [
            f"head    {trained.file}",
            f"plot    {trained.plot}",
            f"use     score: {{heads: {{{head.name}: {{file: {trained.file}}}}}}}",
            f"        and under filter.clauses such as no_{head.name}: {head.name} < 0.5",
        ],
    )


def _print(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(escape(line), highlight=False, soft_wrap=True)
