"""Embeddings as they come, made into unit vectors that can be compared."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Floats, Ints, Vectors, name_rows

_BLOCK_ELEMENTS = 1 << 22


def unit_vectors(
    vectors: Vectors, invalid: Literal["error", "single"] = "error"
) -> tuple[Floats, Bools]:
    """Scale every row to length one.

    Args:
        vectors: Shape (n, d), float16, float32 or float64, normalised or not; may be a
            ``np.memmap``, which is read block by block.
        invalid: What to do with rows that have no direction (all zeros, NaN, infinity):
            ``error`` refuses the array, ``single`` gives a row of zeros and says so.

    Returns:
        Unit rows, float32 (n, d), and which rows have a direction, bool (n,).

    Raises:
        ValueError: If the array is not a floating (n, d) with d >= 1, or, with
            ``invalid="error"``, for rows without a direction, naming them.
    """
    _check_shape(vectors)
    count, width = vectors.shape
    units = np.zeros((count, width), dtype=np.float32)
    valid = np.zeros(count, dtype=np.bool_)
    step = max(1, _BLOCK_ELEMENTS // width)
    for start in range(0, count, step):
        block = np.asarray(vectors[start : start + step], dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.linalg.norm(block, axis=1)
        good = np.isfinite(norms) & (norms > 0)
        # Adding zero turns -0.0 into 0.0: equal vectors are then equal byte by byte.
        units[start : start + step][good] = block[good] / norms[good, None] + 0.0
        valid[start : start + step] = good
    if invalid == "error" and not valid.all():
        raise ValueError(
            f"vectors without a direction (all zeros, NaN or infinite) in rows "
            f"{name_rows(np.flatnonzero(~valid))}: remove them before the search"
        )
    return units, valid


def cosine(vectors: Floats, src: Ints, dst: Ints) -> Floats:
    """Cosine similarity of pairs of unit rows.

    The dot product is summed in float64 and rounded once to float32, so that a pair's
    similarity does not depend on who found it, in what order, or with how many threads.

    Args:
        vectors: Unit rows, float32 (n, d).
        src: Row of one side, int64 (p,).
        dst: Row of the other side, int64 (p,).

    Returns:
        Similarities in [-1, 1], float32 (p,).
    """
    similarity = np.empty(len(src), dtype=np.float32)
    step = max(1, _BLOCK_ELEMENTS // max(1, vectors.shape[1]))
    for start in range(0, len(src), step):
        part = slice(start, start + step)
        left = vectors[src[part]].astype(np.float64)
        similarity[part] = np.einsum("ij,ij->i", left, vectors[dst[part]].astype(np.float64))
    return np.clip(similarity, -1.0, 1.0)


def digests(vectors: Floats, valid: Bools) -> pa.Array:
    """A 128-bit BLAKE2b digest per row; null for rows without a direction."""
    rows = (
        blake2b(row.tobytes(), digest_size=16).digest() if good else None
        for row, good in zip(vectors, valid, strict=True)
    )
    return pa.array(rows, type=pa.binary(16), size=len(vectors))


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


def _check_shape(vectors: Vectors) -> None:
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
