"""The ``filter`` stage: named SQL clauses decide which images may be kept."""

from __future__ import annotations

import difflib
import re
from typing import Any, ClassVar

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from stages.contract import (
    ConfigurationError,
    MapStage,
    Output,
    Reads,
    Resources,
    StageError,
    StageSettings,
)
from stages.schemas import FILTER, ITEMS, PROFILE

#: For text-to-image data: drops what teaches a model nothing, and little else. Of 996 real
#: photographs these clauses drop none.
DEFAULT_CLAUSES = {
    # Too small to show anything at any training resolution.
    "min_side": "least(width, height) >= 64",
    # Banners, rulers and stitched panoramas: no training bucket has their shape.
    "max_aspect": "greatest(width, height) <= 4 * least(width, height)",
    # One colour, or nearly: blank pages, failed renders, lens caps. Not by entropy, which black
    # text on white lacks as well.
    "not_blank": "contrast >= 2",
    # Next to nothing left after compression; flat art in a good encoder stays above.
    "not_crushed": "size_ratio >= 0.002",
    # Quantisation so coarse that blocks show.
    "min_jpeg_quality": "jpeg_quality >= 10",
}

_TABLE = "row"
_UNKNOWN_COLUMN = re.compile(r'Referenced column "([^"]+)" (?:was )?not found')


class FilterSettings(StageSettings):
    """Settings of the ``filter`` stage."""

    clauses: dict[str, str] = Field(default_factory=lambda: dict(DEFAULT_CLAUSES))
    """Name to SQL expression (DuckDB) over the columns of ``items`` and ``profile``, of one row
    at a time. An image passes unless a clause is false for it; a clause that is null passes,
    since a score nobody computed is no reason. Clauses apply in order, each to what the ones
    before have left, and the first that drops an image is named. Replaces the default set."""

    def fingerprint_fields(self) -> dict[str, Any]:
        """The clauses in their order, which decides the name a dropped image gets."""
        return {"clauses": [list(clause) for clause in self.clauses.items()]}


class FilterStage(MapStage):
    """Applies the clauses; every item stays in the table, passed or not."""

    name = "filter"
    version = 1
    reads: ClassVar[tuple[Reads, ...]] = (
        Reads("items", tuple(name for name in ITEMS.names if name != "item_id")),
        Reads("profile", tuple(name for name in PROFILE.names if name != "item_id")),
    )

    @property
    def resources(self) -> Resources:
        """One core; a partition's rows are a few megabytes."""
        return Resources(cpus=1, memory_gb=0.5)

    def check(self) -> None:
        """Fail early on a clause that is no true-or-false expression over known columns."""
        empty = clause_schema().empty_table()
        with _database() as database:
            database.register(_TABLE, empty)
            for name, clause in self.settings.clauses.items():
                _check_clause(database, name, clause)

    def process(self, table: pa.Table) -> Output:
        """Filter a partition; nothing is quarantined.

        Raises:
            StageError: If a clause fails on some row, such as a cast of text that is no number.
        """
        dropped_by = np.full(table.num_rows, None, dtype=object)
        left = np.arange(table.num_rows)
        with _database() as database:
            for name, clause in self.settings.clauses.items():
                passed = _evaluate(database, table.take(left), name, clause)
                dropped_by[left[~passed]] = name
                left = left[passed]
        clause_column = pa.array(dropped_by, pa.string())
        return Output(
            pa.table([table["item_id"], clause_column.is_null(), clause_column], schema=FILTER)
        )


def clause_schema() -> pa.Schema:
    """The columns a clause sees: those of ``items``, then those of ``profile``."""
    return pa.schema([*ITEMS, *(field for field in PROFILE if field.name != "item_id")])


def _database() -> duckdb.DuckDBPyConnection:
    """A database in memory whose queries reach no file, no network and no other setting."""
    database = duckdb.connect(":memory:", config={"threads": 1})
    database.execute("SET python_enable_replacements = false")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")
    return database


def _check_clause(database: duckdb.DuckDBPyConnection, name: str, clause: str) -> None:
    where = f"filter.clauses.{name} = {clause!r}"
    # The line breaks end a comment at the clause's end.
    expression = f"(\n{clause}\n)"
    query = f"SELECT {expression} FROM {_TABLE}"  # noqa: S608 - the clause is the user's SQL
    try:
        if not clause.strip() or len(database.extract_statements(query)) != 1:
            raise ConfigurationError(f"{where} must be one expression")
        # WHERE refuses aggregates and windows.
        database.execute(f"SELECT 1 FROM {_TABLE} WHERE {expression}")  # noqa: S608
        # Parentheses that the clause itself closes and opens do not fit into brackets.
        database.execute(f"SELECT [\n{clause}\n] FROM {_TABLE}")  # noqa: S608
        _check_row_by_row(database, where, query)
        kind = str(database.execute(query).description[0][1])
    except duckdb.Error as error:
        raise ConfigurationError(f"{where}: {_explained(error)}") from error
    if kind not in {"BOOLEAN", "bool"}:
        raise ConfigurationError(f"{where} gives {kind}, but must give true or false")


def _check_row_by_row(database: duckdb.DuckDBPyConnection, where: str, query: str) -> None:
    """Refuse what would make a row's result depend on its partition or on chance."""
    tree = database.execute("SELECT json_serialize_sql(?)", [query]).fetchall()[0][0]
    if '"class":"SUBQUERY"' in tree:
        raise ConfigurationError(f"{where} holds a subquery: a clause sees one row at a time")
    used = set(re.findall(r'"function_name":"([^"]+)"', tree))
    volatile = database.execute(
        "SELECT DISTINCT function_name FROM duckdb_functions() "
        "WHERE stability = 'VOLATILE' AND list_contains(?, function_name)",
        [sorted(used)],
    ).fetchall()
    if volatile:
        raise ConfigurationError(f"{where} uses {volatile[0][0]}(), which differs from run to run")


def _explained(error: duckdb.Error) -> str:
    unknown = _UNKNOWN_COLUMN.search(str(error))
    if unknown is None:
        return str(error).split("\n", 1)[0]
    names = clause_schema().names
    near = difflib.get_close_matches(unknown[1], names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"no column {unknown[1]!r}; {hint}columns are {', '.join(names)}"


def _evaluate(
    database: duckdb.DuckDBPyConnection, rows: pa.Table, name: str, clause: str
) -> NDArray[np.bool_]:
    """Whether each row passes: all but those for which the clause is false."""
    database.register(_TABLE, rows)
    try:
        # One thread keeps the rows in order.
        query = f"SELECT coalesce((\n{clause}\n), true) AS passed FROM {_TABLE}"  # noqa: S608
        passed = database.execute(query).fetchnumpy()["passed"]
    except duckdb.Error as error:
        raise StageError(
            f"filter.clauses.{name} = {clause!r} fails on a row: {str(error).splitlines()[0]}; "
            "guard it, for instance with try_cast"
        ) from error
    finally:
        database.unregister(_TABLE)
    return np.asarray(passed, dtype=bool)
