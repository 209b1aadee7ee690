"""What all kinds of sources share: their settings, units, candidates and errors."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from stages.contract import Reason
from stages.storage import Storage

Kind = Literal["folder", "tar", "parquet", "jsonl", "video"]

#: Extensions of images; those that are not decoded are here too, so that they are seen
#: and quarantined as unsupported instead of passing for another file.
IMAGE_EXTENSIONS = frozenset(
    [
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "dib", "tif", "tiff"),
        *("avif", "jp2", "j2k", "jpx", "pbm", "pgm", "ppm", "pnm"),
        *("heic", "heif", "jxl", "psd", "svg", "ico", "eps", "tga", "exr", "hdr"),
        *("dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf"),
    ]
)

#: Extensions of files that say something about the image of the same name.
SIDECAR_EXTENSIONS = frozenset({"txt", "caption", "json"})

#: Settings of a source that change its rows; the others only say which files there are.
_SHAPING = (
    "image_column",
    "path_column",
    "caption_column",
    "key_column",
    "root",
    "language",
)
_SHAPING_VIDEO = ("interval_s", "scene_threshold", "max_frames")


class SourceSettings(BaseModel):
    """One source of images.

    Relative uris start at the working directory; a pattern such as
    ``s3://bucket/shards/{00000..00099}.tar`` or ``photos/*.jpg`` names many files.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )

    uri: str
    """A file, a folder, an object-store prefix, or a pattern: ``{a,b}``, ``{00..99}``, ``*``."""
    kind: Literal["auto", "folder", "tar", "parquet", "jsonl", "video"] = "auto"
    """What the source is; ``auto`` goes by the extensions of the files it holds."""
    exclude: list[str] = []
    """Patterns such as ``*.csv`` or ``thumbs/*`` of relative paths that are no input."""
    image_column: str | None = None
    """Parquet: the column of encoded images. Found by its usual names where not given."""
    path_column: str | None = None
    """Parquet and JSONL: the column of image paths. Found by its usual names where not given."""
    caption_column: str | None = None
    """Parquet and JSONL: the column of captions. Found by its usual names where not given."""
    key_column: str | None = None
    """Parquet and JSONL: the column that names an item. Found by its usual names if not given."""
    root: str | None = None
    """Where relative paths in a list start; by default the folder of the list itself."""
    language: Literal["auto", "en", "zh", "other"] = "auto"
    """Language of the captions; ``auto`` goes by their script."""
    interval_s: float | None = Field(default=2.0, gt=0, le=86_400)
    """Video: a frame is taken whenever so many seconds have passed since the last; null: none."""
    scene_threshold: float | None = Field(default=0.3, gt=0, le=1)
    """Video: a frame is taken where a scene begins, by a score of 0..1; lower finds more of
    them; null: none."""
    max_frames: int = Field(default=64, ge=1, le=10_000)
    """Video: most frames of a clip; of more, so many spread evenly."""

    def shaping(self) -> str:
        """The settings that change rows, as JSON."""
        values = {name: getattr(self, name) for name in _SHAPING}
        # Only where they are not the defaults: other sources' plans need not know of them.
        for name in _SHAPING_VIDEO:
            if getattr(self, name) != type(self).model_fields[name].default:
                values[name] = getattr(self, name)
        return json.dumps(values, ensure_ascii=False)


@dataclass(frozen=True)
class SourceFile:
    """One file of a source, with the files that belong to it.

    Args:
        uri: Canonical uri: absolute for local files.
        size: Bytes of the file.
        stamp: Size and time of the file and of its sidecars, or what is wrong with it
            (``!`` and a word) where it is no regular file.
        sidecars: Uris of the files that describe it.
    """

    uri: str
    size: int
    stamp: str
    sidecars: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unit:
    """What a source is split in: the smallest piece that is listed on its own.

    Args:
        source: Uri of the source it was found in.
        kind: Which reader understands it.
        uri: The file.
        start: First row (Parquet) or byte (JSONL) of the piece; 0 for whole files.
        stop: End of the piece, exclusive; equal to ``start`` where nothing is left of it.
        stamp: ``SourceFile.stamp`` when it was listed.
        sidecars: ``SourceFile.sidecars``.
        settings: ``SourceSettings.shaping()`` of its source.
    """

    source: str
    kind: Kind
    uri: str
    start: int
    stop: int
    stamp: str
    sidecars: tuple[str, ...]
    settings: str

    def source_settings(self) -> SourceSettings:
        """The settings its source had."""
        return SourceSettings(uri=self.source, kind=self.kind, **json.loads(self.settings))


@dataclass(frozen=True)
class Piece:
    """A range of a file that becomes a unit.

    Args:
        start: First row or byte.
        stop: End, exclusive.
        items: How many items it holds, as far as can be told without reading it.
    """

    start: int
    stop: int
    items: int


@dataclass(frozen=True)
class Candidate:
    """One possible image: where its bytes lie and what came with it, or what is wrong.

    The first seven fields are those of ``items``.
    """

    uri: str
    key: str
    source: str
    container: str | None = None
    member: str | None = None
    offset: int | None = None
    length: int | None = None
    alt_text: str | None = None
    language: str | None = None
    meta: str | None = None
    error_reason: str | None = None
    error_detail: str | None = None


class Reader(ABC):
    """Understands one kind of source."""

    @abstractmethod
    def split(self, storage: Storage, file: SourceFile, settings: SourceSettings) -> list[Piece]:
        """The pieces a file falls into; together they are the whole file.

        A file that cannot be read is one piece: ``candidates`` will say what is wrong.

        Raises:
            OSError: If an object store cannot be reached.
        """

    @abstractmethod
    def candidates(self, storage: Storage, unit: Unit) -> Iterator[Candidate]:
        """The images of a unit in a fixed order, broken ones included.

        Raises:
            OSError: If an object store cannot be reached.
        """


def extension(path: str) -> str:
    """The lower-case extension of a path, without its dot; empty where it has none."""
    name = path.rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[-1].lower() if "." in name else ""


def error_row(unit: Unit, reason: Reason, detail: str, *, key: str | None = None) -> Candidate:
    """A candidate that stands for something unreadable."""
    name = key if key is not None else unit.uri.rsplit("/", 1)[-1]
    return Candidate(
        uri=unit.uri,
        key=name,
        source=unit.source,
        error_reason=reason.value,
        error_detail=detail,
    )


_CONTENT_WORDS = ("parquet", "thrift", "deserializ", "decompress", "corrupt", "snappy", "zstd")


def is_content_error(storage: Storage, uri: str, error: Exception) -> bool:
    """Whether an error is the fault of the file's content, and not of the store it lies in.

    On object stores an ``OSError`` is the store's unless it speaks of the file format:
    taking a network fault for bad content would quarantine good items.
    """
    if isinstance(error, FileNotFoundError) or not isinstance(error, OSError):
        return True
    if storage.is_local(uri):
        return True
    text = str(error).lower()
    return "aws error" not in text and any(word in text for word in _CONTENT_WORDS)


def error_row_or_raise(storage: Storage, unit: Unit, error: Exception) -> Candidate:
    """The candidate that stands for a unit that cannot be read at all.

    Raises:
        OSError: The error itself, where the store is at fault.
    """
    if not is_content_error(storage, unit.uri, error):
        raise error
    if isinstance(error, FileNotFoundError):
        return error_row(unit, Reason.MISSING, f"{unit.uri} does not exist any more")
    detail = f"{unit.uri} cannot be read: {type(error).__name__}: {error}"
    return error_row(unit, Reason.UNREADABLE, detail[:1000])


#: What reading a broken container raises.
READ_ERRORS = (OSError, ValueError, pa.ArrowException, EOFError, OverflowError)
