"""The corpus: a folder or prefix of tables, read and committed by partition."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial, reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from stages.contract import ALL_COLUMNS, Quarantined, Reads, StageError
from stages.schemas import QUARANTINE, TABLES, first_id, schema_of
from stages.storage import Storage, child

_STAMP_KEY = b"winnow"
_COMPLETE = "_complete.json"
_THREADS = 16
_FILE = re.compile(r"/batch=(?P<batch>\d+)/(?:part-(?P<part>\d+)\.parquet|_complete\.json)$")


@dataclass(frozen=True, order=True)
class Partition:
    """A few thousand items of a batch: the unit of work, of retry and of resume.

    Args:
        batch: Number of the batch, from 0.
        part: Number of the partition, from 0, unique over all batches.
    """

    batch: int
    part: int

    def file(self) -> str:
        """Where its rows lie below a table's folder."""
        return f"batch={self.batch:05d}/part-{self.part:05d}.parquet"

    def __str__(self) -> str:
        return f"batch {self.batch} partition {self.part}"


@dataclass(frozen=True)
class Stamp:
    """What made a partition's rows, stored with them.

    Args:
        recipe: Hash of stage, version, settings and the fingerprints of what was read; equal
            to the recipe expected now: the rows are up to date.
        fingerprint: What stages that read these rows put into their own recipes. It is the
            recipe, but for a forced recomputation, which makes a new one.
        items_in: Input items of the partition.
        rows: Rows written.
        quarantined: Items quarantined instead.
        columns: Hash of each column's values, for tables of corpus stages: a stage that reads
            some columns is stale only when those have changed.
    """

    recipe: str
    fingerprint: str
    items_in: int
    rows: int
    quarantined: int
    columns: dict[str, str] = field(default_factory=dict)


def digest(*parts: object) -> str:
    """Hash JSON-ready values: 32 hex digits of SHA-256 over their canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Corpus:
    """All tables of one growing data set.

    Args:
        uri: Folder or object-store prefix.
        storage: Where uris are resolved.
    """

    def __init__(self, uri: str, storage: Storage) -> None:
        self.uri = uri.rstrip("/")
        self.storage = storage

    def place(self, *parts: str) -> str:
        """The uri of something below the corpus."""
        return child(self.uri, *parts)

    def partitions(self) -> list[Partition]:
        """All partitions that the batch plans name, in order."""
        from stages.batches import read_plans

        plans = read_plans(self.storage, self.uri)
        return [Partition(plan.batch, part) for plan in plans for part in plan.parts()]

    def table_uri(self, table: str, partition: Partition) -> str:
        """Where the rows of a partition lie."""
        return self.place(table, partition.file())

    def quarantine_uri(self, stage: str, partition: Partition) -> str:
        """Where the items lie that a stage took out of a partition."""
        return self.place("quarantine", f"stage={stage}", partition.file())

    def read(
        self, table: str, partition: Partition, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """The rows of one partition, ascending by item id.

        Raises:
            StageError: If they have not been written, or are damaged.
        """
        uri = self.table_uri(table, partition)
        try:
            data = self.storage.read(uri)
        except FileNotFoundError as error:
            raise StageError(
                f"table {table!r} has no {partition} ({uri}): run the stage that writes it"
            ) from error
        try:
            return pq.read_table(io.BytesIO(data), columns=columns)
        except pa.ArrowInvalid as error:
            raise _damaged(uri, error) from error

    def read_quarantine(self, stage: str, partition: Partition) -> pa.Table:
        """The items a stage took out of a partition; empty where there are none."""
        try:
            data = self.storage.read(self.quarantine_uri(stage, partition))
        except FileNotFoundError:
            return QUARANTINE.empty_table()
        return pq.read_table(io.BytesIO(data))

    def join(self, reads: Sequence[Reads], partition: Partition | None = None) -> pa.Table:
        """The inner join, by item, of the rows and columns that a stage reads.

        Args:
            reads: Tables and columns; an item takes part when all tables have it and each
                ``where`` holds.
            partition: One partition, or ``None`` for all.

        Returns:
            ``item_id`` and the columns in the order of ``reads``, ascending by item id.
        """
        if partition is None:
            tables = [self.join(reads, each) for each in self.partitions()]
            return pa.concat_tables(tables) if tables else _joined_schema(reads).empty_table()
        return _inner_join([self._read_for_join(each, partition) for each in reads])

    def look_up(self, read: Reads, partition: Partition, ids: pa.Array) -> pa.Table:
        """Columns of one table for given items: null where it has no row of an item.

        Args:
            read: The table and its columns.
            partition: Which part of it.
            ids: Item ids, int64.

        Returns:
            The columns, without ``item_id``, in the order of ``ids``.
        """
        table = self._read_for_join(read, partition)
        place = pc.index_in(ids, value_set=table.column("item_id"))
        return table.drop_columns(["item_id"]).take(place)

    def _read_for_join(self, read: Reads, partition: Partition) -> pa.Table:
        if read.columns == ALL_COLUMNS:
            table = self.read(read.table, partition)
            return table.filter(table.column(read.where)) if read.where else table
        wanted = ["item_id", *read.columns]
        extra = [read.where] if read.where and read.where not in wanted else []
        table = self.read(read.table, partition, [*wanted, *extra])
        if read.where:
            table = table.filter(table.column(read.where))
        return table.select(wanted)

    def stamps(self, table: str) -> dict[Partition, Stamp]:
        """The stamps of all partitions of a table that are on disk.

        A batch that is whole costs one read; others one footer each, and so does a file that
        is newer than its batch's mark.

        Raises:
            StageError: If a file is damaged, or is none of ours.
        """
        files: dict[Partition, fs.FileInfo] = {}
        marks: dict[int, fs.FileInfo] = {}
        for info in self.storage.files(self.place(table)):
            match = _FILE.search(str(info.path).replace("\\", "/"))
            if match and match["part"]:
                files[Partition(int(match["batch"]), int(match["part"]))] = info
            elif match:
                marks[int(match["batch"])] = info
        whole: dict[Partition, Stamp] = {}
        for batch in marks:
            whole.update(self._complete(table, batch))
        stamps = {
            each: whole[each]
            for each, info in files.items()
            if each in whole and not _is_newer(info, marks[each.batch])
        }
        rest = [each for each in files if each not in stamps]
        with ThreadPoolExecutor(_THREADS) as pool:
            footers = pool.map(partial(self._footer, table), rest)
            return dict(sorted([*stamps.items(), *zip(rest, footers, strict=True)]))

    def _complete(self, table: str, batch: int) -> dict[Partition, Stamp]:
        data = self.storage.read(self._mark(table, batch))
        return {
            Partition(batch, int(part)): Stamp(**stamp)
            for part, stamp in json.loads(data)["partitions"].items()
        }

    def _footer(self, table: str, partition: Partition) -> Stamp:
        uri = self.table_uri(table, partition)
        try:
            with self.storage.open(uri) as file:
                metadata = pq.read_metadata(file).metadata or {}
        except pa.ArrowInvalid as error:
            raise _damaged(uri, error) from error
        if _STAMP_KEY not in metadata:
            raise StageError(f"{uri} was not written by winnow: move it out of the corpus")
        return Stamp(**json.loads(metadata[_STAMP_KEY]))

    def complete(self, table: str, batch: int, stamps: dict[Partition, Stamp]) -> None:
        """Mark a batch of a table as whole, so that later runs read one small file."""
        content = {
            "partitions": {str(each.part): asdict(stamp) for each, stamp in sorted(stamps.items())}
        }
        data = json.dumps(content, indent=1, sort_keys=True).encode()
        self.storage.write(self._mark(table, batch), data)

    def is_complete(self, table: str, batch: int) -> bool:
        """Whether a batch of a table is marked as whole."""
        return self.storage.exists(self._mark(table, batch))

    def _mark(self, table: str, batch: int) -> str:
        return self.place(table, f"batch={batch:05d}", _COMPLETE)

    def reopen(self, table: str, batch: int) -> None:
        """Take the mark of a whole batch away, before partitions of it are written again."""
        self.storage.remove(self._mark(table, batch))

    def commit(
        self, stage: str, table: str, partition: Partition, output: Committed, stamp: Stamp
    ) -> None:
        """Write a partition: first what is quarantined, then the rows, whose file is the commit.

        Rows of an earlier computation go before their quarantine does: together with that of
        another one they would pass for up to date.

        Args:
            stage: The stage that made it.
            table: The table it writes.
            partition: Which part.
            output: Rows and quarantined items.
            stamp: What made them.
        """
        quarantine = self.quarantine_uri(stage, partition)
        if output.quarantined or self.storage.exists(quarantine):
            self.drop(table, partition)
            self._write_quarantine(stage, quarantine, output.quarantined)
        footer = {_STAMP_KEY: json.dumps(asdict(stamp)).encode()}
        schema = schema_of(table, output.rows.column_names)
        rows = output.rows.cast(schema).replace_schema_metadata(footer)
        self.storage.write(self.table_uri(table, partition), _parquet(rows))

    def _write_quarantine(self, stage: str, uri: str, quarantined: Sequence[Quarantined]) -> None:
        if not quarantined:
            self.storage.remove(uri)
            return
        rows = [
            {**asdict(each), "reason": str(each.reason), "stage": stage}
            for each in sorted(quarantined, key=lambda each: each.item_id)
        ]
        self.storage.write(uri, _parquet(pa.Table.from_pylist(rows, schema=QUARANTINE)))

    def drop(self, table: str, partition: Partition) -> None:
        """Remove a partition's rows: it counts as missing until it is committed again."""
        self.storage.remove(self.table_uri(table, partition))


@dataclass
class Committed:
    """What one partition adds to a table.

    Args:
        rows: Ascending by item id, in the table's schema.
        quarantined: Items taken out instead.
    """

    rows: pa.Table
    quarantined: Sequence[Quarantined] = ()


def split_by_partition(
    rows: pa.Table, partitions: Sequence[Partition], column: str = "item_id"
) -> dict[Partition, pa.Table]:
    """Cut whole-corpus rows into partitions by an item id column.

    Args:
        rows: Any table with an int64 column of item ids.
        partitions: Where the rows may go; each gets a table, empty where it has no rows.
        column: The column that decides.

    Raises:
        ValueError: If a row belongs to no partition.
    """
    # Edges have two ids, and their order must not depend on the search.
    ids_first = [
        name for name in rows.column_names[:2] if rows.schema.field(name).type == pa.int64()
    ]
    rows = rows.sort_by([(name, "ascending") for name in ids_first])
    ids = rows.column(column).to_numpy()
    pieces = {}
    for partition in partitions:
        start, stop = np.searchsorted(ids, [first_id(partition.part), first_id(partition.part + 1)])
        pieces[partition] = rows.slice(start, stop - start)
    placed = sum(piece.num_rows for piece in pieces.values())
    if placed != rows.num_rows:
        raise ValueError(f"{rows.num_rows - placed} of {rows.num_rows} rows belong to no partition")
    return pieces


def column_digests(rows: pa.Table) -> dict[str, str]:
    """Hash every column's values, independent of chunks, slices and what lies under nulls."""
    # A gather writes buffers anew: no bits of neighbours, zeros under nulls.
    rows = rows.take(pa.array(np.arange(rows.num_rows)))
    digests = {}
    for name in rows.column_names:
        sink = io.BytesIO()
        column = rows.select([name]).combine_chunks()
        with pa.ipc.new_stream(sink, pa.schema([column.schema.field(0).remove_metadata()])) as out:
            out.write_table(column.replace_schema_metadata(None))
        digests[name] = hashlib.sha256(sink.getvalue()).hexdigest()[:32]
    return digests


def _parquet(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink, compression="zstd")
    return sink.getvalue()


def _is_newer(file: fs.FileInfo, mark: fs.FileInfo) -> bool:
    """Whether a file was written after its batch was marked, by hand or by a stray worker."""
    times = file.mtime_ns, mark.mtime_ns
    return None not in times and times[0] > times[1]


def _damaged(uri: str, error: Exception) -> StageError:
    return StageError(f"{uri} is damaged ({error}): remove it and run again")


def _inner_join(tables: Sequence[pa.Table]) -> pa.Table:
    ids = [table.column("item_id").to_numpy() for table in tables]
    common = reduce(lambda left, right: np.intersect1d(left, right, assume_unique=True), ids)
    columns: dict[str, Any] = {"item_id": pa.array(common, pa.int64())}
    for table, keys in zip(tables, ids, strict=True):
        matched = table.take(pa.array(np.searchsorted(keys, common)))
        for name in table.column_names[1:]:
            if name in columns:
                raise ValueError(f"two tables of the join both have a column {name!r}")
            columns[name] = matched.column(name)
    return pa.table(columns)


def _joined_schema(reads: Sequence[Reads]) -> pa.Schema:
    fields = [
        TABLES[read.table].field(name)
        for read in reads
        for name in (TABLES[read.table].names[1:] if read.columns == ALL_COLUMNS else read.columns)
    ]
    return pa.schema([pa.field("item_id", pa.int64()), *fields])
