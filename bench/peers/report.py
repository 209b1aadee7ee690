"""Tables and bounds of what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.peers.judge import Figures

GIGABYTE = 1e9
#: Least items/s of Winnow over those of a peer, from so many rows on. An inverted index scans
#: a share of all rows for each of them, so that its rate falls with their number: the bounds
#: for the million mean nothing at a tenth of it.
SPEED = {
    "ivf-leiden-16": {0: 1.0, 100_000: 5.0, 1_000_000: 15.0},
    "semdedup": {0: 0.5, 100_000: 2.0, 1_000_000: 2.5},
}
RECALL = 0.999
#: Least items/s at four million over those at one million.
LINEAR = 0.7


@dataclass(frozen=True)
class Line:
    """One peer's line.

    Args:
        count: Rows it worked on.
        seconds: By phase, from vectors on disk to keepers on disk.
        cores: Seconds of all cores in all.
        peak: Highest resident memory in bytes.
        figures: What its answer is worth.
    """

    count: int
    seconds: Mapping[str, float]
    cores: float
    peak: int
    figures: Figures

    @property
    def total(self) -> float:
        """Seconds in all."""
        return sum(self.seconds.values())

    @property
    def rate(self) -> float:
        """Items/s from vectors on disk to keepers on disk."""
        return self.count / self.total


@dataclass(frozen=True)
class Check:
    """One bound: what it is about, what was measured, and whether that will do."""

    text: str
    held: bool


def memory_bound(count: int) -> float:
    """Most bytes Winnow may take: 4 GB up to a million rows, 6 GB at four, in between a line."""
    return GIGABYTE * (4 + 2 * max(0.0, (count - 1e6) / 3e6))


def print_lines(lines: Mapping[str, Line]) -> None:
    """A table of all peers, and the seconds of their phases."""
    head = ("peer", "items/s", "s", "core s", "peak GB", "recall", "kept", "no witness")
    rows = [(*head, "false merges", "lost %", "left %")]
    for name, line in lines.items():
        found = line.figures
        rows.append(
            (
                name,
                f"{line.rate:,.0f}",
                f"{line.total:.1f}",
                f"{line.cores:.1f}",
                f"{line.peak / GIGABYTE:.2f}",
                f"{found.recall:.5f}",
                f"{found.kept:,}",
                f"{found.unwitnessed:,}",
                f"{found.false * 100:.2f}% of {found.inside:,}",
                f"{found.lost * 100:.2f}",
                f"{found.left * 100:.2f}",
            )
        )
    print_table(rows)
    for name, line in lines.items():
        phases = ", ".join(f"{phase} {spent:.1f}" for phase, spent in line.seconds.items())
        print(f"  {name}: {phases}")


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they need to be, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *rest = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join([f"{first.strip():<{widths[0]}}", *rest]))


def checks(lines: Mapping[str, Line], count: int, *, speed: bool) -> list[Check]:
    """The bounds on Winnow's line; those on its speed only where they are asked for."""
    if "winnow" not in lines:
        return []
    ours = lines["winnow"]
    limit = memory_bound(count)
    made = [
        at_least("recall", ours.figures.recall, RECALL),
        at_most("removed items without a kept witness", ours.figures.unwitnessed, 0),
        at_most("peak GB", ours.peak / GIGABYTE, limit / GIGABYTE),
    ]
    for name, steps in SPEED.items():
        if name in lines:
            ratio = ours.rate / lines[name].rate
            bound = [least for rows, least in steps.items() if count >= rows][-1]
            text = f"items/s over {name}"
            made.append(
                at_least(text, ratio, bound)
                if speed
                else Check(f"{text}: {ratio:.5g} (no bound)", held=True)
            )
    if "semdedup" in lines:
        made.append(
            at_least("recall over semdedup", ours.figures.recall, lines["semdedup"].figures.recall)
        )
    return made


def linear(rates: Mapping[int, float]) -> list[Check]:
    """Whether the rate at four million stays near that at one million, where both are known."""
    if 1_000_000 not in rates or 4_000_000 not in rates:
        return []
    ratio = rates[4_000_000] / rates[1_000_000]
    return [at_least("items/s at four million over one million", ratio, LINEAR)]


def at_least(name: str, value: float, bound: float) -> Check:
    """A bound from below."""
    return _check(name, value, f"at least {bound:g}", value >= bound)


def at_most(name: str, value: float, bound: float) -> Check:
    """A bound from above."""
    return _check(name, value, f"at most {bound:g}", value <= bound)


def _check(name: str, value: float, bound: str, held: bool) -> Check:
    return Check(f"{name}: {value:.5g} ({bound}) {'ok' if held else 'MISSED'}", held)
