"""Histograms of whole tables in two scans, however many columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.report.tables import Row, Tables

BINS = 32
#: Quantiles come from this many items; exact for a corpus that is no larger.
SAMPLE = 50_000
#: Share of the sample beyond each end of the axis; the end bars count what lies there.
_TAIL = 0.005
#: From this ratio of high to median on, equal bins would show one bar: bins in the logarithm.
_SKEWED = 12.0
#: At most this share of values may be zero or less on a logarithmic axis.
_NOT_POSITIVE = 0.05

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bins:
    """Bins of equal width, of the values or of their decimal logarithms.

    Args:
        low: Left edge of the first, on the axis of the bins.
        step: Width of each, positive.
        count: How many, at least 1.
        log: Whether the axis is the decimal logarithm.
    """

    low: float
    step: float
    count: int
    log: bool = False

    @property
    def edges(self) -> list[float]:
        """The ``count + 1`` edges, as values."""
        places = [self.low + self.step * index for index in range(self.count + 1)]
        return [10.0**place for place in places] if self.log else places

    def sql(self, expression: str) -> str:
        """SQL for the bin of a value: -1 below the first, ``count`` above the last."""
        value = f"({expression})::DOUBLE"
        axis = f"log10({value})" if self.log else value
        high = self.low + self.step * self.count
        place = f"floor(({axis} - {self.low!r}) / {self.step!r})"
        # The last bin holds its right edge: 1 is the most common similarity and share.
        parts = [
            # Spelled out, since least and greatest of DuckDB pass over nulls.
            f"CASE WHEN {value} IS NULL OR NOT isfinite({value}) THEN NULL",
            f"WHEN {value} <= 0 THEN -1" if self.log else "",
            f"WHEN {axis} = {high!r} THEN {self.count - 1}",
            f"ELSE least(greatest({place}, -1), {self.count})::INTEGER END",
        ]
        return " ".join(parts)

    def spread(self, counts: Mapping[int, int] | None) -> tuple[list[int], int, int]:
        """Counts per bin, below and above, from counts by bin number."""
        counts = counts or {}
        inside = [counts.get(index, 0) for index in range(self.count)]
        return inside, counts.get(-1, 0), counts.get(self.count, 0)


def nice_bins(low: float, high: float, *, whole: bool = False) -> Bins:
    """At most about ``BINS`` bins over a range, with round edges.

    Args:
        low: Least value to show, finite.
        high: Greatest, not below ``low``.
        whole: Values are whole numbers, so bins are a whole number wide.
    """
    span = high - low
    if span <= 0:
        width = 1.0 if whole else max(abs(low) * 1e-3, 1e-6)
        return Bins(low - (0.0 if whole else width / 2), width, 1)
    raw = span / BINS
    power = 10.0 ** math.floor(math.log10(raw))
    factors = (1.0, 2.0, 5.0, 10.0) if whole else (1.0, 2.0, 2.5, 5.0, 10.0)
    step = next(each * power for each in factors if each * power >= raw * 0.999)
    step = max(1.0, step) if whole else step
    start = math.floor(low / step + 1e-9) * step
    # A whole number on the last edge would fall beyond the bins: it opens one of its own.
    count = math.floor((high - start) / step) + 1 if whole else math.ceil((high - start) / step)
    return Bins(start, step, max(1, count))


def bins_for(values: Values) -> Bins:
    """Bins that show most of some values; logarithmic where they are skewed.

    Args:
        values: Finite, ascending, of shape [n].
    """
    if not values.size:
        return Bins(0.0, 1.0, 1)
    positive = values[values > 0]
    median, high = np.quantile(values, [0.5, 1 - _TAIL])
    if (
        median > 0
        and high > _SKEWED * median
        and positive.size >= values.size * (1 - _NOT_POSITIVE)
    ):
        low, high = np.log10(np.quantile(positive, [_TAIL, 1 - _TAIL]))
        return _with_log(nice_bins(float(low), float(high)))
    low = np.quantile(values, _TAIL)
    return nice_bins(float(low), float(high), whole=bool(np.all(values == np.floor(values))))


def _with_log(bins: Bins) -> Bins:
    return Bins(bins.low, bins.step, bins.count, log=True)


def histograms(
    tables: Tables,
    view: str,
    columns: Mapping[str, str],
    *,
    kept: bool,
    fixed: Mapping[str, Bins] | None = None,
) -> list[dict[str, Any]]:
    """Distributions of several values over all items of a view, and over the kept ones.

    Args:
        tables: Where to read.
        view: A view with ``item_id``.
        columns: Name to SQL expression.
        kept: Whether it is known what is kept; otherwise only all items are counted.
        fixed: Bins to use instead of those that the values suggest, by name.

    Returns:
        Per name: ``name``, ``edges``, ``log`` (whether the bins are equal in the logarithm),
        ``all`` and ``kept`` (counts per bin, ``kept`` null if not known), ``below`` and
        ``above`` (counts beyond the bins), ``kept_below``, ``kept_above``, ``values`` (items
        with a finite value), ``missing``, ``minimum``, ``maximum``, and ``quantiles`` 0.05,
        0.5 and 0.95 of a sample of ``SAMPLE`` items.
    """
    if not columns:
        return []
    sample = _sample(tables, view, columns)
    bins = {name: bins_for(sample[name]) for name in columns} | dict(fixed or {})
    counted = _count(tables, view, columns, bins, kept=kept)
    return [
        _histogram(name, index, bins[name], counted, sample[name])
        for index, name in enumerate(columns)
    ]


def plain_histogram(bins: Bins, counts: Mapping[int, int]) -> dict[str, Any]:
    """A histogram of counts by bin number, with nothing known of what is kept."""
    inside, below, above = bins.spread(counts)
    return {
        "edges": bins.edges,
        "log": bins.log,
        "all": inside,
        "below": below,
        "above": above,
        "kept": None,
        "kept_below": None,
        "kept_above": None,
    }


def _sample(tables: Tables, view: str, columns: Mapping[str, str]) -> dict[str, Values]:
    values = ", ".join(f"({sql})::DOUBLE AS v{n}" for n, sql in enumerate(columns.values()))
    # A hash of the id, not chance: the same corpus must give the same audit.
    order = f"ORDER BY md5(item_id::VARCHAR), item_id LIMIT {SAMPLE}"
    rows = tables.rows(f"SELECT {values} FROM {view} {order}")  # noqa: S608
    found = {}
    for n, name in enumerate(columns):
        column = np.array([row[f"v{n}"] for row in rows], dtype=np.float64)
        found[name] = np.sort(column[np.isfinite(column)])
    return found


def _count(
    tables: Tables,
    view: str,
    columns: Mapping[str, str],
    bins: Mapping[str, Bins],
    *,
    kept: bool,
) -> Row:
    parts = []
    for n, (name, sql) in enumerate(columns.items()):
        number = bins[name].sql(sql)
        value = f"CASE WHEN isfinite(({sql})::DOUBLE) THEN ({sql})::DOUBLE END"
        parts.append(
            f"histogram({number}) AS a{n}, histogram({number}) FILTER (WHERE is_kept) AS k{n}, "
            f"count({value}) AS n{n}, min({value}) AS lo{n}, max({value}) AS hi{n}"
        )
    member = "item_id IN (SELECT item_id FROM kept)" if kept else "false"
    source = f"(SELECT *, {member} AS is_kept FROM {view})"  # noqa: S608
    row = tables.one(f"SELECT count(*) AS total, {', '.join(parts)} FROM {source}")  # noqa: S608
    return {**row, "kept": kept}


def _histogram(name: str, n: int, bins: Bins, counted: Row, sample: Values) -> dict[str, Any]:
    found = {"name": name, **plain_histogram(bins, counted[f"a{n}"] or {})}
    if counted["kept"]:
        inside, below, above = bins.spread(counted[f"k{n}"])
        found |= {"kept": inside, "kept_below": below, "kept_above": above}
    marks = np.quantile(sample, [0.05, 0.5, 0.95]).tolist() if sample.size else [None] * 3
    return {
        **found,
        "values": counted[f"n{n}"],
        "missing": counted["total"] - counted[f"n{n}"],
        "minimum": counted[f"lo{n}"],
        "maximum": counted[f"hi{n}"],
        "quantiles": dict(zip(("0.05", "0.5", "0.95"), marks, strict=True)),
    }
