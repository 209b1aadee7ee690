"""Histograms: every value is counted once, wherever it lies."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.filters import comparison
from pipeline.report.format import number, percent, position, similarity, size
from pipeline.report.histograms import Bins, bins_for, nice_bins

FLOATS = st.floats(-1e9, 1e9, allow_nan=False, width=32)


def count(bins: Bins, values: list[float]) -> dict[int, int]:
    rows = duckdb.execute(
        f"SELECT {bins.sql('v')} AS bin, count(*) FROM (SELECT unnest(?::FLOAT[]) AS v) GROUP BY 1",
        [values],
    ).fetchall()
    return dict(rows)


@given(st.lists(FLOATS, min_size=1, max_size=60))
def test_every_value_falls_into_one_bin(values: list[float]) -> None:
    bins = bins_for(np.sort(np.array(values, dtype=np.float64)))
    assert 1 <= bins.count <= 70
    inside, below, above = bins.spread(count(bins, values))
    assert sum(inside) + below + above == len(values)
    assert below + above <= len(values) // 2 + 1
    assert np.all(np.diff(bins.edges) > 0)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60))
def test_whole_numbers_get_whole_bins(values: list[int]) -> None:
    low, high = min(values), max(values)
    bins = nice_bins(low, high, whole=True)
    assert bins.step == int(bins.step) >= 1
    inside, below, above = bins.spread(count(bins, [float(each) for each in values]))
    assert (sum(inside), below, above) == (len(values), 0, 0)


def test_skewed_values_get_logarithmic_bins() -> None:
    values = np.sort(np.random.default_rng(0).lognormal(3, 2, 2000))
    bins = bins_for(values)
    assert bins.log
    inside, below, above = bins.spread(count(bins, values.tolist()))
    assert sum(inside) + below + above == 2000
    assert max(inside) < 400
    assert bins.spread(count(bins, [0.0, -3.0]))[1] == 2


def test_missing_and_infinite_values_are_no_values() -> None:
    bins = Bins(0.0, 0.25, 4)
    rows = duckdb.execute(
        f"SELECT {bins.sql('v')} FROM (VALUES ('NaN'::FLOAT), ('inf'::FLOAT), (NULL), (1.0)) t(v)"
    ).fetchall()
    assert rows == [(None,), (None,), (None,), (3,)]


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ("least(width, height) >= 64", ("least(width, height)", ">=", 64.0)),
        ("jpeg_quality>10", ("jpeg_quality", ">", 10.0)),
        (" aesthetic <= -4.5e-1 ", ("aesthetic", "<=", -0.45)),
        ("contrast >= 2 and entropy >= 0.5", None),
        ("greatest(width, height) <= 4 * least(width, height)", None),
        ("format = 'jpeg'", None),
        ("width > 10 -- or height > 10", None),
        ("not nsfw > 0.5", None),
    ],
)
def test_comparison(clause: str, expected: tuple[str, str, float] | None) -> None:
    found = comparison(clause)
    assert (None if found is None else (found.value, found.operator, found.cut)) == expected


def test_numbers_read_as_people_write_them() -> None:
    assert [number(each) for each in (0, 0.00123, 12.345, 1234.5, 3.0, None)] == [
        *("0", "0.00123", "12.3", "1,234", "3", "-"),
    ]
    assert [size(each) for each in (0, 999, 1000, 15_300_000, 2_340_000_000)] == [
        *("0 B", "999 B", "1.0 KB", "15 MB", "2.3 GB"),
    ]
    assert similarity(0.99999) == "0.9999"
    assert similarity(1.0) == "1.0000"
    assert percent(1, 100_000) == "< 0.1 %"
    assert percent(99_999, 100_000) == "> 99.9 %"
    assert percent(1, 4) == "25 %"


def test_a_cut_is_placed_on_the_axis() -> None:
    histogram = {"edges": [0.0, 10.0, 20.0]}
    assert [position(histogram, each) for each in (-5, 0, 5, 15, 20, 99)] == [0, 0, 0.5, 1.5, 2, 2]
