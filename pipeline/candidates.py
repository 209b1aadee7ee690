"""Images of any source as they are found, read and decoded without a corpus."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from PIL import Image

from stages.contract import ItemError, Reason
from stages.images import PILLOW_FORMATS, ImageReader, decode
from stages.ingest import IngestSettings
from stages.inspection import inspect
from stages.sources import SourceSettings, Unit, list_source, reader_of
from stages.sources.listing import canonical
from stages.storage import Storage

_LIMITS = IngestSettings()


def candidate_rows(source: SourceSettings, storage: Storage) -> Iterator[dict[str, Any]]:
    """Every image that a source may hold, as ``CandidateReader`` wants it.

    Args:
        source: A folder, tars, Parquet tables, lists or videos, anywhere storage reaches.
        storage: Where uris are resolved.

    Raises:
        ConfigurationError: If the source cannot be used.
    """
    kind, files = list_source(storage, source)
    reader = reader_of(kind)
    place = canonical(storage, source.uri)
    for file in files:
        for piece in reader.split(storage, file, source):
            unit = Unit(
                source=place,
                kind=kind,
                uri=file.uri,
                start=piece.start,
                stop=piece.stop,
                stamp=file.stamp,
                sidecars=file.sidecars,
                settings=source.shaping(),
            )
            for candidate in reader.candidates(storage, unit):
                yield asdict(candidate)


class CandidateReader(ImageReader):
    """Reads candidates: what is known to be wrong with one is its error.

    Args:
        storage: Where uris are resolved.
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage, max_bytes=_LIMITS.max_bytes)

    def read(self, row: dict[str, Any]) -> bytes:
        """The encoded image of a row of ``candidate_rows``; see ``ImageReader``."""
        if row["error_reason"] is not None:
            raise ItemError(Reason(row["error_reason"]), row["error_detail"])
        return super().read(row)


def decode_candidate(data: bytes) -> Image.Image:
    """Decode an image within the limits of ``ingest``, and say what is wrong as it does.

    Args:
        data: The encoded image.

    Raises:
        ItemError: If it cannot be decoded, or is too large.
    """
    try:
        with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
            small = image.width * image.height <= _LIMITS.max_pixels
        if small:
            return decode(data)
    except Exception:  # noqa: BLE001, S110 - decoders raise anything; the reason follows
        pass
    inspect(data, _LIMITS.max_pixels)
    return decode(data)
