"""Embeddings as they come: shapes, types and Arrow columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dedup.arrays import Ints, Vectors


def from_arrow(column: pa.ChunkedArray | pa.Array) -> Vectors:
    """Turn a list column into an array.

    Args:
        column: Lists of floats, all of the same length; of any list type. A null list
            becomes a row of NaN.

    Returns:
        Shape (n, d), with the column's own float type; (0, 1) for an empty column.

    Raises:
        ValueError: If it is no list of floats, or for lists of different lengths.
    """
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    kind = column.type
    if not _is_float_list(kind):
        raise ValueError(f"a vector column must hold lists of floats, got {kind}")
    lengths = [_lengths(chunk) for chunk in chunks]
    present = np.concatenate([*lengths, np.zeros(0, dtype=np.int64)])
    known = present[present >= 0]
    width = int(known[0]) if len(known) else 1
    odd = np.flatnonzero((present >= 0) & (present != width))
    if len(odd):
        raise ValueError(
            f"vectors differ in length: the first has {width} dimensions, row {odd[0]} has "
            f"{present[odd[0]]}; were two models mixed?"
        )
    result = np.full((len(present), width), np.nan, dtype=kind.value_type.to_pandas_dtype())
    start = 0
    for chunk, sizes in zip(chunks, lengths, strict=True):
        values = chunk.drop_null().flatten().to_numpy(zero_copy_only=False)
        rows = start + np.flatnonzero(sizes >= 0)
        result[rows] = values.reshape(-1, width)
        start += len(chunk)
    return result


def check_shape(vectors: Vectors) -> None:
    """Raise ValueError unless the array is a floating (n, d) with d >= 1."""
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise ValueError(f"vectors must have shape (n, d) with d >= 1, got {vectors.shape}")
    if not np.issubdtype(vectors.dtype, np.floating):
        raise ValueError(f"vectors must be float16, float32 or float64, got {vectors.dtype}")


def _is_float_list(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in lists) and pa.types.is_floating(kind.value_type)


def _lengths(chunk: pa.Array) -> Ints:
    """Length of each list; -1 for null."""
    if pa.types.is_fixed_size_list(chunk.type):
        lengths = np.full(len(chunk), chunk.type.list_size, dtype=np.int64)
    else:
        lengths = np.diff(chunk.offsets.to_numpy()).astype(np.int64)
    lengths[chunk.is_null().to_numpy(zero_copy_only=False)] = -1
    return lengths
