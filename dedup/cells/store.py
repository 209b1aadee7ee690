"""Where a search puts what does not fit into memory."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import pyarrow as pa


class Store(Protocol):
    """Named lists of record batches, each written once; a batch can be read by itself."""

    def put(self, name: str, batches: Sequence[pa.RecordBatch]) -> None:
        """Write batches of one schema, whole or not at all."""
        ...

    def get(self, name: str, number: int) -> pa.RecordBatch:
        """One batch.

        Raises:
            FileNotFoundError: If there is nothing of this name.
        """
        ...

    def several(self, name: str, numbers: Sequence[int]) -> list[pa.RecordBatch]:
        """Some batches, opened once for all of them; see ``get``."""
        ...

    def remove(self, name: str) -> None:
        """Forget a name, if it is there."""
        ...


class MemoryStore:
    """Batches in memory, for what fits."""

    def __init__(self) -> None:
        self._files: dict[str, Sequence[pa.RecordBatch]] = {}

    def put(self, name: str, batches: Sequence[pa.RecordBatch]) -> None:
        """See ``Store.put``."""
        self._files[name] = batches

    def get(self, name: str, number: int) -> pa.RecordBatch:
        """See ``Store.get``."""
        if name not in self._files:
            raise FileNotFoundError(name)
        return self._files[name][number]

    def several(self, name: str, numbers: Sequence[int]) -> list[pa.RecordBatch]:
        """See ``Store.several``."""
        return [self.get(name, number) for number in numbers]

    def remove(self, name: str) -> None:
        """See ``Store.remove``."""
        self._files.pop(name, None)


class FolderStore:
    """Arrow files in a local folder.

    Args:
        folder: Made where it is absent.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)

    def put(self, name: str, batches: Sequence[pa.RecordBatch]) -> None:
        """See ``Store.put``."""
        place = self._folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_name(f"_{place.name}.{uuid.uuid4().hex}.tmp")
        try:
            with pa.OSFile(str(unfinished), "wb") as file:
                write_arrow(file, batches)
            unfinished.replace(place)
        finally:
            unfinished.unlink(missing_ok=True)

    def get(self, name: str, number: int) -> pa.RecordBatch:
        """See ``Store.get``."""
        return self.several(name, [number])[0]

    def several(self, name: str, numbers: Sequence[int]) -> list[pa.RecordBatch]:
        """See ``Store.several``."""
        # Mapped, not read: columns that nobody looks at cost nothing.
        file = pa.ipc.open_file(pa.memory_map(str(self._folder / name)))
        return [file.get_batch(number) for number in numbers]

    def remove(self, name: str) -> None:
        """See ``Store.remove``."""
        (self._folder / name).unlink(missing_ok=True)


def write_arrow(sink: IO[bytes] | pa.NativeFile, batches: Sequence[pa.RecordBatch]) -> None:
    """Write batches as an Arrow file, whose footer says where each of them lies."""
    with pa.ipc.new_file(sink, batches[0].schema) as out:
        for batch in batches:
            out.write_batch(batch)


def as_binary(rows: np.ndarray) -> pa.Array:
    """Rows of a C-contiguous array (n, k) as fixed-size binary values, without a copy."""
    width = rows.dtype.itemsize * rows.shape[1]
    return pa.Array.from_buffers(pa.binary(width), len(rows), [None, pa.py_buffer(rows)])


def from_binary(column: pa.Array, dtype: np.dtype, width: int) -> np.ndarray:
    """The opposite of ``as_binary``; a view of the column's memory."""
    size = dtype.itemsize * width
    data = column.buffers()[1].slice(column.offset * size, len(column) * size)
    return np.frombuffer(data, dtype=dtype).reshape(len(column), width)
