"""Putting texts between quotation marks without touching them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from captioning.caption import CaptionLanguage

_MARKS: dict[CaptionLanguage, tuple[tuple[str, str], ...]] = {
    "en": (("“", "”"), ('"', '"'), ("‘", "’"), ("«", "»"), ("「", "」")),
    "zh": (("“", "”"), ("「", "」"), ("『", "』"), ('"', '"'), ("«", "»")),
}
_QUOTED = re.compile(
    r"“[^”]*”+|「.*?」|『.*?』|«.*?»|(?<!\w)\"[^\"]*\"(?!\w)|(?<!\w)‘.*?’(?!\w)",
    re.DOTALL,
)


def quote(text: str, language: CaptionLanguage) -> str:
    """Put a text between marks that do not occur in it; the text stays as it is.

    A text that holds every kind of mark is fenced with more curly marks in a row than it
    holds itself.
    """
    for opening, closing in _MARKS[language]:
        if opening not in text and closing not in text:
            return f"{opening}{text}{closing}"
    runs = [sum(1 for _ in run) for mark, run in groupby(text) if mark in "“”"]
    fence = max(runs, default=0) + 1
    return f"{'“' * fence}{text}{'”' * fence}"


def quotations(text: str) -> list[str]:
    """What a text quotes, without the marks, in order."""
    return [found.strip('“”「」『』«»"‘’').strip() for found in _QUOTED.findall(text)]


def strip_quotations(text: str, known: Sequence[str] = ()) -> str:
    """A text without what it quotes.

    Args:
        text: The text.
        known: Texts that count as quoted wherever they stand.
    """
    for quoted in sorted(known, key=len, reverse=True):
        text = text.replace(quoted, " ")
    return _QUOTED.sub(" ", text)
