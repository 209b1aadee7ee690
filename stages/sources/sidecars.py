"""Files that describe an image: ``.txt`` and ``.caption`` hold a caption, ``.json`` metadata."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from stages.sources.base import extension
from stages.sources.texts import (
    caption_language,
    caption_of,
    clean_text,
    decode_text,
    parse_json,
    take_caption,
    to_meta,
)

#: A sidecar longer than this is named in the metadata, not read.
SIDECAR_LIMIT = 1 << 20


@dataclass(frozen=True)
class Description:
    """What sidecars say about an image: three columns of ``items``."""

    alt_text: str | None = None
    language: str | None = None
    meta: str | None = None


def describe(
    sidecars: Iterable[tuple[str, bytes | None]],
    language: Literal["auto", "en", "zh", "other"] = "auto",
) -> Description:
    """Put the sidecars of one image together.

    The caption is the first of the ``.txt``, the ``.caption`` and the ``.json`` that has
    one. All fields of the ``.json`` go into the metadata, then small text members of other
    extensions under their extension. A broken sidecar never costs the image: what was
    wrong with it stands under ``_sidecar_errors``.

    Args:
        sidecars: Extension (all after the first dot, such as ``cls``) and bytes of each;
            ``None`` where it is gone, unreadable or too long to read.
        language: The caption's language where the source knows it.
    """
    files = sorted(sidecars, key=lambda file: (_rank(file[0]), file[0]))
    captions: list[str] = []
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    fallback: str | None = None
    for name, data in files:
        kind = extension("." + name)
        if data is None:
            errors[name] = f"gone, unreadable or longer than {SIDECAR_LIMIT} bytes"
        elif kind in {"txt", "caption"}:
            captions.extend(filter(None, [caption_of(decode_text(data))]))
        elif kind == "json":
            fallback = _read_json(name, data, values, errors) or fallback
        else:
            _read_other(name, data, values, errors)
    alt_text = captions[0] if captions else fallback
    others = [text for text in dict.fromkeys(captions[1:]) if text != alt_text]
    if others:
        values["_other_captions"] = others
    if errors:
        values["_sidecar_errors"] = errors
    return Description(alt_text, caption_language(alt_text, language), to_meta(values))


def _rank(name: str) -> int:
    order = {"txt": 0, "caption": 1, "json": 2}
    return order.get(extension("." + name), 3)


def _read_json(
    name: str, data: bytes, values: dict[str, Any], errors: dict[str, str]
) -> str | None:
    try:
        parsed = parse_json(decode_text(data))
    except ValueError as error:
        errors[name] = f"not JSON: {error}"[:200]
        return None
    if isinstance(parsed, dict):
        values.update(parsed)
        # Taken from a copy: the metadata keeps the whole sidecar.
        return take_caption(dict(parsed))
    values[name] = parsed
    return caption_of(parsed)


def _read_other(name: str, data: bytes, values: dict[str, Any], errors: dict[str, str]) -> None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        errors[name] = f"{len(data)} bytes that are not text, left in the source"
        return
    values[name if name not in values else f".{name}"] = clean_text(text).strip()
