"""Captions and metadata that come with images: decoding, cleaning, language."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

CAPTION_NAMES = ("caption", "text", "alt_text", "alt", "captions", "texts")

#: A single value of metadata that is longer than this as JSON is named, not copied.
VALUE_LIMIT = 16_384

_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def decode_text(data: bytes) -> str:
    """Text from a sidecar: UTF-8, or UTF-16 with its byte order mark.

    Bytes that are neither become U+FFFD: a caption with one bad byte is still a caption.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    return data.decode("utf-8", errors="replace")


def clean_text(text: str) -> str:
    """Text that every table, file and terminal can hold: no lone surrogates, no NUL."""
    text = text.replace("\x00", "")
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")


def caption_of(text: object) -> str | None:
    """A caption as stored: stripped; none where nothing is left or it is no text."""
    if not isinstance(text, str):
        return None
    return clean_text(text).strip() or None


def take_caption(values: dict[str, Any], name: str | None = None) -> str | None:
    """Take the caption out of metadata.

    A list of captions gives its first; the others stay in ``values``.

    Args:
        values: Metadata by name; loses what is taken.
        name: Its name; found by the usual names where not given.
    """
    names = [name] if name is not None else find_names(values, CAPTION_NAMES)
    for candidate in names:
        value = values.get(candidate)
        if isinstance(value, list):
            first, rest = caption_of(value[0] if value else None), value[1:]
        else:
            first, rest = caption_of(value), []
        if first is not None:
            del values[candidate]
            if rest:
                values[candidate] = rest
            return first
    return None


def find_names(names: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Those of ``names`` that are wanted, whatever their case, in the order of ``wanted``."""
    by_lower: dict[str, str] = {}
    for name in names:
        by_lower.setdefault(name.lower(), name)
    return [by_lower[name] for name in wanted if name in by_lower]


def to_meta(values: Mapping[str, Any]) -> str | None:
    """Metadata as a JSON object; none where there is nothing to say.

    Values that JSON lacks become text, NaN and infinity null. A value that is longer than
    ``VALUE_LIMIT``, or nested too deeply, is left out and named under ``_left_out``.
    """
    kept: dict[str, Any] = {}
    left_out: list[str] = []
    for name, value in values.items():
        if value is None:
            continue
        try:
            plain = _plain(value)
            fits = len(_dumps(plain)) <= VALUE_LIMIT
        except RecursionError:
            fits = False
        if fits:
            kept[clean_text(name)] = plain
        else:
            left_out.append(clean_text(name))
    if left_out:
        kept["_left_out"] = left_out
    return _dumps(kept) if kept else None


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _plain(value: object) -> Any:  # noqa: ANN401 - any JSON value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {clean_text(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    return clean_text(str(value))


def parse_json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """A JSON value from hostile text.

    Raises:
        ValueError: If it is not JSON, or nested deeper than can be read.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def caption_language(text: str | None, language: str) -> str | None:
    """The language a source says its captions have, or for ``auto`` that of the script."""
    return language if text and language != "auto" else language_of(text)


def language_of(text: str | None) -> str | None:
    """The language of a caption by its script: ``en``, ``zh`` or ``other``.

    A Han character carries about as much as a Latin word, so they are counted against each
    other. Kana or Hangul make a text ``other``, and so do Latin texts in which one letter
    in twenty has a diacritic. It cannot tell English from Dutch or Malay.
    """
    if not text:
        return None
    han = kana = accents = latin = foreign = words = 0
    inside = False
    for char in text:
        script = _script(char)
        han += script == "han"
        kana += script == "kana"
        foreign += script == "foreign"
        is_latin = script in {"ascii", "accent"}
        latin += is_latin
        accents += script == "accent"
        words += is_latin and not inside
        inside = is_latin or (inside and char in "'’-")
    if kana > 0 and kana * 10 >= han + kana:
        return "other"
    if han > 0 and han >= words and han >= foreign:
        return "zh"
    if latin > 0 and latin >= foreign and accents * 20 < latin:
        return "en"
    return "other"


def _script(char: str) -> str:
    if char.isascii():
        return "ascii" if char.isalpha() else "none"
    code = ord(char)
    if 0x3400 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x3FFFF:
        return "han"
    if 0x3040 <= code <= 0x30FF or 0xAC00 <= code <= 0xD7AF or 0x1100 <= code <= 0x11FF:
        return "kana"
    if not char.isalpha():
        return "none"
    return "accent" if unicodedata.name(char, "").startswith("LATIN") else "foreign"
