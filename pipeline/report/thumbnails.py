"""Thumbnails as data URIs, within a limit on the size of the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

from PIL import Image

from pipeline.report.tables import Row, Tables
from stages.contract import ItemError
from stages.images import IMAGE_COLUMNS, ImageReader, decode
from stages.storage import Storage

#: Most bytes of thumbnails in a page, as base64; the page stays below 20 MB with them.
LIMIT_BYTES = 16_000_000
#: Captioned examples are shown larger, so that the boxes of small text can be told apart.
LARGE = 2.5
_QUALITY = 76
_THREADS = 4


@dataclass(frozen=True)
class Thumbnail:
    """An image made small.

    Args:
        uri: ``data:`` URI of a WebP file, or empty where there is none.
        note: Why there is none.
    """

    uri: str
    note: str = ""


#: By item id and whether it is the large one.
Thumbnails = dict[tuple[int, bool], Thumbnail]


def make_thumbnails(
    tables: Tables, storage: Storage, audit: dict[str, Any], pixels: int, limit: int = LIMIT_BYTES
) -> Thumbnails:
    """Thumbnails of all images that the audit lists.

    Args:
        tables: Where to find the images.
        storage: Where uris are resolved.
        audit: The facts.
        pixels: Longest side of a small one.
        limit: Most bytes of all data URIs together; images beyond it get a note instead.

    Returns:
        One per image and size, with a note where the image cannot be read.
    """
    wanted = list(dict.fromkeys(shown(audit)))
    rows = _places(tables, sorted({identifier for identifier, _ in wanted}))
    found: Thumbnails = {}
    left = limit
    with ImageReader(storage) as reader, ThreadPoolExecutor(_THREADS) as pool:

        def make(key: tuple[int, bool]) -> Thumbnail:
            side = round(pixels * LARGE) if key[1] else pixels
            return _thumbnail(reader, rows[key[0]], side)

        # In blocks: work stops soon after the limit, and full-size images do not pile up.
        for start in range(0, len(wanted), 4 * _THREADS):
            block = wanted[start : start + 4 * _THREADS]
            if left <= 0:
                found.update(dict.fromkeys(block, _BEYOND))
                continue
            for key, thumbnail in zip(block, pool.map(make, block), strict=True):
                left -= len(thumbnail.uri)
                found[key] = thumbnail if left > 0 else _BEYOND
    return found


_BEYOND = Thumbnail("", "left out to keep the page small")


def shown(audit: dict[str, Any]) -> Iterator[tuple[int, bool]]:
    """Item ids of the images that the page shows, in its order, and whether they are large."""
    duplicates = audit["duplicates"] or {}
    filters = (audit["filter"] or {}).get("clauses", [])
    captions = audit["captions"] or {}
    small = chain(
        chain.from_iterable([g["kept"], *g["members"]] for g in duplicates.get("largest", [])),
        chain.from_iterable([p["kept"], p["removed"]] for p in duplicates.get("borderline", [])),
        chain.from_iterable(p["pair"] for p in duplicates.get("closest_kept", [])),
        chain.from_iterable(f["dropped_examples"] + f["passed_examples"] for f in filters),
        chain.from_iterable(flag["examples"] for flag in captions.get("flags", [])),
        chain.from_iterable(p["pair"] for p in (audit.get("pairs") or {}).get("examples", [])),
    )
    # Few and most telling, so they come before the limit can cut them.
    yield from ((each["item_id"], True) for each in captions.get("examples", []))
    yield from ((each["item_id"], False) for each in small)


def _places(tables: Tables, identifiers: list[int]) -> dict[int, Row]:
    columns = ", ".join(["item_id", *(f'"{name}"' for name in IMAGE_COLUMNS)])
    statement = f"SELECT {columns} FROM items WHERE item_id IN (SELECT unnest(?::BIGINT[]))"  # noqa: S608
    return {row["item_id"]: row for row in tables.rows(statement, identifiers)}


def _thumbnail(reader: ImageReader, row: Row, side: int) -> Thumbnail:
    try:
        image = decode(reader.read(row))
    except (ItemError, OSError):
        # The tables are what is audited; a source that is gone must not take the report along.
        return Thumbnail("", "cannot be read now")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    sink = io.BytesIO()
    image.save(sink, "WEBP", quality=_QUALITY, method=4)
    return Thumbnail("data:image/webp;base64," + base64.b64encode(sink.getvalue()).decode())
