"""From rows in input order to rows by cell: what every block adds to every group of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Hashes, Ints, Vectors
from dedup.cells.assign import Cells
from dedup.cells.codes import Codes, padded
from dedup.cells.heads import head_width, heads_of
from dedup.cells.ragged import Ragged, RaggedCodes
from dedup.cells.store import Store, as_binary, from_binary

_FIXED_BYTES = 40


@dataclass(frozen=True)
class Layout:
    """How cells are grouped and rows are written.

    Args:
        bounds: Group g holds the cells ``bounds[g]:bounds[g + 1]``, int64 (g + 1,).
        width: Dimensions of a vector.
        dtype: Of the vectors as they came.
        codes: Whether codes are written too, for searches that come back to them.
    """

    bounds: Ints
    width: int
    dtype: str
    codes: bool = False

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len(self.bounds) - 1

    @property
    def row_bytes(self) -> int:
        """Bytes that a row takes, roughly."""
        return row_bytes(self.width, self.dtype, codes=self.codes)


def row_bytes(width: int, dtype: str, *, codes: bool = False) -> int:
    """Bytes that a row takes in a store, roughly."""
    code = padded(width) + head_width(padded(width)) + 12 if codes else 0
    return np.dtype(dtype).itemsize * width + _FIXED_BYTES + code


@dataclass(frozen=True)
class Gathered:
    """The rows of a group of cells, sorted by cell, then by those that live there, then by id.

    Args:
        cell: int32 (n,).
        home: Cell where each row lives, int32 (n,).
        visits: Cells that each row visits, int32 (n, q), -1 for none.
        ids: int64 (n,).
        hashes: Of the unit rows, uint64 (n,).
        vectors: As they came, n rows of d.
        codes: Where they were written.
        new: Whether a row comes from the blocks that are new, bool (n,).
    """

    cell: Cells
    home: Cells
    visits: Cells
    ids: Ints
    hashes: Hashes
    vectors: Ragged
    codes: RaggedCodes | None
    new: Bools


def scatter(
    store: Store,
    name: str,
    layout: Layout,
    ids: Ints,
    hashes: Hashes,
    cells: Cells,
    vectors: Vectors,
    codes: Codes,
) -> int:
    """Write the rows of a block once for every cell that they live in or visit.

    Args:
        store: Where to.
        name: Of the file; it has one record batch per group.
        layout: Groups and columns.
        ids: int64 (n,).
        hashes: uint64 (n,).
        cells: int32 (n, m): the home first, then the visits, -1 for none.
        vectors: As they came, (n, d).
        codes: Of the rows.

    Returns:
        Rows written.
    """
    row, place = np.nonzero(cells >= 0)
    cell = cells[row, place]
    order = np.lexsort((row, place > 0, cell))
    row, cell = row[order], cell[order]
    columns = {
        "id": pa.array(ids[row]),
        "hash": pa.array(hashes[row]),
        "cells": as_binary(np.ascontiguousarray(cells[row])),
        "vector": as_binary(np.ascontiguousarray(vectors[row])),
    }
    # First, and together, what later rows look at of every row.
    batch = pa.record_batch({"cell": pa.array(cell), **_looked_at(layout, codes, row), **columns})
    cuts = np.searchsorted(cell, layout.bounds)
    batches = [batch.slice(start, stop - start) for start, stop in pairwise(cuts.tolist())]
    store.put(name, batches)
    return len(row)


def _looked_at(layout: Layout, codes: Codes, rows: Ints) -> dict[str, pa.Array]:
    """The columns of codes, where they are wanted."""
    if not layout.codes:
        return {}
    scalars = {"scale": pa.array(codes.scale[rows]), "error": pa.array(codes.error[rows])}
    values = {"code": as_binary(codes.values[rows])}
    width = head_width(codes.values.shape[1])
    if not width:
        return scalars | values
    heads = heads_of(codes, width)
    first = {"tail": pa.array(heads.tail[rows]), "head": as_binary(heads.values[rows])}
    return scalars | first | values


def gather(store: Store, layout: Layout, group: int, old: list[str], new: list[str]) -> Gathered:
    """Read the rows of a group from the files of all blocks.

    Args:
        store: Where the files are.
        layout: As they were written.
        group: Which.
        old: Files of blocks that have been compared with each other before.
        new: Files of the others.

    Returns:
        The rows, in an order that does not depend on how they were cut into blocks.
    """
    return gathered(layout, *([store.get(name, group) for name in names] for names in (old, new)))


def gathered(layout: Layout, old: list[pa.RecordBatch], new: list[pa.RecordBatch]) -> Gathered:
    """The same, from what was read already."""
    batches = [*old, *new]
    cell, ids, hashes = (
        np.concatenate([batch.column(name).to_numpy() for batch in batches])
        for name in ("cell", "id", "hash")
    )
    width = batches[0].schema.field("cells").type.byte_width // 4
    cells = np.concatenate(views(batches, "cells", np.dtype(np.int32), width))
    sizes = [len(batch) for batch in batches]
    # Every file is in this order already, and ids ascend from file to file: a stable sort
    # merges them.
    order = np.argsort(cell.astype(np.int64) * 2 + (cells[:, 0] != cell), kind="stable")
    return Gathered(
        cell=cell[order],
        home=cells[order, 0],
        visits=cells[order, 1:],
        ids=ids[order],
        hashes=hashes[order],
        vectors=Ragged(views(batches, "vector", np.dtype(layout.dtype), layout.width), order),
        codes=_codes(batches, layout, order),
        new=np.repeat(np.arange(len(batches)) >= len(old), sizes)[order],
    )


def _codes(batches: list[pa.RecordBatch], layout: Layout, order: Ints) -> RaggedCodes | None:
    if not layout.codes:
        return None
    values = Ragged(views(batches, "code", np.dtype(np.int8), padded(layout.width)), order)
    scale, error = (
        np.concatenate([batch.column(name).to_numpy() for batch in batches])[order]
        for name in ("scale", "error")
    )
    return RaggedCodes(values, scale, error)


def views(
    batches: Sequence[pa.RecordBatch], name: str, dtype: np.dtype, width: int
) -> list[np.ndarray]:
    """A column of fixed width as arrays, (n, width) each, where it lies."""
    return [from_binary(batch.column(name), dtype, width) for batch in batches]
