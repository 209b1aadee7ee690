"""How a plan is shown: a table with footnotes, or JSON."""

from __future__ import annotations

import json
from string import ascii_lowercase
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.plan.human import amount, byte_size, duration
from pipeline.plan.predict import Plan, Prediction, Timed
from pipeline.plan.rates import Rate, unit_of

_DEDUP = "dedup: "
#: Counts are shown digit by digit below this.
_WHOLE = 100_000
#: Least share of a step's time for an operation to be shown; JSON has all.
_SHARE = 0.02

#: A record: date, machine, command and note of the rates that came from it.
Origin = tuple[str, str, str, str]


def print_plan(console: Console, plan: Plan) -> None:
    """Print the table, the totals, what they rest on and what will not fit."""
    machine = plan.machine
    where = "given" if machine.cluster else "this machine"
    console.print(
        f"plan    {plan.items:,} images, vectors of {plan.dim}; "
        f"{machine.cores} cores ({where}), {machine.gpus} GPUs",
        highlight=False,
    )
    letters = _letters(plan)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for name in ("step", "work", "rate", "source"):
        table.add_column(name, overflow="fold", no_wrap=name == "step")
    for name in ("time", "disk", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    in_dedup = False
    for step in plan.steps:
        if step.name.startswith(_DEDUP) and not in_dedup:
            table.add_row("dedup")
            in_dedup = True
        table.add_row(*_row(step, letters))
    table.add_row("total", "", "", "", *_totals(plan), style="bold")
    console.print(table)
    _print_lines(console, plan, letters)


def plan_json(plan: Plan) -> str:
    """The same as JSON: seconds, bytes, and every rate with its origin."""
    machine = plan.machine
    value = {
        "items": plan.items,
        "dim": plan.dim,
        "machine": {
            "cores": machine.cores,
            "gpus": machine.gpus,
            "memory_bytes": machine.memory_bytes,
            "cluster": machine.cluster,
            "name": machine.name,
        },
        "steps": [_step_json(step) for step in plan.steps],
        "total": {
            "seconds": plan.seconds,
            "without": plan.unknown,
            "disk_bytes": round(plan.disk_bytes),
            "memory_bytes": round(plan.memory_bytes),
        },
        "images": vars(plan.rates.images),
        "measured": {
            rate.operation: rate.value
            for rate in plan.rates.rates.values()
            if rate.source == "measured"
        },
        "notes": list(plan.notes),
        "problems": list(plan.problems),
    }
    return json.dumps(value, indent=1, ensure_ascii=False)


def _row(step: Prediction, letters: dict[Origin, str]) -> list[str]:
    work, parts = step.step.work, _telling(step)
    return [
        escape(step.name.replace(_DEDUP, "  ").replace(" + ", " +\n  ")),
        "\n".join(_amount(part) for part in parts),
        "\n".join(_rate(part) for part in parts),
        "\n".join(_source(part.rate, letters) for part in parts),
        "unknown" if step.seconds is None else duration(step.seconds),
        byte_size(work.disk_bytes) if work.disk_bytes else "",
        byte_size(work.memory_bytes) if work.memory_bytes else "",
    ]


def _telling(step: Prediction) -> list[Timed]:
    """The operations that take a noticeable share of a step's time, or whose time is unknown."""
    whole = sum(part.seconds or 0.0 for part in step.parts)
    return [
        part
        for part in step.parts
        if part.seconds is None or (step.seconds is not None and part.seconds >= _SHARE * whole)
    ] or list(step.parts)


def _amount(part: Timed) -> str:
    value, unit = part.part.amount, unit_of(part.part.operation)
    if unit == "bytes":
        return byte_size(value)
    shown = f"{value:,.0f}" if value < _WHOLE and float(value).is_integer() else amount(value)
    return f"{shown} {unit}"


def _rate(part: Timed) -> str:
    if part.rate is None:
        return "-"
    value = part.rate.value
    shown = byte_size(value) if part.rate.unit == "bytes" else amount(value)
    times = f" x {part.lanes:g}" if part.lanes > 1 else ""
    return f"{shown}/s{times}"


def _source(rate: Rate | None, letters: dict[Origin, str]) -> str:
    if rate is None:
        return "none"
    return f"{rate.source} {letters[_origin(rate)]}"


def _totals(plan: Plan) -> list[str]:
    more = "+ unknown" if plan.unknown else ""
    return [
        "\n".join(each for each in (duration(plan.seconds), more) if each),
        byte_size(plan.disk_bytes),
        byte_size(plan.memory_bytes),
    ]


def _print_lines(console: Console, plan: Plan, letters: dict[Origin, str]) -> None:
    """What stands below the table, a paragraph each."""
    lines = []
    for (date, machine, command, note), letter in letters.items():
        extra = f"; {note}" if note else ""
        lines.append(f"{letter:<8}{date}, {machine}: {command}{extra}")
    reasons: dict[str, list[str]] = {}
    for step in plan.steps:
        if step.unknown:
            reasons.setdefault(step.unknown, []).append(step.name)
    lines += [f"unknown {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    lines += [f"note    {each}" for each in plan.notes]
    for line in lines:
        console.print(escape(line), highlight=False, soft_wrap=True)
    for problem in plan.problems:
        console.print(f"[bold yellow]lacking[/] {escape(problem)}", highlight=False, soft_wrap=True)


def _letters(plan: Plan) -> dict[Origin, str]:
    """A letter for each record in use, in the order of the steps."""
    used = [part.rate for step in plan.steps for part in step.parts if part.rate]
    origins = dict.fromkeys(_origin(rate) for rate in used)
    return dict(zip(origins, ascii_lowercase, strict=False))


def _origin(rate: Rate) -> Origin:
    return rate.date, rate.machine, rate.command, rate.note


def _step_json(step: Prediction) -> dict[str, Any]:
    work, layout = step.step.work, step.step.layout
    return {
        "step": step.name,
        "seconds": step.seconds,
        "unknown": step.unknown,
        "disk_bytes": round(work.disk_bytes),
        "memory_bytes": round(work.memory_bytes),
        "workers": layout.workers,
        "overlap": work.overlap,
        "parts": [_part_json(part) for part in step.parts],
    }


def _part_json(part: Timed) -> dict[str, Any]:
    rate = part.rate
    return {
        "operation": part.part.operation,
        "amount": part.part.amount,
        "unit": unit_of(part.part.operation),
        "lanes": part.lanes,
        "efficiency": part.part.efficiency,
        "spread": part.part.spread.value,
        "seconds": part.seconds,
        "rate": None if rate is None else {**vars(rate), "unit": rate.unit},
    }
