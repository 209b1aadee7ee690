"""SQL over a corpus: every table a DuckDB view, through the one filesystem layer."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from itertools import count

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pq
from pyarrow import fs

from stages.contract import ConfigurationError
from stages.corpus import Corpus
from stages.schemas import OPEN_TABLES, TABLES, is_aside, schema_of
from stages.storage import Storage

_QUERIES = ("SELECT", "EXPLAIN", "RELATION")

#: File name endings that rows can be written as.
ROW_FORMATS = (".parquet", ".csv", ".jsonl")


def table_names(corpus: Corpus) -> list[str]:
    """The tables that have rows on disk."""
    return [name for name in _known(corpus) if any(_files(corpus, name))]


def _known(corpus: Corpus) -> list[str]:
    """The tables there may be: those of the line, and those of further embedders on disk."""
    filesystem, path = corpus.storage.locate(corpus.uri)
    found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    return [*TABLES, *sorted(info.base_name for info in found if is_aside(info.base_name))]


def _files(corpus: Corpus, table: str) -> Iterator[str]:
    for info in corpus.storage.files(corpus.place(table)):
        name = str(info.path).rpartition("/")[2]
        if name.endswith(".parquet") and not name.startswith(("_", ".")):
            yield str(info.path)


def dataset(corpus: Corpus, table: str) -> pa_dataset.Dataset:
    """A table as an Arrow dataset; nothing is read yet.

    Raises:
        ConfigurationError: If there is no such table, or it has no rows yet.
    """
    known = _known(corpus)
    if table not in known:
        raise ConfigurationError(f"no table {table!r}; the tables are {', '.join(known)}")
    files = list(_files(corpus, table))
    if not files:
        raise ConfigurationError(
            f"table {table!r} of {corpus.uri} has not been written: run the stage that writes it"
        )
    return _dataset(corpus, table, files)


def _dataset(corpus: Corpus, table: str, files: list[str]) -> pa_dataset.Dataset:
    filesystem, _ = corpus.storage.locate(corpus.uri)
    schema = schema_of(table, _columns(table, files, filesystem))
    return pa_dataset.dataset(files, schema=schema, filesystem=filesystem, format="parquet")


def _columns(table: str, files: list[str], filesystem: fs.FileSystem) -> list[str]:
    """Columns of the first file of each batch, in order, of a table that may have any.

    Stages compute a batch's partitions in order, so its first file is of the latest run.
    """
    if table not in OPEN_TABLES:
        return []
    first: dict[str, str] = {}
    for file in files:
        first.setdefault(file.rpartition("/")[0], file)
    names = [pq.read_schema(file, filesystem=filesystem).names for file in first.values()]
    return list(dict.fromkeys(name for each in names for name in each))


def connect(corpus: Corpus, statement: str = "") -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with a view for each table.

    Args:
        corpus: The tables.
        statement: When given, only tables whose name occurs in it are opened.
    """
    connection = duckdb.connect()
    words = set(re.findall(r"\w+", statement.lower()))
    for name in _known(corpus):
        if not statement or name in words:
            files = list(_files(corpus, name))
            if files:
                connection.register(name, _readable(_dataset(corpus, name, files)))
    # Views are in place: what a query may still touch is only them.
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET enable_external_access = false")
    return connection


def _readable(data: pa_dataset.Dataset) -> pa_dataset.Dataset | pa.Table:
    """DuckDB has no half floats: vectors are widened, which reads them into memory."""
    if pa.list_(pa.float16()) not in data.schema.types:
        return data
    fields = [
        field.with_type(pa.list_(pa.float32())) if field.type == pa.list_(pa.float16()) else field
        for field in data.schema
    ]
    return data.to_table().cast(pa.schema(fields))


def query(corpus: Corpus, statement: str) -> pa.Table:
    """Run one SQL query over a corpus.

    Raises:
        ConfigurationError: If DuckDB refuses it; the message is DuckDB's and names the tables.
    """
    connection = connect(corpus, statement)
    try:
        kinds = [each.type.name for each in connection.extract_statements(statement)]
        if len(kinds) != 1 or kinds[0] not in _QUERIES:
            raise ConfigurationError(
                f"one query is wanted, got {' and '.join(kinds).lower() or 'nothing'}; "
                "the tables are only read"
            )
        result = connection.sql(statement)
        return _distinct(result.to_arrow_table()) if result is not None else pa.table({})
    except duckdb.Error as error:
        names = ", ".join(table_names(corpus)) or "none yet"
        raise ConfigurationError(f"{error}\ntables of {corpus.uri}: {names}") from error


def _distinct(rows: pa.Table) -> pa.Table:
    """Number columns of the same name, as a join gives them: rows become mappings."""
    names: list[str] = []
    for name in rows.column_names:
        numbered = (f"{name}_{number}" for number in count(1))
        names.append(name if name not in names else next(x for x in numbered if x not in names))
    return rows.rename_columns(names)


def read_table(corpus: Corpus, table: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole table; columns of ``items`` are joined to it on request.

    Args:
        corpus: The tables.
        table: Which one.
        columns: Columns of the table, or of ``items`` such as ``uri`` and ``key``; all columns
            of the table when ``None``.

    Raises:
        ConfigurationError: For an unknown table or column; names those there are.
    """
    data = dataset(corpus, table)
    own = list(data.schema.names)
    wanted = list(columns) if columns else own
    borrowed = [name for name in wanted if name not in own]
    unknown = [name for name in borrowed if name not in TABLES["items"].names]
    if unknown or (borrowed and "item_id" not in own):
        raise ConfigurationError(
            f"table {table!r} has no column {(unknown or borrowed)[0]!r}; it has {', '.join(own)}"
            + (f", and from items {', '.join(TABLES['items'].names)}" if "item_id" in own else "")
        )
    # Edges have two ids, and order by both.
    order = [(name, "ascending") for name in own[:2] if name in {"item_id", "src", "dst"}]
    ids = [name for name, _ in order]
    inside = list(dict.fromkeys([*ids, *(name for name in wanted if name in own)]))
    rows = data.to_table(columns=inside).sort_by(order)
    if not borrowed:
        return rows.select(wanted)
    items = dataset(corpus, "items").to_table(columns=["item_id", *borrowed])
    indices = pc.index_in(rows.column("item_id"), value_set=items.column("item_id"))
    matched = items.take(indices)
    for name in borrowed:
        rows = rows.append_column(name, matched.column(name))
    return rows.select(wanted)


def encode(rows: pa.Table, name: str) -> bytes:
    """Rows as a file, in the format that its name's ending says.

    Raises:
        ConfigurationError: For another ending.
    """
    sink = io.BytesIO()
    if name.endswith(".parquet"):
        pq.write_table(rows, sink, compression="zstd")
    elif name.endswith(".csv"):
        pa_csv.write_csv(flat(rows), sink)
    elif name.endswith(".jsonl"):
        sink.write(to_jsonl(rows).encode())
    else:
        raise ConfigurationError(f"{name} must end in one of {', '.join(ROW_FORMATS)}")
    return sink.getvalue()


def to_jsonl(rows: pa.Table) -> str:
    """Rows as one JSON object a line."""
    return "".join(
        json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows.to_pylist()
    )


def flat(rows: pa.Table) -> pa.Table:
    """Nested columns as JSON text, which CSV can hold."""
    for index, field in enumerate(rows.schema):
        if pa.types.is_nested(field.type):
            text = [
                None if value is None else json.dumps(value, ensure_ascii=False, default=str)
                for value in rows.column(index).to_pylist()
            ]
            rows = rows.set_column(index, field.name, pa.array(text, pa.string()))
    return rows


def write_rows(storage: Storage, rows: pa.Table, uri: str) -> None:
    """Write rows where the user wants them."""
    storage.write(uri, encode(rows, uri))
