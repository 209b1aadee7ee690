"""Batch plans: which pieces of the sources each partition holds.

A plan is one small table, ``items/batch=00003/_plan.parquet``, written once when a batch
is added. Afterwards rows are only refreshed in place: a file that has changed makes its
own partition stale and no other, and what is already planned is never planned twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.schemas import ROWS_PER_PARTITION
from stages.sources import SourceFile, SourceSettings, Unit, list_source, reader_of
from stages.sources.base import Kind, Piece
from stages.sources.listing import canonical
from stages.storage import Storage, child

PLAN = pa.schema(
    [
        pa.field("part", pa.int32(), nullable=False),  # unique over all batches
        ("source", pa.string()),  # canonical uri of the source
        ("kind", pa.string()),  # which reader understands it
        ("uri", pa.string()),  # canonical uri of the file
        ("start", pa.int64()),  # first row or byte
        ("stop", pa.int64()),  # exclusive; equal to start where nothing is left of the unit
        ("stamp", pa.string()),  # size and time of the file and its sidecars when listed
        ("sidecars", pa.list_(pa.string())),  # uris
        ("settings", pa.string()),  # the source's settings that shape rows, as JSON
    ]
)

_log = logging.getLogger(__name__)

#: Stamp of a unit whose file is no longer listed.
_GONE = "gone"
_FILE = re.compile(r"batch=(\d+)/_plan\.parquet$")
_ROW_GROUP = 16_384
_THREADS = 16


@dataclass(frozen=True)
class Plan:
    """The plan of one batch.

    Args:
        batch: Number of the batch, from 0.
        units: Rows in the schema ``PLAN``, ascending by part.
    """

    batch: int
    units: pa.Table

    def parts(self) -> list[int]:
        """The numbers of its partitions, ascending."""
        return sorted(pc.unique(self.units.column("part")).to_pylist())

    def units_of(self, part: int) -> list[Unit]:
        """The units of a partition, in the order of their items."""
        return _units(self.units.filter(pc.equal(self.units.column("part"), part)))

    def fingerprint_of(self, part: int) -> str:
        """SHA-256 over everything that decides which candidates a partition has."""
        units = [[*vars(unit).values()] for unit in self.units_of(part)]
        return hashlib.sha256(json.dumps(units, ensure_ascii=False).encode()).hexdigest()

    def fingerprints(self) -> dict[int, str]:
        """``fingerprint_of`` every partition, in one pass."""
        return {
            part: Plan(self.batch, self.units.slice(start, count)).fingerprint_of(part)
            for part, start, count in _runs(self.units.column("part").to_pylist())
        }


@dataclass(frozen=True)
class _Listed:
    """A file found in this run, and the source it counts for."""

    order: int
    kind: Kind
    source: str
    settings: SourceSettings
    file: SourceFile


@dataclass
class _Recorded:
    """Where a unit stands in the plans."""

    plan: int
    row: int
    unit: Unit


def read_plans(storage: Storage, corpus_uri: str) -> list[Plan]:
    """All plans of a corpus, by batch."""
    plans = []
    for info in storage.files(child(corpus_uri, "items")):
        match = _FILE.search(str(info.path).replace("\\", "/"))
        if match is not None:
            with storage.open(plan_uri(corpus_uri, int(match.group(1)))) as file:
                plans.append(Plan(int(match.group(1)), pq.read_table(file)))
    return sorted(plans, key=lambda plan: plan.batch)


def plan_uri(corpus_uri: str, batch: int) -> str:
    """Where the plan of a batch lies."""
    return child(corpus_uri, "items", f"batch={batch:05d}", "_plan.parquet")


def read_units(storage: Storage, corpus_uri: str, batch: int, part: int) -> list[Unit]:
    """The units of one partition, without reading the plan of the whole batch."""
    with storage.open(plan_uri(corpus_uri, batch)) as file:
        return _units(pq.read_table(file, filters=[("part", "=", part)]))


def update_plans(
    storage: Storage,
    corpus_uri: str,
    sources: Sequence[SourceSettings],
    partition_items: int,
    *,
    missing: Literal["keep", "quarantine"] = "keep",
) -> list[Plan]:
    """List the sources and plan what is new in them.

    A file that is planned and unchanged adds nothing, whichever source names it. One that
    has changed has its rows refreshed where they are. What is not planned yet becomes one
    new batch. Files that have gone keep their rows, since shards may hold them, unless they
    are to be quarantined; so do files of sources that are no longer configured. Both are said
    in the log.

    A file that two sources name counts for the one of the more special kind (a list inside
    a folder of images is a list), then for the first.

    Args:
        storage: Where uris are resolved.
        corpus_uri: The corpus.
        sources: What the configuration names, in its order.
        partition_items: About how many items a new partition holds.
        missing: What becomes of items whose files have gone from a configured source:
            ``quarantine`` computes their partitions again, which quarantines them.

    Returns:
        All plans, by batch.

    Raises:
        ConfigurationError: If a source does not exist.
    """
    plans = read_plans(storage, corpus_uri)
    listed = _list(storage, corpus_uri, sources)
    recorded = _recorded(plans)
    changed = [
        one for uri, one in listed.items() if not _is_current(one, recorded.get(uri, {}).values())
    ]
    refreshed: dict[tuple[int, int], Unit] = {}
    added: list[tuple[Unit, int]] = []
    for one, pieces in zip(changed, _split(storage, changed), strict=True):
        known = recorded.get(one.file.uri, {})
        starts = {piece.start for piece in pieces}
        for piece in pieces:
            unit = _unit(one, piece)
            if piece.start in known:
                refreshed[known[piece.start].plan, known[piece.start].row] = unit
            else:
                added.append((unit, piece.items))
        _retire(refreshed, [each for start, each in known.items() if start not in starts])
    consumed = {uri for one in listed.values() for uri in one.file.sidecars} - listed.keys()
    for uri in sorted(consumed & recorded.keys()):
        _retire(refreshed, recorded[uri].values())
    planned = {uri: recorded[uri] for uri in recorded.keys() - listed.keys() - consumed}
    _settle_absent(storage, sources, planned, refreshed, quarantine=missing == "quarantine")
    return _write(storage, corpus_uri, plans, refreshed, added, partition_items)


def _settle_absent(
    storage: Storage,
    sources: Sequence[SourceSettings],
    planned: dict[str, dict[int, _Recorded]],
    refreshed: dict[tuple[int, int], Unit],
    *,
    quarantine: bool,
) -> None:
    """Say what is planned and no longer listed, and mark it where it is to be quarantined."""
    configured = {canonical(storage, source.uri) for source in sources}
    live = [
        (uri, each)
        for uri, known in planned.items()
        for each in known.values()
        if each.unit.stop > each.unit.start
    ]
    foreign = sorted({each.unit.source for _, each in live} - configured)
    if foreign:
        _log.warning(
            "items of sources that the configuration no longer names stay in the corpus: %s",
            ", ".join(foreign),
        )
    gone = {uri: each for uri, each in live if each.unit.source in configured}
    if gone and not quarantine:
        _log.warning(
            "%d files are no longer listed, such as %s; their items stay in the corpus "
            "(--set ingest.missing=quarantine takes out those whose bytes are gone)",
            *(len(gone), min(gone)),
        )
    elif quarantine:
        for _, each in live:
            if each.unit.source in configured and each.unit.stamp != _GONE:
                refreshed[each.plan, each.row] = replace(each.unit, stamp=_GONE)


def _list(
    storage: Storage, corpus_uri: str, sources: Sequence[SourceSettings]
) -> dict[str, _Listed]:
    """Every file of the sources once, in the order of the sources and then of the uris."""
    listed: dict[str, _Listed] = {}
    for order, settings in enumerate(sources):
        kind, files = list_source(storage, settings, skip=corpus_uri)
        source = canonical(storage, settings.uri)
        for file in files:
            old = listed.get(file.uri)
            if old is None or (old.kind == "folder" and kind != "folder"):
                listed[file.uri] = _Listed(order, kind, source, settings, file)
    return dict(sorted(listed.items(), key=lambda item: (item[1].order, item[0])))


def _recorded(plans: Sequence[Plan]) -> dict[str, dict[int, _Recorded]]:
    recorded: dict[str, dict[int, _Recorded]] = {}
    for number, plan in enumerate(plans):
        for row, unit in enumerate(_units(plan.units)):
            recorded.setdefault(unit.uri, {})[unit.start] = _Recorded(number, row, unit)
    return recorded


def _is_current(one: _Listed, recorded: Iterable[_Recorded]) -> bool:
    """Whether a file's units say what listing it now says."""
    live = [each.unit for each in recorded if each.unit.stop > each.unit.start]
    now = (one.kind, one.file.stamp, one.file.sidecars, one.settings.shaping())
    return bool(live) and all(
        (unit.kind, unit.stamp, unit.sidecars, unit.settings) == now for unit in live
    )


def _split(storage: Storage, listed: Sequence[_Listed]) -> Iterator[list[Piece]]:
    def split(one: _Listed) -> list[Piece]:
        return reader_of(one.kind).split(storage, one.file, one.settings)

    with ThreadPoolExecutor(_THREADS) as pool:
        yield from pool.map(split, listed)


def _unit(one: _Listed, piece: Piece) -> Unit:
    return Unit(
        source=one.source,
        kind=one.kind,
        uri=one.file.uri,
        start=piece.start,
        stop=piece.stop,
        stamp=one.file.stamp,
        sidecars=one.file.sidecars,
        settings=one.settings.shaping(),
    )


def _retire(refreshed: dict[tuple[int, int], Unit], units: Iterable[_Recorded]) -> None:
    """Leave nothing of units that are no longer there; their partition keeps its number."""
    for each in units:
        refreshed[each.plan, each.row] = replace(each.unit, stop=each.unit.start, stamp="")


def _write(
    storage: Storage,
    corpus_uri: str,
    plans: list[Plan],
    refreshed: dict[tuple[int, int], Unit],
    added: list[tuple[Unit, int]],
    partition_items: int,
) -> list[Plan]:
    result = list(plans)
    for number, plan in enumerate(plans):
        rows = {row: unit for (which, row), unit in refreshed.items() if which == number}
        if rows:
            new = Plan(plan.batch, _with_rows(plan.units, rows))
            if not new.units.equals(plan.units):
                _save(storage, corpus_uri, new)
                result[number] = new
    if added:
        batch = plans[-1].batch + 1 if plans else 0
        first = max((max(plan.parts()) for plan in plans), default=-1) + 1
        new = Plan(batch, _pack(added, first, partition_items))
        _save(storage, corpus_uri, new)
        result.append(new)
    return result


def _with_rows(units: pa.Table, rows: dict[int, Unit]) -> pa.Table:
    parts = units.column("part").to_pylist()
    table = [
        _row(part, rows.get(number, unit))
        for number, (part, unit) in enumerate(zip(parts, _units(units), strict=True))
    ]
    return pa.Table.from_pylist(table, schema=PLAN)


def _pack(added: Sequence[tuple[Unit, int]], first: int, partition_items: int) -> pa.Table:
    """Fill partitions with units in order; a unit is never split."""
    room = min(partition_items, ROWS_PER_PARTITION)
    rows = []
    part, filled = first, 0
    for unit, items in added:
        if filled and filled + items > room:
            part, filled = part + 1, 0
        filled += items
        rows.append(_row(part, unit))
    return pa.Table.from_pylist(rows, schema=PLAN)


def _row(part: int, unit: Unit) -> dict[str, object]:
    return {**vars(unit), "part": part, "sidecars": list(unit.sidecars)}


def _units(table: pa.Table) -> list[Unit]:
    rows = table.drop_columns(["part"]).to_pylist()
    return [Unit(**{**row, "sidecars": tuple(row["sidecars"])}) for row in rows]


def _save(storage: Storage, corpus_uri: str, plan: Plan) -> None:
    with storage.writer(plan_uri(corpus_uri, plan.batch)) as stream:
        pq.write_table(plan.units, stream, compression="zstd", row_group_size=_ROW_GROUP)


def _runs(parts: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Part, first row and count of each run of equal parts."""
    start = 0
    for row in range(1, len(parts) + 1):
        if row == len(parts) or parts[row] != parts[start]:
            yield parts[start], start, row - start
            start = row
