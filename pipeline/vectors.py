"""``winnow dedup``: duplicates among vectors in a file, for people who have only vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dedup import find_duplicates
from pipeline.query import write_rows
from stages.contract import ConfigurationError
from stages.storage import Storage


def load_vectors(path: Path, column: str) -> np.ndarray:
    """Vectors from a file.

    Args:
        path: ``.npy`` with an array (n, d), which is memory-mapped, or ``.parquet`` with a
            column of lists of equal length.
        column: The Parquet column.

    Returns:
        (n, d), float16, float32 or float64.

    Raises:
        ConfigurationError: If the file is none of these.
    """
    if not path.is_file():
        raise ConfigurationError(f"{path} is not a file: correct the path")
    if path.suffix == ".npy":
        return _from_npy(path)
    if path.suffix == ".parquet":
        return _from_parquet(path, column)
    raise ConfigurationError(f"{path} must end in .npy or .parquet")


def _from_npy(path: Path) -> np.ndarray:
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ConfigurationError(f"{path} is not an .npy file of plain numbers") from error
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise ConfigurationError(
            f"{path} must hold floats of shape (n, d), got {vectors.dtype} {vectors.shape}; "
            "convert it, such as with vectors.astype('float32')"
        )
    return vectors


def _from_parquet(path: Path, column: str) -> np.ndarray:
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ConfigurationError(f"{path} is not a Parquet file: {error}") from error
    if column not in file.schema_arrow.names:
        names = ", ".join(file.schema_arrow.names)
        raise ConfigurationError(
            f"{path} has no column {column!r}; name one with --column: {names}"
        )
    values = file.read(columns=[column]).column(column).combine_chunks()
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_kind(values.type) for is_kind in kinds):
        raise ConfigurationError(
            f"column {column!r} of {path} is {values.type}, not lists of floats"
        )
    if values.null_count:
        raise ConfigurationError(f"column {column!r} of {path} has {values.null_count} nulls")
    widths = pc.unique(pc.list_value_length(values)).to_pylist()
    if len(widths) > 1:
        raise ConfigurationError(
            f"column {column!r} of {path} holds vectors of {len(widths)} different dimensions, "
            f"such as {widths[0]} and {widths[1]}; vectors of one set have one"
        )
    flat = values.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(values), widths[0] if widths else 1)


def deduplicate_file(
    vectors: Path, threshold: float, output: str, column: str = "vector", seed: int = 0
) -> str:
    """Find duplicates among the vectors of a file and write a row for each vector.

    Args:
        vectors: The input file.
        threshold: Least cosine similarity of duplicates, in [-1, 1].
        output: A Parquet file: row, cluster, keep, witness, similarity.
        column: Column of vectors in a Parquet file.
        seed: Seed of the communities.

    Returns:
        A line that says what was found.

    Raises:
        ConfigurationError: For files or vectors that cannot be used.
    """
    if not output.endswith(".parquet"):
        raise ConfigurationError(f"{output} must end in .parquet")
    if Storage().is_local(output) and Path(output).resolve() == vectors.resolve():
        raise ConfigurationError(f"{output} is the input: choose another file for the result")
    try:
        result = find_duplicates(load_vectors(vectors, column), threshold=threshold, seed=seed)
    except ValueError as error:
        raise ConfigurationError(f"{vectors}: {error}") from error
    rows = result.to_table()
    write_rows(Storage(), rows, output)
    kept = int(result.keep.sum())
    return f"{rows.num_rows:,} vectors = {kept:,} kept + {rows.num_rows - kept:,} removed; {output}"
