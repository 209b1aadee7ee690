"""Saying in one language what a text in the other mentions, without a translator.

A list of everyday things and of places, English and Chinese side by side. What is not in it
is not said: a word left out is no error, a wrong one is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from captioning.caption import CaptionLanguage

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_ARTICLE = re.compile(r"^(?:an?|the) ")
#: A noun that one of these follows is a noun by itself, and not part of a compound (dog food).
_FOLLOWING = (
    "in on at with and or is are was were has have of by near next to from for that who which as "
    "into over under behind beside around along across through during while after before up down "
    "inside outside above below against between being the a an his her its their walk walks run "
    "runs sit sits stand stands lie lies play plays hold holds wear wears ride rides eat eats "
    "look looks cuts cut pose poses stare stares"
)
_AFTER = frozenset(_FOLLOWING.split())
#: Compounds whose last word means something else.
_BEFORE = frozenset({"hot", "guinea", "sea", "prairie", "teddy", "toy", "paper", "key", "video"})


@dataclass(frozen=True)
class Thing:
    """Something that captions name.

    Args:
        en: English, as it stands in a sentence: ``a dog``, ``snow``.
        zh: Chinese.
    """

    en: str
    zh: str

    def name(self, language: CaptionLanguage) -> str:
        """Its name in a sentence."""
        return self.en if language == "en" else self.zh

    def word(self, language: CaptionLanguage) -> str:
        """Its name as a tag, without an article."""
        return _ARTICLE.sub("", self.en) if language == "en" else self.zh


@dataclass(frozen=True)
class _Glossary:
    english: Mapping[tuple[str, ...], Thing]
    chinese: Mapping[str, Thing]
    places: Sequence[tuple[str, str]]


def mentioned(text: str, language: CaptionLanguage) -> list[Thing]:
    """The things that a text names, in order and without repeats.

    English words count where nothing suggests that they are part of a name or of a compound;
    Chinese ones wherever their characters stand.

    Args:
        text: The text.
        language: Its language.
    """
    found = _in_english(text) if language == "en" else _in_chinese(text)
    return list(dict.fromkeys(found))


def thing(word: str, language: CaptionLanguage) -> Thing | None:
    """What a single key word names; ``None`` where the list does not know it."""
    known = _glossary()
    if language == "en":
        return known.english.get(tuple(_ARTICLE.sub("", word.casefold()).split()))
    found = known.chinese.get(word)
    return found or next((each for each in known.chinese.values() if each.zh == word), None)


def place_name(place: str, language: CaptionLanguage) -> str | None:
    """A place, its parts from the smallest to the largest with commas between, in a language.

    Returns:
        Such as ``Hangzhou, China`` or ``中国杭州``; ``None`` where a part is not in the list.
    """
    parts = [part.strip() for part in re.split("[,，]", place) if part.strip()]
    names = [_place(part, language) for part in parts]
    known = [name for name in names if name is not None]
    if not known or len(known) < len(names):
        return None
    return ", ".join(known) if language == "en" else "".join(reversed(known))


def place_names(text: str) -> list[str]:
    """The places that a text names in either language, in the other one."""
    found = []
    for en, zh in _glossary().places:
        if en in text and re.search(rf"\b{re.escape(en)}\b", text):
            found.append(zh)
        if zh in text:
            found.append(en)
    return found


def _place(part: str, language: CaptionLanguage) -> str | None:
    for en, zh in _glossary().places:
        if part.casefold() == en.casefold() or part == zh:
            return en if language == "en" else zh
    return None


def _in_english(text: str) -> list[Thing]:
    known = _glossary().english
    words = list(_WORD.finditer(text))
    found: list[Thing] = []
    place = 0
    while place < len(words):
        size = next(
            (n for n in (2, 1) if len(words) - place >= n and _form(words, place, n) in known), 0
        )
        if size and _alone(text, words, place, size):
            found.append(known[_form(words, place, size)])
        place += max(1, size)
    return found


def _form(words: Sequence[re.Match[str]], place: int, size: int) -> tuple[str, ...]:
    return tuple(word[0].casefold() for word in words[place : place + size])


def _alone(text: str, words: Sequence[re.Match[str]], place: int, size: int) -> bool:
    """Whether words stand by themselves: in no name, and in no compound."""
    first, last = words[place], words[place + size - 1]
    if place and first[0][0].isupper():
        return False
    if place and words[place - 1][0].casefold() in _BEFORE:
        return False
    following = words[place + size] if place + size < len(words) else None
    if following is None or text[last.end() : following.start()].strip():
        return True
    word = following[0].casefold()
    return word in _AFTER or word.endswith(("ing", "ed"))


def _in_chinese(text: str) -> list[Thing]:
    known = _glossary().chinese
    places = [(text.find(form), -len(form), form) for form in known if form in text]
    return [known[form] for _, _, form in sorted(places)]


@lru_cache(maxsize=1)
def _glossary() -> _Glossary:
    english: dict[tuple[str, ...], Thing] = {}
    chinese: dict[str, Thing] = {}
    places: list[tuple[str, str]] = []
    for line in (files("captioning") / "glossary.txt").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        first, *others = line.split("\t")
        if first == "place":
            places.append((others[0], others[1]))
            continue
        named = Thing(first, others[0])
        english |= {tuple(form.split()): named for form in others[1].split(",")}
        chinese |= dict.fromkeys(others[2].split(","), named)
    return _Glossary(english, chinese, places)
