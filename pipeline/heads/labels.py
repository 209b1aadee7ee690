"""Labels of images: a CSV file, and the items it means."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.heads.fit import Ints
from pipeline.heads.measures import Bools
from pipeline.query import dataset
from stages.contract import ConfigurationError
from stages.corpus import Corpus
from stages.sources.listing import canonical

#: Columns that may say which image is meant; of several the first counts.
NAMES = ("item_id", "uri", "key")
LABELS = {"1": True, "yes": True, "true": True, "0": False, "no": False, "false": False}


@dataclass(frozen=True)
class Labels:
    """Labelled items, ascending by id.

    Args:
        ids: Item ids, int64 (n,), all different.
        labels: bool (n,).
    """

    ids: Ints
    labels: Bools


@dataclass(frozen=True)
class _Row:
    line: int
    name: str
    label: bool


def read_labels(corpus: Corpus, file: Path) -> Labels:
    """Read labels, and find their items in a corpus.

    Args:
        corpus: The tables.
        file: CSV with ``item_id``, ``uri`` or ``key``, and ``label``: 1 or 0, yes or no.

    Raises:
        ConfigurationError: Names file and line of the first mistake: a label that is none, an
            image that the corpus lacks or has several of, two labels that contradict each other.
    """
    column, rows = _read(file)
    found = _find(corpus, column, [row.name for row in rows])
    said: dict[int, _Row] = {}
    for row in rows:
        where = f"{file} line {row.line}"
        ids = found.get(row.name, [])
        if len(ids) != 1:
            count = f"{len(ids)} items have" if ids else "no item of the corpus has"
            hint = ": name it by item_id" if ids else ""
            raise ConfigurationError(f"{where}: {count} {column} {row.name!r}{hint}")
        earlier = said.setdefault(ids[0], row)
        if earlier.label != row.label:
            raise ConfigurationError(f"{where} contradicts line {earlier.line}: {row.name!r}")
    ids_in_order = sorted(said)
    return Labels(
        np.array(ids_in_order, dtype=np.int64),
        np.array([said[each].label for each in ids_in_order], dtype=np.bool_),
    )


def _read(file: Path) -> tuple[str, list[_Row]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            column = _column(file, reader.fieldnames or ())
            rows = list(_rows(file, column, reader))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"cannot read the labels in {file}: {error}") from error
    if not rows:
        raise ConfigurationError(f"{file} holds no labels")
    return column, rows


def _column(file: Path, names: tuple[str, ...] | list[str] | object) -> str:
    there = list(names) if isinstance(names, list | tuple) else []
    column = next((name for name in NAMES if name in there), None)
    if column is None or "label" not in there:
        raise ConfigurationError(
            f"{file} must have the column label and one of {', '.join(NAMES)}; it has "
            f"{', '.join(there) or 'none'}"
        )
    return column


def _rows(file: Path, column: str, reader: csv.DictReader[str]) -> Iterator[_Row]:
    for row in reader:
        where = f"{file} line {reader.line_num}"
        said = (row["label"] or "").strip().lower()
        name = (row[column] or "").strip()
        if said not in LABELS:
            raise ConfigurationError(f"{where}: label must be 0, 1, yes or no, got {said!r}")
        if not name or (column == "item_id" and not _is_id(name)):
            raise ConfigurationError(f"{where}: {column} is missing or wrong, got {name!r}")
        yield _Row(reader.line_num, name, LABELS[said])


def _is_id(text: str) -> bool:
    return text.isdecimal() and int(text) < 1 << 63


def _find(corpus: Corpus, column: str, names: list[str]) -> dict[str, list[int]]:
    """Item ids by name as the file gives it."""
    spellings = {name: {_spelt(corpus, column, name), name} for name in names}
    values = sorted({each for group in spellings.values() for each in group})
    typed = pa.array(
        [int(each) for each in values] if column == "item_id" else values,
        pa.int64() if column == "item_id" else pa.string(),
    )
    wanted = ["item_id", *({column} - {"item_id"})]
    items = dataset(corpus, "items").to_table(columns=wanted, filter=pc.field(column).isin(typed))
    by_value: dict[str, list[int]] = {}
    for row in items.to_pylist():
        by_value.setdefault(str(row[column]), []).append(row["item_id"])
    return {
        name: sorted({each for value in group for each in by_value.get(value, [])})
        for name, group in spellings.items()
    }


def _spelt(corpus: Corpus, column: str, name: str) -> str:
    """The spelling that the tables use: absolute paths, numbers without zeros before them."""
    if column == "uri":
        return canonical(corpus.storage, name)
    return str(int(name)) if column == "item_id" else name
