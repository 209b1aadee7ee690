"""The known truth of the sample set, and how what a run found compares with it."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pyarrow as pa

Kind = Literal["photo", "poster", "scene", "copy", "broken", "oddity"]
Expected = Literal["exact", "near-easy", "near-hard"]
Outcomes: TypeAlias = pa.Table | Sequence[Mapping[str, Any]]

#: The folders of the two sources; a file's place in the set starts with one of them.
SOURCE_FOLDERS = ("images", "tars")


@dataclass(frozen=True)
class TruthItem:
    """What is known of one file or tar member.

    Args:
        path: Of the file, relative to the sample set's folder, with forward slashes.
        key: The sample's key inside a tar; empty for a file of its own.
        kind: What was planted.
        group: Shared by an original and its copies, and by nothing else.
        transform: How a copy differs from its original, or what is odd about an oddity.
        expected: How hard a copy is to find; ``None`` for what is no copy.
        reason: The quarantine code a broken file should get.
        lines: Text lines drawn on a poster.
        caption: What its sidecar says.
        language: Of the caption, ``en`` or ``zh``.
    """

    path: str
    kind: Kind
    group: str
    key: str = ""
    transform: str | None = None
    expected: Expected | None = None
    reason: str | None = None
    lines: tuple[str, ...] = ()
    caption: str | None = None
    language: str | None = None

    @property
    def place(self) -> str:
        """Path and key: what names the item in the set."""
        return f"{self.path}::{self.key}" if self.key else self.path


@dataclass(frozen=True)
class Truth:
    """All items of a sample set, in the order of their places."""

    items: tuple[TruthItem, ...]

    def counts(self) -> dict[str, int]:
        """Items by kind."""
        return dict(Counter(item.kind for item in self.items))

    def write(self, path: Path) -> None:
        """Write as JSON lines."""
        rows = (json.dumps(asdict(item), ensure_ascii=False) for item in self.items)
        path.write_text("".join(f"{row}\n" for row in rows), "utf-8", newline="\n")

    @classmethod
    def read(cls, path: Path) -> Truth:
        """Read what ``write`` wrote.

        Raises:
            ValueError: If a line has other fields than ``TruthItem``.
        """
        known = {field.name for field in fields(TruthItem)}
        items = []
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            row = json.loads(line)
            if set(row) != known:
                odd = ", ".join(sorted(set(row) ^ known))
                raise ValueError(f"{path}, line {number}: missing or unknown fields: {odd}")
            items.append(TruthItem(**{**row, "lines": tuple(row["lines"])}))
        return cls(tuple(items))


@dataclass(frozen=True)
class Score:
    """So many of so many, and which ones were missed.

    Args:
        found: How many were as expected.
        total: How many there were to find.
        missed: Places (or text lines) that were not.
    """

    found: int
    total: int
    missed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What a run found against what was planted.

    Args:
        exact: Exact copies that share a cluster with their original, one of the two removed.
        near_easy: Easy near copies in the cluster of their original.
        near_hard: Hard near copies in the cluster of their original.
        false_merges: Removed place and witness place, of different groups.
        broken: Broken files quarantined for the expected reason.
        oddities: Unusual but good files that were read.
        poster_lines: Text lines of posters found in the OCR text of the poster or of a copy;
            posters that no OCR read, because a filter dropped them, count as missed.
        not_compared: Copies that a filter dropped, or whose original it dropped.
        good_quarantined: Places of good files in quarantine, oddities included.
        unaccounted: Places of the truth without an outcome.
        unknown: Outcomes that are not in the truth.
    """

    exact: Score
    near_easy: Score
    near_hard: Score
    false_merges: tuple[tuple[str, str], ...]
    broken: Score
    oddities: Score
    poster_lines: Score
    not_compared: tuple[str, ...]
    good_quarantined: tuple[str, ...]
    unaccounted: tuple[str, ...]
    unknown: tuple[str, ...]


def compare(truth: Truth, outcomes: Outcomes) -> Comparison:
    """Hold what became of every item against the truth.

    Args:
        truth: What was planted.
        outcomes: One row per item, with the columns ``uri``, ``key``, ``status`` (kept,
            removed, filtered, quarantined), ``reason``, ``cluster``, ``item_id``,
            ``witness_id``, and ``ocr_text`` (the lines joined, or null).

    Raises:
        ValueError: If a place has two outcomes, or a witness is no item of the outcomes.
    """
    found, unknown = _matched(truth, outcomes)
    copies, filtered = _copies(truth, found)
    return Comparison(
        exact=_score(copies["exact"]),
        near_easy=_score(copies["near-easy"]),
        near_hard=_score(copies["near-hard"]),
        false_merges=_false_merges(truth, found),
        broken=_score((item, _rightly_out(item, found)) for item in _of(truth, "broken")),
        oddities=_score((item, _was_read(item, found)) for item in _of(truth, "oddity")),
        poster_lines=_poster_lines(truth, found),
        not_compared=filtered,
        good_quarantined=tuple(
            item.place
            for item in truth.items
            if item.kind != "broken" and _status(item, found) == "quarantined"
        ),
        unaccounted=tuple(item.place for item in truth.items if item.place not in found),
        unknown=unknown,
    )


_Found = dict[str, Mapping[str, Any]]


def _matched(truth: Truth, outcomes: Outcomes) -> tuple[_Found, tuple[str, ...]]:
    rows = outcomes.to_pylist() if isinstance(outcomes, pa.Table) else outcomes
    places = {item.place for item in truth.items}
    found: _Found = {}
    unknown = []
    for row in rows:
        path = _relative(str(row["uri"]))
        in_tar = f"{path}::{row['key']}"
        place = path if path in places else in_tar
        if place not in places:
            unknown.append(in_tar if path.endswith(".tar") else path)
        elif place in found:
            raise ValueError(f"{place} has two outcomes, items {found[place]['item_id']} and "
                             f"{row['item_id']}")  # fmt: skip
        else:
            found[place] = row
    return found, tuple(unknown)


def _relative(uri: str) -> str:
    """The part of a uri from the source's folder on; the set may lie anywhere."""
    parts = uri.replace("\\", "/").split("/")
    starts = [number for number, part in enumerate(parts[:-1]) if part in SOURCE_FOLDERS]
    return "/".join(parts[starts[-1] :]) if starts else uri


def _status(item: TruthItem, found: _Found) -> str | None:
    row = found.get(item.place)
    return None if row is None else row["status"]


def _copies(
    truth: Truth, found: _Found
) -> tuple[dict[str, list[tuple[TruthItem, bool]]], tuple[str, ...]]:
    """Copies by how hard they are to find, whether found; and those that a filter hid."""
    originals = {item.group: item for item in truth.items if item.expected is None}
    results: dict[str, list[tuple[TruthItem, bool]]] = defaultdict(list)
    filtered = []
    for copy in truth.items:
        if copy.expected is None:
            continue
        original = originals[copy.group]
        if "filtered" in {_status(copy, found), _status(original, found)}:
            filtered.append(copy.place)
        else:
            results[copy.expected].append((copy, _together(copy, original, found)))
    return results, tuple(filtered)


def _together(copy: TruthItem, original: TruthItem, found: _Found) -> bool:
    """Whether a copy was found: in its original's cluster, and not kept twice if exact."""
    rows = [found[item.place] for item in (copy, original) if item.place in found]
    statuses = [row["status"] for row in rows]
    if len(rows) < 2 or not set(statuses) <= {"kept", "removed"}:
        return False
    clusters = {row["cluster"] for row in rows}
    twice = copy.expected == "exact" and statuses == ["kept", "kept"]
    return len(clusters) == 1 and None not in clusters and not twice


def _of(truth: Truth, kind: Kind) -> list[TruthItem]:
    return [item for item in truth.items if item.kind == kind]


def _rightly_out(item: TruthItem, found: _Found) -> bool:
    row = found.get(item.place)
    return row is not None and row["status"] == "quarantined" and str(row["reason"]) == item.reason


def _was_read(item: TruthItem, found: _Found) -> bool:
    return _status(item, found) in {"kept", "removed", "filtered"}


def _score(results: Iterable[tuple[TruthItem, bool]]) -> Score:
    listed = list(results)
    missed = tuple(item.place for item, hit in listed if not hit)
    return Score(len(listed) - len(missed), len(listed), missed)


def _false_merges(truth: Truth, found: _Found) -> tuple[tuple[str, str], ...]:
    groups = {item.place: item.group for item in truth.items}
    owner = {row["item_id"]: place for place, row in found.items()}
    merges = []
    for place, row in found.items():
        if row["status"] != "removed":
            continue
        witness = owner.get(row["witness_id"])
        if witness is None:
            raise ValueError(
                f"{place} was removed because of item {row['witness_id']}, which is not among "
                "the outcomes: give one row per item"
            )
        if groups[witness] != groups[place]:
            merges.append((place, witness))
    return tuple(sorted(merges))


def _poster_lines(truth: Truth, found: _Found) -> Score:
    # A poster may have been removed in favour of its copy, which is then what OCR reads.
    read: dict[str, str] = defaultdict(str)
    for item in truth.items:
        text = found.get(item.place, {}).get("ocr_text")
        read[item.group] += "\n" + normalised(text or "")
    wanted = [(item.group, line) for item in truth.items for line in item.lines]
    missed = tuple(
        f"{group}: {line}" for group, line in wanted if normalised(line) not in read[group]
    )
    return Score(len(wanted) - len(missed), len(wanted), missed)


def normalised(text: str) -> str:
    """Letters and digits alone, in compatibility form and one case: what OCR is held to."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(letter for letter in plain if letter.isalnum())
