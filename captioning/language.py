"""Which script and which language a piece of text is in, and how texts are compared."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

Script = Literal["latin", "han", "mixed", "other"]
Language = Literal["en", "zh", "other"]

_LATIN_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_BREAKS = re.compile(r"\s+")


@dataclass(frozen=True)
class Letters:
    """How many letters of each script a text has; digits and marks count for none.

    Args:
        latin: Latin letters.
        han: Han characters, Chinese or Japanese.
        other: Letters of any other script.
        latin_words: Runs of letters that are Latin throughout.
        ascii_only: Whether every Latin letter is one of a-z, A-Z.
    """

    latin: int
    han: int
    other: int
    latin_words: int
    ascii_only: bool


def count_letters(text: str) -> Letters:
    """Count the letters of a text by script; full-width letters are Latin ones."""
    text = unicodedata.normalize("NFKC", text)
    latin = han = other = 0
    ascii_only = True
    for character in text:
        if not unicodedata.category(character).startswith("L"):
            continue
        if is_han(character):
            han += 1
        elif unicodedata.name(character, "").startswith("LATIN"):
            latin += 1
            ascii_only = ascii_only and character.isascii()
        else:
            other += 1
    words = sum(not any(map(is_han, word)) for word in _LATIN_WORD.findall(text)) if latin else 0
    return Letters(latin, han, other, words, ascii_only)


def is_han(character: str) -> bool:
    """Whether a character is a Han character, of any of the Unicode blocks."""
    return unicodedata.name(character, "").startswith("CJK ")  # unified and compatibility


def script_of(text: str) -> Script:
    """The script of a text: ``latin``, ``han``, both (``mixed``), or ``other``.

    Any letter of a third script, and a text without letters, makes it ``other``.
    """
    letters = count_letters(text)
    if letters.other or not (letters.latin or letters.han):
        return "other"
    if letters.latin and letters.han:
        return "mixed"
    return "latin" if letters.latin else "han"


def language_of(text: str) -> Language:
    """The language of a short text, as far as its letters tell.

    Latin letters without accents are taken for English and Han characters for Chinese; a
    mixed text goes by the larger number of words, a Han character counting as one.
    """
    letters = count_letters(text)
    if letters.other or not (letters.latin or letters.han):
        return "other"
    if letters.han >= letters.latin_words:
        return "zh"
    return "en" if letters.ascii_only else "other"


def clean_text(text: str) -> str:
    """One line of text: no control characters, white space folded and stripped."""
    kept = (c for c in text if unicodedata.category(c) not in ("Cc", "Cs") or c.isspace())
    return _BREAKS.sub(" ", "".join(kept)).strip()


def normalise(text: str) -> str:
    """The form in which two texts are compared: NFKC, without any white space.

    NFKC folds full-width and half-width forms. White space goes because recognition
    neither keeps nor drops it reliably between Han characters.
    """
    return _BREAKS.sub("", unicodedata.normalize("NFKC", text))
