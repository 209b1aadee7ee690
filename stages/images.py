"""From rows of ``items`` to decoded images: read by range, decode in threads, fail by item."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from stages.contract import ItemError, Reason, UnavailableError
from stages.sources.base import is_content_error
from stages.storage import Storage

if TYPE_CHECKING:
    from stages.sources.video_file import FrameFinder

#: Columns of ``items`` that say where the bytes of an image lie.
IMAGE_COLUMNS = ("uri", "container", "member", "offset", "length", "key")

#: Pillow's decoders in use. Others run programs (EPS), hold images larger than their header
#: says (ICO), or are not photographs. MPO is opened by the JPEG decoder and has none itself.
PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000", "PPM")

# ``ingest`` refuses images above the configured size from their header; Pillow's own
# limit would refuse what the user has allowed.
Image.MAX_IMAGE_PIXELS = None

Seen = TypeVar("Seen")

_OPEN_FILES = 8
_ORIENTATION = 0x0112
_TURNED = frozenset(range(2, 9))
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


class ImageReader:
    """Reads encoded images by the columns ``IMAGE_COLUMNS``; safe to share between threads.

    Args:
        storage: Where uris are resolved.
        max_bytes: Longer images are refused before they are read; ``None`` for no limit.
    """

    def __init__(self, storage: Storage, *, max_bytes: int | None = None) -> None:
        self._storage = storage
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._files: OrderedDict[str, pa.NativeFile] = OrderedDict()
        # One table and one column of a row group: rows come in order.
        self._tables: dict[str, pq.ParquetFile] = {}
        self._columns: dict[tuple[str, str, int], pa.ChunkedArray] = {}
        self._frames: FrameFinder | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._tables.clear()
        self._columns.clear()
        if self._frames is not None:
            self._frames.close()

    def read(self, row: dict[str, Any]) -> bytes:
        """The encoded image of one row.

        Raises:
            ItemError: If the bytes are gone, unreadable, or not as long as they were.
            UnavailableError: If an object store cannot be reached.
        """
        try:
            data = self._read(row)
        except FileNotFoundError as error:
            raise ItemError(Reason.MISSING, f"{row['uri']} does not exist") from error
        except OSError as error:
            if not is_content_error(self._storage, row["uri"], error):
                raise UnavailableError(f"{row['uri']} cannot be read: {error}") from error
            raise ItemError(Reason.UNREADABLE, f"{row['uri']}: {error}") from error
        except pa.ArrowException as error:  # a broken Parquet page, not a broken store
            raise ItemError(Reason.UNREADABLE, f"{row['uri']}: {error}") from error
        if row["length"] is not None and len(data) != row["length"]:
            raise ItemError(
                Reason.CHANGED,
                f"{row['uri']}: {row['length']} bytes when ingested, {len(data)} now",
            )
        return data

    def _read(self, row: dict[str, Any]) -> bytes:
        if row["container"] == "parquet":
            return self._read_cell(row["uri"], row["member"], row["offset"])
        if row["container"] == "video":
            return self._finder().png(row["uri"], int(row["member"]), row["offset"])
        if row["offset"] is None:
            return self._read_file(row["uri"])
        self._check_length(row["length"])
        return self._file(row["uri"]).read_at(row["length"], row["offset"])

    def _finder(self) -> FrameFinder:
        from stages.sources.video_file import FrameFinder

        with self._lock:
            if self._frames is None:
                self._frames = FrameFinder(self._storage)
            return self._frames

    def _read_file(self, uri: str) -> bytes:
        if self._max_bytes is None:
            return self._storage.read(uri)
        # A pipe would be waited for, and a device read, for ever.
        if self._storage.is_local(uri) and not self._storage.info(uri).is_file:
            if self._storage.exists(uri):
                raise ItemError(Reason.UNSUPPORTED, f"{uri} is not a regular file")
            raise FileNotFoundError(uri)
        with self._storage.open(uri) as file:
            self._check_length(file.size())
            return file.read()

    def _check_length(self, length: int) -> None:
        if self._max_bytes is not None and length > self._max_bytes:
            raise ItemError(
                Reason.TOO_LARGE, f"{length} bytes, more than max_bytes = {self._max_bytes}"
            )

    def _file(self, uri: str) -> pa.NativeFile:
        with self._lock:
            if uri not in self._files:
                self._files[uri] = self._storage.open(uri)
                if len(self._files) > _OPEN_FILES:
                    self._files.popitem(last=False)
            self._files.move_to_end(uri)
            return self._files[uri]

    def _read_cell(self, uri: str, column: str, row: int) -> bytes:
        # Pages are compressed, so a cell is read with its row group, kept for its neighbours.
        with self._lock:
            file = self._table(uri)
            group, start = _row_group(file, row)
            cached = self._columns.get((uri, column, group))
            if cached is None:
                self._columns.clear()
                cached = parquet_bytes(file, column, group)
                self._columns[(uri, column, group)] = cached
        value = cached[row - start].as_py()
        if value is None:
            raise ItemError(Reason.MISSING, f"{uri}: row {row} of column {column!r} is null")
        self._check_length(len(value))
        return value

    def _table(self, uri: str) -> pq.ParquetFile:
        if uri not in self._tables:
            self._tables.clear()
            self._tables[uri] = pq.ParquetFile(self._storage.open(uri))
        return self._tables[uri]


def parquet_bytes(file: pq.ParquetFile, column: str, group: int) -> pa.ChunkedArray:
    """One row group of a column of encoded images.

    Takes a binary column, or the struct ``{bytes, path}`` that Hugging Face data sets write.
    """
    values = file.read_row_group(group, columns=[column]).column(column)
    if pa.types.is_struct(values.type):
        values = pc.struct_field(values, "bytes")
    return values


def _row_group(file: pq.ParquetFile, row: int) -> tuple[int, int]:
    start = 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if row < start + rows:
            return group, start
        start += rows
    raise ItemError(Reason.CHANGED, f"row {row} is beyond the {start} rows there are now")


def decode(data: bytes) -> Image.Image:
    """Decode an encoded image as people see it.

    The first frame, turned by its EXIF orientation, 16-bit values scaled to 8, transparency
    laid over white, in mode RGB. Colour profiles are not applied.

    Raises:
        ItemError: If Pillow cannot decode it.
    """
    return decode_and_look(data, lambda _: None)[0]


def decode_and_look(data: bytes, look: Callable[[Image.Image], Seen]) -> tuple[Image.Image, Seen]:
    """Decode as ``decode`` does, and look at the image as stored before it is converted.

    Args:
        data: The encoded image.
        look: Called with the decoded image in its own mode, format and orientation.

    Returns:
        The RGB image, and what ``look`` returned.

    Raises:
        ItemError: If Pillow cannot decode it.
    """
    try:
        with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
            image.load()
            return to_rgb(_upright(image)), look(image)
    except (ItemError, MemoryError):
        raise
    except Exception as error:  # decoders raise anything on hostile bytes
        detail = f"{type(error).__name__}: {error}"
        raise ItemError(Reason.UNREADABLE, f"cannot be decoded: {detail}") from error


def _upright(image: Image.Image) -> Image.Image:
    """The pixels turned by their EXIF orientation; not copied where they stand upright."""
    if image.getexif().get(_ORIENTATION, 1) in _TURNED:
        return ImageOps.exif_transpose(image)
    # Not the opened image itself: its decoder may hold as much memory as the pixels.
    return image._new(image.im)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB, with transparency over white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in _SIXTEEN_BIT:
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:
        return _scaled_to_eight_bits(image).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _scaled_to_eight_bits(image: Image.Image) -> Image.Image:
    """32-bit integer and float images have no fixed white: 16-bit if it fits, else min to max."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = float(values.min()), float(values.max())
    if image.mode == "I" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0 if high > 255 else 255.0
    scale = 255.0 / (high - low) if high > low else 0.0
    return Image.fromarray(((values - low) * scale).round().astype(np.uint8))


def read_images(
    table: pa.Table, storage: Storage, *, threads: int = 1
) -> Iterator[bytes | ItemError]:
    """The encoded images of a table's rows, in row order.

    Args:
        table: Rows with the columns ``IMAGE_COLUMNS``.
        storage: Where uris are resolved.
        threads: Reads in flight.

    Yields:
        The bytes, or the error that quarantines the item.
    """
    rows = table.select(list(IMAGE_COLUMNS)).to_pylist()
    with ImageReader(storage) as reader:
        yield from read_rows(rows, reader, threads=threads)


def read_rows(
    rows: Iterable[dict[str, Any]], reader: ImageReader, *, threads: int = 1
) -> Iterator[bytes | ItemError]:
    """The encoded images of any number of rows, in their order.

    Args:
        rows: With the columns ``IMAGE_COLUMNS``; read a few times ``threads`` ahead.
        reader: Reads them.
        threads: Reads in flight.

    Yields:
        The bytes, or the error that quarantines the item.
    """
    yield from _in_order(lambda row: _caught(reader.read, row), rows, threads)


def map_bytes(
    table: pa.Table,
    reader: ImageReader,
    function: Callable[[bytes, dict[str, Any]], dict[str, Any]],
    *,
    threads: int = 1,
) -> list[dict[str, Any] | ItemError]:
    """Read every row's image and apply a function to its encoded bytes and the row.

    Args:
        table: Rows with the columns ``IMAGE_COLUMNS``.
        reader: Reads them.
        function: Called with the bytes and the row, which holds the table's columns. An
            exception it raises quarantines the item.
        threads: Items in flight.

    Returns:
        One result or error per row, in row order.
    """

    def one(row: dict[str, Any]) -> dict[str, Any]:
        return function(reader.read(row), row)

    rows = table.to_pylist()
    return list(_in_order(lambda row: _caught(one, row), rows, threads))


def map_images(
    table: pa.Table,
    storage: Storage,
    function: Callable[[Image.Image, dict[str, Any]], dict[str, Any]],
    *,
    threads: int = 1,
) -> list[dict[str, Any] | ItemError]:
    """Read, decode and apply a function to every row's image.

    Args:
        table: Rows with the columns ``IMAGE_COLUMNS``.
        storage: Where uris are resolved.
        function: Called with the RGB image and its row; the row holds the table's columns
            and ``data``, the encoded bytes. An exception it raises quarantines the item.
        threads: Items in flight; decoding releases the GIL.

    Returns:
        One result or error per row, in row order.
    """

    def one(data: bytes, row: dict[str, Any]) -> dict[str, Any]:
        return function(decode(data), {**row, "data": data})

    with ImageReader(storage) as reader:
        return map_bytes(table, reader, one, threads=threads)


def _caught(function: Callable[..., Any], row: dict[str, Any]) -> Any:  # noqa: ANN401
    try:
        return function(row)
    except ItemError as error:
        return error
    except (UnavailableError, MemoryError):
        raise  # the store or the machine, not the item: the runner retries the partition
    except Exception as error:  # noqa: BLE001 - the item is quarantined with this reason
        return ItemError(Reason.STAGE_ERROR, f"{type(error).__name__}: {error}")


def _in_order(
    function: Callable[[dict[str, Any]], Any], rows: Iterable[dict[str, Any]], threads: int
) -> Iterator[Any]:
    if threads <= 1:
        yield from map(function, rows)
        return
    # A bounded window: results wait for their turn, so an unbounded one would hold them all.
    with ThreadPoolExecutor(threads) as pool:
        pending = iter(rows)
        window: list[Future[Any]] = [
            pool.submit(function, row) for row in islice(pending, 4 * threads)
        ]
        while window:
            yield window.pop(0).result()
            window.extend(pool.submit(function, row) for row in islice(pending, 1))
