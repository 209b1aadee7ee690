"""Rows of Parquet tables and JSONL lists: which column is what, and where a path leads."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from stages.contract import Reason
from stages.sources.base import Candidate, SourceSettings, Unit
from stages.sources.listing import canonical
from stages.sources.texts import (
    CAPTION_NAMES,
    caption_language,
    clean_text,
    find_names,
    take_caption,
    to_meta,
)
from stages.storage import Storage

IMAGE_NAMES = ("image", "img", "bytes", "image_bytes", "jpg", "jpeg", "png", "webp", "picture")
PATH_NAMES = (
    *("path", "image_path", "file_path", "filepath", "file", "file_name", "filename"),
    *("image", "img", "uri", "url", "image_url"),
)
KEY_NAMES = ("key", "__key__", "image_id", "id", "uid")

_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*):")


@dataclass(frozen=True)
class Columns:
    """The names of the columns that mean something.

    Args:
        path: Holds the image's path; none where the image itself is in the table.
        caption: Holds the caption, or a list of them.
        key: Names the item.
    """

    path: str | None
    caption: str | None
    key: str | None


def choose_columns(names: Collection[str], settings: SourceSettings) -> Columns:
    """The configured columns, or those with the usual names."""

    def first(configured: str | None, usual: tuple[str, ...]) -> str | None:
        if configured is not None:
            return configured
        return next(iter(find_names(names, usual)), None)

    return Columns(
        path=first(settings.path_column, PATH_NAMES),
        caption=first(settings.caption_column, CAPTION_NAMES),
        key=first(settings.key_column, KEY_NAMES),
    )


def describe_record(
    base: Candidate, values: dict[str, Any], columns: Columns, settings: SourceSettings
) -> Candidate:
    """A candidate with what its record says: caption, key, and the rest as metadata.

    Args:
        base: The candidate with its place and a key to fall back on.
        values: The record; used up.
        columns: Which column is what.
        settings: The source.
    """
    key = values.pop(columns.key, None) if columns.key is not None else None
    alt_text = take_caption(values, columns.caption) if columns.caption is not None else None
    return replace(
        base,
        key=base.key if key is None else clean_text(str(key)),
        alt_text=alt_text,
        language=caption_language(alt_text, settings.language),
        meta=to_meta(values),
    )


def locate_path(
    storage: Storage, path: object, unit: Unit, settings: SourceSettings, fallback: str
) -> Candidate:
    """The candidate for an image that a list names by its path.

    A relative path starts at ``settings.root``, or at the folder of the list.

    Args:
        storage: Where uris are resolved.
        path: What the record holds.
        unit: The piece of the list.
        settings: The source.
        fallback: A key where the path is no text.
    """
    if isinstance(path, dict):  # the Hugging Face form {"bytes": null, "path": "..."}
        path = path.get("path")
    if not isinstance(path, str) or not path.strip():
        detail = f"{unit.uri}: {fallback} names no image"
        return _failed(unit, fallback, Reason.NO_IMAGE, detail)
    path = clean_text(path.strip())
    scheme = _SCHEME.match(path)
    name = scheme.group(1).lower() if scheme and len(scheme.group(1)) > 1 else ""
    if name in {"http", "https", "ftp", "data"}:
        detail = (
            f"{path[:200]} is on the web: download first, for example with img2dataset, and "
            "give the result as the source"
        )
        if name == "data":
            detail = "an image inside a data: uri: write the list as Parquet with bytes instead"
        return _failed(unit, path[:200], Reason.UNSUPPORTED, detail)
    if "://" in path or path.startswith("/"):
        uri = path
    else:
        root = settings.root if settings.root is not None else posixpath.dirname(unit.uri)
        uri = f"{root.rstrip('/')}/{path}"
    return Candidate(uri=canonical(storage, uri), key=path, source=unit.source)


def _failed(unit: Unit, key: str, reason: Reason, detail: str) -> Candidate:
    return Candidate(
        uri=unit.uri,
        key=key,
        source=unit.source,
        error_reason=reason.value,
        error_detail=detail,
    )
