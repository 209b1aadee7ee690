"""Keep policy and protection: SQL over the columns of the items, evaluated row by row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Ints

if TYPE_CHECKING:
    import duckdb

_ROW = "_winnow_row"
_KINDS = {
    "keep": ("SQL order terms", "keep policy"),
    "protect": ("an SQL condition", "protect condition"),
}
#: Names of columns, in what DuckDB makes of a statement.
_NAMES = re.compile(r'"column_names":\[([^\]]*)\]')
_PARTS = re.compile(r'"([^"]*)"')
_SETTINGS = (
    "default_null_order = 'nulls_last'",
    "python_enable_replacements = false",
    "enable_external_access = false",
)
_VOLATILE = """
    SELECT function_name FROM duckdb_functions() WHERE stability = 'VOLATILE' AND contains(
        json_serialize_sql(?), '"function_name":"' || function_name || '"'
    )
"""


def policy_rank(items: pa.Table, order: str) -> Ints:
    """Put the items into policy order.

    Ties go to the lower ``item_id``. Nulls come last, whatever the direction.

    Args:
        items: ``item_id`` and the columns that the policy may use. Integers are widened to
            64 bits first, so that ``width*height`` cannot overflow.
        order: What stands behind SQL's ORDER BY, such as
            ``"width*height desc, bytes desc"``. Empty: by ``item_id``.

    Returns:
        Place of each row, 0 for the first, int64 (n,), all different.

    Raises:
        ValueError: If the expression does not work; the message lists the columns.
    """
    import duckdb

    rows = np.arange(items.num_rows, dtype=np.int64)
    table = items.append_column(_ROW, pa.array(rows))
    terms = f"{order}\n, item_id, {_ROW}" if order.strip() else f"item_id, {_ROW}"
    query = f"SELECT {_ROW} FROM items ORDER BY {terms}"  # noqa: S608 - the user's own SQL
    with _connection(table) as connection:
        try:
            volatile = _volatile(query)
            ordered = connection.execute(query).fetchnumpy()[_ROW]
        except duckdb.Error as error:
            reason = str(error).strip().split("\n")[0]
            raise _refused(items, "keep", order, reason) from error
    if volatile:
        raise _refused(items, "keep", order, f"{volatile}() differs from run to run.")
    if len(ordered) != len(rows):
        raise _refused(items, "keep", order, "it must order the rows, not choose among them.")
    rank = np.empty(len(rows), dtype=np.int64)
    rank[np.asarray(ordered, dtype=np.int64)] = rows
    return rank


def matching(items: pa.Table, condition: str) -> Bools:
    """Which items satisfy a condition.

    Args:
        items: The columns that the condition may use.
        condition: What stands behind SQL's WHERE, such as ``"batch = 0"``. Empty: no item does.

    Returns:
        bool (n,); a condition that is null does not hold.

    Raises:
        ValueError: If the expression does not work; the message lists the columns.
    """
    import duckdb

    if not condition.strip():
        return np.zeros(items.num_rows, dtype=np.bool_)
    query = f"SELECT coalesce(({condition}\n)::BOOLEAN, false) AS holds FROM items"  # noqa: S608
    with _connection(items) as connection:
        try:
            volatile = _volatile(query)
            holds = connection.execute(query).fetchnumpy()["holds"]
        except duckdb.Error as error:
            reason = str(error).strip().split("\n")[0]
            raise _refused(items, "protect", condition, reason) from error
    if volatile or len(holds) != items.num_rows:
        raise _refused(items, "protect", condition, "it must say yes or no of each row.")
    return np.asarray(holds, dtype=np.bool_)


@lru_cache(maxsize=64)
def sees_other_rows(terms: str) -> bool:
    """Whether SQL terms may look at more than one row at a time: by a window or a subquery."""
    query = f"SELECT 1 FROM items ORDER BY {terms}\n"  # noqa: S608 - the user's own SQL
    with _database().cursor() as connection:
        (parsed,) = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone() or ("",)
    return any(f'"class":"{kind}"' in str(parsed) for kind in ("WINDOW", "SUBQUERY"))


def columns_of(terms: str, known: Sequence[str]) -> list[str]:
    """The columns that SQL terms mention, of those known; all where that cannot be told."""
    query = f"SELECT 1 FROM items ORDER BY {terms}\n"  # noqa: S608 - the user's own SQL
    with _database().cursor() as connection:
        (parsed,) = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone() or ("",)
    named = {
        name.lower() for names in _NAMES.findall(str(parsed)) for name in _PARTS.findall(names)
    }
    if not named:
        return list(known)
    return [name for name in known if name.lower() in named]


@lru_cache(maxsize=64)
def _volatile(query: str) -> str:
    """A function in a query that may answer differently each time; empty where there is none.

    Raises:
        duckdb.Error: If it is no query.
    """
    with _database().cursor() as connection:
        found = connection.execute(_VOLATILE, [query]).fetchone()
    return str(found[0]) if found else ""


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """A database that sees nothing of this machine; it takes longer to open than to sort rows."""
    import duckdb

    connection = duckdb.connect(config={"threads": 1})
    for setting in _SETTINGS:
        connection.execute(f"SET {setting}")
    return connection


@contextmanager
def _connection(items: pa.Table) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own that sees the items and nothing else."""
    with _database().cursor() as connection:
        connection.register("items", _usable(items))
        try:
            yield connection
        finally:
            connection.unregister("items")


def _usable(items: pa.Table) -> pa.Table:
    """The columns DuckDB can order by, integers widened."""
    columns = {}
    for field in items.schema:
        column = items.column(field.name)
        if pa.types.is_nested(field.type):
            continue
        if pa.types.is_signed_integer(field.type):
            column = column.cast(pa.int64())
        elif pa.types.is_float16(field.type):
            column = column.cast(pa.float32())
        columns[field.name] = column
    return pa.table(columns)


def _refused(items: pa.Table, what: str, terms: str, reason: str) -> ValueError:
    known = ", ".join(sorted(items.column_names))
    kind, name = _KINDS[what]
    return ValueError(
        f"{name} {terms!r} does not work: {reason} It takes {kind} over these columns: {known}"
    )
