"""``winnow dedup label``: from judged pairs to a threshold that keeps a precision."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from dedup.judged import LABELS, Judged, match_labels
from dedup.labels import Choice, Curve, precision_curve
from dedup.strata import Strata, cuts_around
from pipeline.explore.stored import read_grid, read_pairs
from stages.contract import ConfigurationError, StageError
from stages.corpus import Corpus

_COLUMNS = {"src": pa.int64(), "dst": pa.int64(), "label": pa.string()}


@dataclass(frozen=True)
class Labelled:
    """What the command found.

    Args:
        judged: The labels that count.
        curve: Precision and recall at each candidate threshold.
    """

    judged: Judged
    curve: Curve

    def choose(self, precision: float) -> Choice:
        """The lowest threshold that keeps a precision.

        Raises:
            ConfigurationError: If the precision is out of range.
            StageError: If the labels cannot promise it; says what would.
        """
        if not 0.0 < precision < 1.0:
            raise ConfigurationError(f"--precision must lie between 0 and 1, got {precision:g}")
        try:
            return self.curve.choose(precision)
        except ValueError as error:
            raise StageError(
                f"{error}. Other pairs to label: winnow dedup explore CORPUS --seed 1; several "
                "files of labels can be given together"
            ) from error


def label_corpus(corpus: Corpus, files: Sequence[Path], grid: str | None = None) -> Labelled:
    """Estimate precision from labelled pairs of a corpus.

    Args:
        corpus: The tables.
        files: CSV with the columns src, dst and label (yes, no, unsure), as the page gives them.
        grid: LOW:HIGH:STEP; the candidate thresholds, and the slices that labels are weighted
            by. It need not be the grid of the page, but no coarser.

    Returns:
        The labels and the curve.

    Raises:
        ConfigurationError: If the files are wrong, contradict themselves or the corpus, or hold
            no label.
    """
    labels = pa.concat_tables([_read(file) for file in files])
    pairs, ids = read_pairs(corpus)
    # The floor rounded down: the cut below the lowest pair, as when the graph was searched.
    floor = math.floor(pairs.graph.floor * 100) / 100 if len(pairs.graph) else -1.0
    cuts = cuts_around(read_grid(grid, floor))
    names = ", ".join(str(file) for file in files)
    try:
        judged = match_labels(labels, pairs, ids)
        strata = Strata.count(pairs.graph.similarity, cuts)
        return Labelled(judged, precision_curve(judged.similarity, judged.yes, strata))
    except ValueError as error:
        raise ConfigurationError(f"{names}: {error}") from error


def _read(file: Path) -> pa.Table:
    """The rows of a CSV file.

    Raises:
        ConfigurationError: Names file and line of the first mistake.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(_rows(file, csv.DictReader(lines)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"cannot read the labels in {file}: {error}") from error
    return pa.Table.from_pylist(rows, schema=pa.schema(list(_COLUMNS.items())))


def _rows(file: Path, reader: csv.DictReader[str]) -> Iterator[dict[str, int | str | None]]:
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ConfigurationError(
            f"{file} lacks the column {' and '.join(missing)}; it needs src, dst and label"
        )
    for row in reader:
        where = f"{file} line {reader.line_num}"
        said = (row["label"] or "").strip().lower()
        if said not in LABELS:
            raise ConfigurationError(f"{where}: label must be yes, no or unsure, got {said!r}")
        ids = [_item_id(row[name]) for name in ("src", "dst")]
        if None in ids:
            raise ConfigurationError(
                f"{where}: src and dst must be item ids, got {row['src']!r} and {row['dst']!r}"
            )
        yield {"src": ids[0], "dst": ids[1], "label": said}


def _item_id(text: str | None) -> int | None:
    try:
        number = int(text or "")
    except ValueError:
        return None
    return number if 0 <= number < 1 << 63 else None
