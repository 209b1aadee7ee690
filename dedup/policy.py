"""The keep policy: SQL order terms, evaluated into a rank."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dedup.arrays import Ints

_ROW = "_winnow_row"
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
    table = _usable(items).append_column(_ROW, pa.array(rows))
    terms = f"{order}\n, item_id, {_ROW}" if order.strip() else f"item_id, {_ROW}"
    query = f"SELECT {_ROW} FROM items ORDER BY {terms}"  # noqa: S608 - the user's own SQL
    with duckdb.connect(config={"threads": 1}) as connection:
        for setting in _SETTINGS:
            connection.execute(f"SET {setting}")
        connection.register("items", table)
        try:
            volatile = connection.execute(_VOLATILE, [query]).fetchall()
            ordered = connection.execute(query).fetchnumpy()[_ROW]
        except duckdb.Error as error:
            raise _refused(items, order, str(error).strip().split("\n")[0]) from error
    if volatile:
        raise _refused(items, order, f"{volatile[0][0]}() differs from run to run.")
    if len(ordered) != len(rows):
        raise _refused(items, order, "it must order the rows, not choose among them.")
    rank = np.empty(len(rows), dtype=np.int64)
    rank[np.asarray(ordered, dtype=np.int64)] = rows
    return rank


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


def _refused(items: pa.Table, order: str, reason: str) -> ValueError:
    known = ", ".join(sorted(items.column_names))
    return ValueError(
        f"keep policy {order!r} does not work: {reason} "
        f"It takes SQL order terms over these columns: {known}"
    )
