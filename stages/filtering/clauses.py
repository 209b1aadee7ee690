"""Clauses: SQL expressions over one row, checked before anything runs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.contract import ConfigurationError, StageError
from stages.schemas import ITEMS, PROFILE, schema_of

_TABLE = "row"
_UNKNOWN_COLUMN = re.compile(r'Referenced column "([^"]+)" (?:was )?not found')


def clause_schema(further: Sequence[str] = ()) -> pa.Schema:
    """The columns a clause sees: those of ``items``, then ``profile``, then ``score``.

    Args:
        further: Columns of ``score`` beyond the named ones.
    """
    tables = (ITEMS, PROFILE, schema_of("score", further))
    own = [field for schema in tables for field in schema if field.name != "item_id"]
    return pa.schema([ITEMS.field("item_id"), *own])


def open_database() -> duckdb.DuckDBPyConnection:
    """A database in memory whose queries reach no file, no network and no other setting."""
    database = duckdb.connect(":memory:", config={"threads": 1})
    database.execute("SET python_enable_replacements = false")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")
    return database


def parenthesised(clause: str) -> str:
    """A clause that fits into any expression: the line breaks end a comment at its end."""
    return f"(\n{clause}\n)"


def check_clause(
    database: duckdb.DuckDBPyConnection, rows: pa.Table, where: str, clause: str
) -> None:
    """Fail on a clause that is no true-or-false expression over known columns.

    Args:
        database: Of ``open_database``.
        rows: An empty table with the columns there are.
        where: The setting, for the message.
        clause: The SQL.

    Raises:
        ConfigurationError: Says what is wrong; for an unknown column, which there are.
    """
    where = f"{where} = {clause!r}"
    expression = parenthesised(clause)
    query = f"SELECT {expression} FROM {_TABLE}"  # noqa: S608 - the clause is the user's SQL
    database.register(_TABLE, rows)
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
        raise ConfigurationError(f"{where}: {_explained(error, rows.column_names)}") from error
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


def _explained(error: duckdb.Error, names: Sequence[str]) -> str:
    unknown = _UNKNOWN_COLUMN.search(str(error))
    if unknown is None:
        return str(error).split("\n", 1)[0]
    near = difflib.get_close_matches(unknown[1], names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"no column {unknown[1]!r}; {hint}columns are {', '.join(names)}"


def passing(
    database: duckdb.DuckDBPyConnection, rows: pa.Table, where: str, clause: str
) -> NDArray[np.bool_]:
    """Whether each row passes: all but those for which the clause is false.

    Args:
        database: Of ``open_database``.
        rows: The rows.
        where: The setting, for the message.
        clause: The SQL.

    Returns:
        bool (n,); null counts as passed.

    Raises:
        StageError: If the clause fails on a row, such as a cast of text that is no number.
    """
    try:
        return evaluate(database, rows, f"coalesce({parenthesised(clause)}, true)").astype(bool)
    except duckdb.Error as error:
        raise StageError(
            f"{where} = {clause!r} fails on a row: {str(error).splitlines()[0]}; "
            "guard it, for instance with try_cast"
        ) from error


def evaluate(
    database: duckdb.DuckDBPyConnection, rows: pa.Table, expression: str
) -> NDArray[np.generic]:
    """The value of an expression that is never null, for each row, in their order."""
    database.register(_TABLE, rows)
    try:
        # One thread keeps the rows in order.
        query = f"SELECT {expression} AS value FROM {_TABLE}"  # noqa: S608
        return np.asarray(database.execute(query).fetchnumpy()["value"])
    finally:
        database.unregister(_TABLE)
