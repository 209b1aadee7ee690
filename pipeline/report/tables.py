"""Read-only SQL over the tables that are up to date, streamed from their files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from pipeline.query import dataset
from stages.contract import ConfigurationError
from stages.corpus import Corpus
from stages.schemas import TABLES

#: The stage that writes a table, where it has another name.
_WRITER = {"items": "ingest", "edges": "dedup", "shards": "shard", "paired": "pairs"}
#: Vectors are no matter of the report.
_LEFT_OUT = {"embed", "quarantine"}

#: Tables whose files are no larger than this are read once; larger ones are streamed by each
#: query, so that memory stays bounded.
_IN_MEMORY = 64 << 20

#: Types of columns that are quantities, and columns of these types that are none.
_QUANTITIES = {"FLOAT", "DOUBLE", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "BOOLEAN"}
_NO_QUANTITIES = {"item_id"}

#: What a gallery says of an image.
CARD_COLUMNS = "item_id, uri, key, source, format, width, height, bytes"

Row = dict[str, Any]


class Tables:
    """A DuckDB connection in which every table is a view.

    A table whose stage has not run, or is stale, is empty. The view ``kept`` holds the
    ``item_id`` of every item that deduplication kept and no stage quarantined; ``measured``
    joins ``items`` and ``profile``, and ``score`` where it has run.

    Args:
        corpus: The tables.
        stages: The stages that are up to date.
    """

    def __init__(self, corpus: Corpus, stages: Collection[str]) -> None:
        self.stages = list(stages)
        self._connection = duckdb.connect()
        for table in TABLES:
            if table not in _LEFT_OUT:
                run = _WRITER.get(table, table) in self.stages
                self._connection.register(table, _rows(corpus, table, run=run))
        self._connection.register("all_quarantine", _rows(corpus, "quarantine", run=True))
        self._connection.execute("SET enable_external_access = false")
        self._make_views()

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _make_views(self) -> None:
        names = ", ".join(f"'{name}'" for name in self.stages) or "''"
        self._connection.execute(
            f"CREATE VIEW quarantine AS FROM all_quarantine WHERE stage IN ({names})"
        )
        self._connection.execute(
            "CREATE VIEW kept AS SELECT item_id FROM dedup "
            "WHERE keep AND item_id NOT IN "
            "(SELECT item_id FROM quarantine WHERE NOT starts_with(stage, 'embed_'))"
        )
        self._connection.execute(
            "CREATE VIEW measured AS SELECT i.*, p.* EXCLUDE (item_id), s.* EXCLUDE (item_id) "
            "FROM items i JOIN profile p USING (item_id) LEFT JOIN score s USING (item_id)"
        )

    def ran(self, *stages: str) -> bool:
        """Whether all these stages are up to date."""
        return set(stages) <= set(self.stages)

    def quantities(self, *names: str) -> list[str]:
        """Columns of tables that hold quantities: numbers and flags, but no ids and hashes."""
        described = [self.rows(f"DESCRIBE {name}") for name in names]
        return [
            row["column_name"]
            for rows in described
            for row in rows
            if row["column_type"] in _QUANTITIES and row["column_name"] not in _NO_QUANTITIES
        ]

    def rows(self, statement: str, *values: Any) -> list[Row]:  # noqa: ANN401 - SQL values
        """The rows of a statement, as dictionaries."""
        result = self._connection.execute(statement, list(values))
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def one(self, statement: str, *values: Any) -> Row:  # noqa: ANN401 - SQL values
        """The only row of a statement."""
        return self.rows(statement, *values)[0]

    def counts(self, statement: str, *values: Any) -> dict[str, int]:  # noqa: ANN401 - SQL values
        """A statement of two columns as a mapping from name to count, largest first."""
        result = self._connection.execute(statement, list(values)).fetchall()
        pairs = [("none" if name is None else str(name), count) for name, count in result]
        return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))

    def cards(self, identifiers: Collection[int]) -> dict[int, Row]:
        """What galleries say of images, by item id."""
        wanted = sorted(set(identifiers))
        select = f"SELECT {CARD_COLUMNS} FROM items"  # noqa: S608
        statement = f"{select} WHERE item_id IN (SELECT unnest(?::BIGINT[]))"
        return {row["item_id"]: row for row in self.rows(statement, wanted)}


def _rows(corpus: Corpus, table: str, *, run: bool) -> Any:  # noqa: ANN401 - Arrow data set or table
    """The table's files, or no rows where it has none: a corpus may hold no items at all."""
    empty: pa.Table = TABLES[table].empty_table()
    if not run:
        return empty
    try:
        rows = dataset(corpus, table)
    except ConfigurationError:
        return empty
    size = sum(info.size or 0 for info in corpus.storage.files(corpus.place(table)))
    return rows.to_table() if size <= _IN_MEMORY else rows


def distinct(identifiers: Sequence[int | None]) -> list[int]:
    """Ids in order of first appearance."""
    return [each for each in dict.fromkeys(identifiers) if each is not None]
