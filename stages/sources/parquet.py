"""Parquet tables: encoded images in a column, or the paths of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.contract import Reason
from stages.schemas import ROWS_PER_PARTITION
from stages.sources.base import (
    READ_ERRORS,
    Candidate,
    Piece,
    Reader,
    SourceFile,
    SourceSettings,
    Unit,
    error_row,
    error_row_or_raise,
    is_content_error,
)
from stages.sources.records import (
    IMAGE_NAMES,
    Columns,
    choose_columns,
    describe_record,
    find_names,
    locate_path,
)
from stages.storage import Storage

#: Rows of one unit where a table only names images. Fixed, so that units stay the same
#: whatever the partitions' size. Encoded images are read by whole row groups instead.
PATH_ROWS = 2048


@dataclass(frozen=True)
class _Layout:
    """Which column of a table holds what.

    Args:
        image: Column of encoded images, if any.
        nested: Whether it is the struct ``{bytes, path}`` of Hugging Face data sets.
        columns: Path, caption and key.
        wanted: Columns to read for a candidate, in the table's order.
    """

    image: str | None
    nested: bool
    columns: Columns
    wanted: tuple[str, ...]


class ParquetReader(Reader):
    """A unit is a row group, or a piece of one."""

    def split(self, storage: Storage, file: SourceFile, settings: SourceSettings) -> list[Piece]:
        """Row groups; those that only name images fall into smaller pieces."""
        if file.stamp.startswith("!"):
            return [Piece(0, 1, 1)]
        try:
            with storage.open(file.uri) as stream, pq.ParquetFile(stream) as table:
                layout = _layout(table.schema_arrow, settings)
                limit = PATH_ROWS if layout.image is None else ROWS_PER_PARTITION // 2
                return list(_pieces(table.metadata, limit))
        except READ_ERRORS as error:
            if not is_content_error(storage, file.uri, error):
                raise
            return [Piece(0, 1, 1)]

    def candidates(self, storage: Storage, unit: Unit) -> Iterator[Candidate]:
        """One candidate per row."""
        if unit.stamp.startswith("!"):
            yield error_row(unit, Reason.MISSING, f"{unit.uri} is no regular file")
            return
        try:
            stream = storage.open(unit.uri)
            table = pq.ParquetFile(stream)
        except READ_ERRORS as error:
            yield error_row_or_raise(storage, unit, error)
            return
        with stream, table:
            yield from _rows(storage, unit, table)


def _pieces(metadata: pq.FileMetaData, limit: int) -> Iterator[Piece]:
    first = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        for start in range(0, rows, limit):
            count = min(limit, rows - start)
            yield Piece(first + start, first + start + count, count)
        first += rows


def _layout(schema: pa.Schema, settings: SourceSettings) -> _Layout:
    image = _image_column(schema, settings)
    names = [field.name for field in schema if field.name != image and not _is_bulk(field.type)]
    columns = choose_columns(names, settings)
    if image is not None and settings.path_column is None:
        columns = replace(columns, path=None)
    nested = image is not None and pa.types.is_struct(schema.field(image).type)
    return _Layout(image, nested, columns, tuple(names))


def _image_column(schema: pa.Schema, settings: SourceSettings) -> str | None:
    if settings.image_column is not None:
        return settings.image_column if settings.image_column in schema.names else None
    if settings.path_column is not None:
        return None
    for name in find_names(schema.names, IMAGE_NAMES):
        if _holds_images(schema.field(name).type):
            return name
    return None


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    )


def _is_bulk(kind: pa.DataType) -> bool:
    """Columns that are no metadata: raw bytes, and vectors of floats such as embeddings."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return bool(pa.types.is_floating(kind.value_type)) or _is_bulk(kind.value_type)
    return _is_binary(kind) or bool(pa.types.is_fixed_size_binary(kind))


def _rows(storage: Storage, unit: Unit, table: pq.ParquetFile) -> Iterator[Candidate]:
    settings = unit.source_settings()
    layout = _layout(table.schema_arrow, settings)
    if layout.image is None and layout.columns.path is None:
        names = ", ".join(table.schema_arrow.names[:20])
        detail = (
            f"{unit.uri} has no column of images or paths among {names}: name it with "
            "image_column or path_column"
        )
        yield from _all_failed(unit, Reason.NO_IMAGE, detail)
        return
    try:
        records = _read(table, unit, [*layout.wanted, *_path_leaf(layout, table)])
        present = _present(table, unit, layout)
    except READ_ERRORS as error:
        if not is_content_error(storage, unit.uri, error):
            raise
        detail = f"rows {unit.start} to {unit.stop} cannot be read: {error}"
        yield from _all_failed(unit, Reason.UNREADABLE, detail[:500])
        return
    for number, record in enumerate(records):
        has_image = present is None or present[number]
        row = unit.start + number
        yield _of_row(storage, unit, settings, layout, record, row, has_image=has_image)


def _all_failed(unit: Unit, reason: Reason, detail: str) -> Iterator[Candidate]:
    for row in range(unit.start, unit.stop):
        yield error_row(unit, reason, detail, key=_fallback_key(unit, row))


def _fallback_key(unit: Unit, row: int) -> str:
    return f"{unit.uri.rsplit('/', 1)[-1].removesuffix('.parquet')}/{row:08d}"


def _path_leaf(layout: _Layout, table: pq.ParquetFile) -> list[str]:
    """The path beside the bytes, read without the bytes."""
    if not layout.nested or layout.image is None:
        return []
    kind = table.schema_arrow.field(layout.image).type
    return [f"{layout.image}.path"] if kind.get_field_index("path") >= 0 else []


def _read(table: pq.ParquetFile, unit: Unit, columns: list[str]) -> list[dict[str, Any]]:
    """The unit's rows of some columns."""
    group, first = _group_of(table.metadata, unit.start)
    rows = table.read_row_group(group, columns=columns)
    return rows.slice(unit.start - first, unit.stop - unit.start).to_pylist() or [
        {} for _ in range(unit.start, unit.stop)
    ]


def _present(table: pq.ParquetFile, unit: Unit, layout: _Layout) -> list[bool] | None:
    """Which rows have image bytes; none where the statistics say that all have.

    Only asked where a path could stand in for missing bytes; a null elsewhere is seen when
    the image is read.
    """
    if not layout.nested or layout.image is None:
        return None
    group, first = _group_of(table.metadata, unit.start)
    leaf = f"{layout.image}.bytes"
    for index in range(table.metadata.num_columns):
        chunk = table.metadata.row_group(group).column(index)
        statistics = chunk.statistics
        if chunk.path_in_schema == leaf and statistics and statistics.has_null_count:
            if statistics.null_count == 0:
                return None
            break
    column = table.read_row_group(group, columns=[leaf]).column(layout.image)
    rows = column.slice(unit.start - first, unit.stop - unit.start)
    return [value is not None and value["bytes"] is not None for value in rows.to_pylist()]


def _group_of(metadata: pq.FileMetaData, row: int) -> tuple[int, int]:
    first = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if row < first + rows:
            return group, first
        first += rows
    raise ValueError(f"row {row} is beyond the {first} rows there are now")


def _of_row(
    storage: Storage,
    unit: Unit,
    settings: SourceSettings,
    layout: _Layout,
    record: dict[str, Any],
    row: int,
    *,
    has_image: bool,
) -> Candidate:
    key = _fallback_key(unit, row)
    columns = layout.columns
    nested = record.pop(layout.image, None) if layout.nested and layout.image else None
    inner_path = nested.get("path") if isinstance(nested, dict) else None
    if layout.image is None or not has_image:
        path = record.pop(columns.path, None) if columns.path is not None else inner_path
        base = locate_path(storage, path, unit, settings, key)
    else:
        base = Candidate(
            uri=unit.uri,
            key=inner_path or key,
            source=unit.source,
            container="parquet",
            member=layout.image,
            offset=row,
        )
    return describe_record(base, record, columns, settings)
