"""What came with an image: alt text, title, key words, place."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from captioning.foreign import looks_foreign
from captioning.language import Language, clean_text, count_letters, language_of
from captioning.quotes import strip_quotations

_TITLES = ("title", "page_title", "headline")
_KEYWORDS = ("keywords", "tags", "labels", "label", "category", "subject")
_PLACES = ("place", "location", "city", "country")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>")
_NOT_PROSE = re.compile(r"^(\S+\.(jpe?g|png|webp|gif|bmp|tiff?|avif)|https?://\S+)$", re.IGNORECASE)
_MOST_KEYWORDS = 12
_LONGEST = 1000


@dataclass(frozen=True)
class Given:
    """A text that came with an image, not read from it.

    Args:
        text: The text, on one line, without mark-up.
        language: Its language.
    """

    text: str
    language: Language


@dataclass(frozen=True)
class Metadata:
    """What is known of an image beside its pixels.

    Args:
        alt: Alt text or caption.
        title: Title of the page or of the image.
        keywords: Key words, without repeats.
        place: Where it was taken, as given.
    """

    alt: Given | None = None
    title: Given | None = None
    keywords: tuple[Given, ...] = ()
    place: Given | None = None


def read_metadata(
    alt_text: str | None = None, alt_language: Language | None = None, meta: str | None = None
) -> Metadata:
    """Make out what captions can use.

    Args:
        alt_text: The alt text; file names and addresses are no alt text.
        alt_language: Its language where known; else by its letters.
        meta: Everything else, as a JSON object; the keys ``title``, ``page_title``,
            ``headline``, ``keywords``, ``tags``, ``labels``, ``label``, ``category``,
            ``subject``, ``place``, ``location``, ``city`` and ``country`` are used.

    Returns:
        What was found; a title that only repeats the alt text is left out.
    """
    fields = _json_object(meta)
    alt = _given(alt_text, alt_language)
    title = next(filter(None, (_given(fields.get(key)) for key in _TITLES)), None)
    if title and alt and title.text.casefold() in alt.text.casefold():
        title = None
    words = [word for key in _KEYWORDS for word in _split(fields.get(key))]
    places = [place for key in _PLACES if (place := _given(fields.get(key)))]
    keywords = tuple(_unique(filter(None, map(_given, words))))[:_MOST_KEYWORDS]
    return Metadata(alt, title, keywords, _joined(places))


def _json_object(meta: str | None) -> dict[str, Any]:
    if not meta:
        return {}
    try:
        value = json.loads(meta)
    except ValueError:
        return {}
    return {str(k).lower(): v for k, v in value.items()} if isinstance(value, dict) else {}


def _given(value: object, language: Language | None = None) -> Given | None:
    if not isinstance(value, str):
        return None
    text = _unescaped(clean_text(_MARKUP.sub(" ", html.unescape(value))))
    letters = count_letters(text)
    if not (letters.latin or letters.han or letters.other) or _NOT_PROSE.match(text):
        return None
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1].rstrip() + "…"
    # A sentence is in the language of what it says, and not of what it quotes.
    said = strip_quotations(text)
    own = _prose_language(said) if said != text and _has_words(said) else None
    spoken = own or language or _prose_language(text)
    return Given(text, "other" if spoken == "en" and looks_foreign(said) else spoken)


def _unescaped(text: str) -> str:
    """Without the quotation marks that a CSV file put around it, and doubled inside (RFC 4180)."""
    if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1].replace('""', ""):
        return text[1:-1].replace('""', '"').strip()
    return text


def _has_words(text: str) -> bool:
    letters = count_letters(text)
    return letters.latin_words + letters.han >= 2


def _prose_language(text: str) -> Language:
    """As for a line, but a few accents (café, Müller) do not make a text foreign."""
    letters = count_letters(text)
    if letters.other > letters.latin + letters.han:
        return "other"
    accents = sum(c.isalpha() and not c.isascii() for c in text)
    if letters.han < letters.latin_words and accents <= 0.05 * letters.latin:
        return "en"
    return language_of(text)


def _split(value: object) -> list[str]:
    if isinstance(value, str):
        return re.split(r"[,，;；、]", value)
    if isinstance(value, list):
        return [entry for entry in value if isinstance(entry, str)]
    return []


def _unique(words: Iterable[Given | None]) -> list[Given]:
    return list({word.text.casefold(): word for word in words if word}.values())


def _joined(places: list[Given]) -> Given | None:
    if not places:
        return None
    places = _unique(places)
    return Given(", ".join(place.text for place in places), places[0].language)
