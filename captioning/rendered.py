"""Rendered texts with exact truth: what an image says, in which font, colour, size, place.

Two images of which only some of these differ are an editing pair whose instruction is
known, not guessed: every value stands in it, so it can be carried out to the pixel (the
controllable text rendering of Z-Image, arXiv:2511.22699, section 2.5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from captioning.caption import CaptionLanguage

Attribute = Literal["content", "font", "colour", "size", "position"]
RGB = tuple[int, int, int]

ATTRIBUTES: tuple[Attribute, ...] = ("content", "font", "colour", "size", "position")

#: Colours by name: what they are in Chinese, and in sRGB.
COLOURS: dict[str, tuple[str, RGB]] = {
    "black": ("黑色", (20, 20, 24)),
    "white": ("白色", (255, 255, 255)),
    "red": ("红色", (214, 40, 40)),
    "orange": ("橙色", (240, 130, 20)),
    "yellow": ("黄色", (250, 214, 40)),
    "green": ("绿色", (30, 140, 70)),
    "turquoise": ("青绿色", (30, 170, 170)),
    "blue": ("蓝色", (30, 80, 200)),
    "purple": ("紫色", (120, 50, 160)),
    "pink": ("粉色", (240, 140, 180)),
    "brown": ("棕色", (120, 72, 36)),
    "grey": ("灰色", (128, 128, 132)),
}
#: Places by name: what they are in Chinese, and their column and row of three by three.
PLACES: dict[str, tuple[str, int, int]] = {
    "top left": ("左上角", 0, 0),
    "top centre": ("顶部中央", 1, 0),
    "top right": ("右上角", 2, 0),
    "centre left": ("左侧中部", 0, 1),
    "centre": ("正中央", 1, 1),
    "centre right": ("右侧中部", 2, 1),
    "bottom left": ("左下角", 0, 2),
    "bottom centre": ("底部中央", 1, 2),
    "bottom right": ("右下角", 2, 2),
}
_VERSION = 1


@dataclass(frozen=True)
class Text:
    """One line of text as drawn.

    Args:
        content: What it says.
        font: Name of its font.
        colour: Of ``COLOURS``.
        size: Of the font, in pixels.
        position: Of ``PLACES``.
        box: Colour of the frame around it; ``None`` for no frame.
    """

    content: str
    font: str
    colour: str
    size: int
    position: str
    box: str | None = None


@dataclass(frozen=True)
class Poster:
    """All that decides an image: the same values give the same pixels.

    Args:
        width: Pixels.
        height: Pixels.
        background: Of ``COLOURS``.
        texts: In the order in which they are drawn; versions of an image keep the order.
    """

    width: int
    height: int
    background: str
    texts: tuple[Text, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values, for metadata."""
        return {"version": _VERSION, **asdict(self), "texts": [asdict(t) for t in self.texts]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Poster:
        """The poster that ``to_json`` wrote down.

        Raises:
            ValueError: If it is none, or of another version.
        """
        try:
            if value["version"] != _VERSION:
                raise ValueError(f"version must be {_VERSION}, got {value['version']!r}")
            texts = tuple(Text(**each) for each in value["texts"])
            return cls(value["width"], value["height"], value["background"], texts)
        except (KeyError, TypeError) as error:
            raise ValueError(f"no rendered text: {error}") from error


def changes(source: Poster, target: Poster) -> list[tuple[int, Attribute]]:
    """What differs: which text, by its number, and in what.

    Raises:
        ValueError: If the two are not versions of one image.
    """
    frames = [(p.width, p.height, p.background, [t.box for t in p.texts]) for p in (source, target)]
    if frames[0] != frames[1]:
        raise ValueError(
            "the posters differ in size, background, frames or number of texts, so no "
            "instruction on their texts leads from one to the other"
        )
    return [
        (number, attribute)
        for number, (old, new) in enumerate(zip(source.texts, target.texts, strict=True))
        for attribute in ATTRIBUTES
        if getattr(old, attribute) != getattr(new, attribute)
    ]


def instruct(source: Poster, target: Poster, language: CaptionLanguage) -> str:
    """The exact instruction that turns one version into the other.

    One sentence per text that changes. A text is named by the colour of its frame, or else
    by what it says. Old and new value of every attribute that changes are given.

    Raises:
        ValueError: If the two are not versions of one image, are equal, or if a text without
            a frame says the same as another.
    """
    by_text: dict[int, list[Attribute]] = {}
    for number, attribute in changes(source, target):
        by_text.setdefault(number, []).append(attribute)
    if not by_text:
        raise ValueError("the posters are equal: there is nothing to instruct")
    sentences = []
    for number, attributes in by_text.items():
        old, new = source.texts[number], target.texts[number]
        head = _named(source, number, language)
        parts = [_part(language, a, getattr(old, a), getattr(new, a)) for a in attributes]
        sentences.append(_SENTENCE[language](head, parts))
    return (" " if language == "en" else "").join(sentences)


def _named(poster: Poster, number: int, language: CaptionLanguage) -> str:
    text = poster.texts[number]
    if text.box is not None:
        english = language == "en"
        return f"the text in the {text.box} box" if english else f"{COLOURS[text.box][0]}框内的文字"
    if sum(each.content == text.content for each in poster.texts) > 1:
        raise ValueError(f"two texts say {text.content!r}: give one a frame to tell them apart")
    return f"the text “{text.content}”" if language == "en" else f"文字“{text.content}”"


def _part(language: CaptionLanguage, attribute: Attribute, old: object, new: object) -> str:
    return _PARTS[language][attribute].format(
        *(_say(language, attribute, value) for value in (old, new))
    )


def _say(language: CaptionLanguage, attribute: Attribute, value: object) -> str:
    if language == "zh" and attribute == "colour":
        return COLOURS[str(value)][0]
    if language == "zh" and attribute == "position":
        return PLACES[str(value)][0]
    return str(value)


def _english(head: str, parts: list[str]) -> str:
    joined = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"For {head}, {joined}."


def _chinese(head: str, parts: list[str]) -> str:
    return f"对于{head}，{'，'.join(parts)}。"


_SENTENCE = {"en": _english, "zh": _chinese}
_PARTS: dict[CaptionLanguage, dict[Attribute, str]] = {
    "en": {
        "content": "change the wording from “{}” to “{}”",
        "font": "change the font from {} to {}",
        "colour": "change the colour from {} to {}",
        "size": "change the size from {} to {} pixels",
        "position": "move it from the {} to the {}",
    },
    "zh": {
        "content": "将内容从“{}”改为“{}”",
        "font": "将字体从{}改为{}",
        "colour": "将颜色从{}改为{}",
        "size": "将字号从{}像素改为{}像素",
        "position": "将其从{}移到{}",
    },
}


def carry_out(instruction: str, source: Poster, language: CaptionLanguage) -> Poster:
    """Do to a poster what an instruction of ``instruct`` says; its inverse.

    Raises:
        ValueError: If the instruction cannot be read, names a text that is not there, or
            gives an old value that is not the text's.
    """
    heads = {_named(source, number, language): number for number in range(len(source.texts))}
    texts = list(source.texts)
    at = 0
    pattern = _PATTERNS[language]
    while at < len(instruction):
        found = pattern.match(instruction, at)
        if found is None or found["head"] not in heads:
            raise ValueError(f"cannot be read from {instruction[at : at + 60]!r} on")
        number = heads[found["head"]]
        for attribute in ATTRIBUTES:
            old, new = found[f"old_{attribute}"], found[f"new_{attribute}"]
            if old is not None:
                texts[number] = _replaced(texts[number], language, attribute, old, new)
        at = found.end()
    return replace(source, texts=tuple(texts))


def _replaced(
    text: Text, language: CaptionLanguage, attribute: Attribute, old: str, new: str
) -> Text:
    if _say(language, attribute, getattr(text, attribute)) != old:
        raise ValueError(f"{attribute} is {getattr(text, attribute)!r}, not {old!r}")
    value: Any = int(new) if attribute == "size" else new
    if language == "zh" and attribute == "colour":
        value = next(name for name, (said, _) in COLOURS.items() if said == new)
    if language == "zh" and attribute == "position":
        value = next(name for name, (said, _, _) in PLACES.items() if said == new)
    return replace(text, **{attribute: value})


def _pattern(language: CaptionLanguage) -> re.Pattern[str]:
    """The sentences of ``instruct``: a head, then attributes in their order."""
    marker = "\x00"
    parts = []
    for attribute in ATTRIBUTES:
        said = re.escape(_PARTS[language][attribute].format(marker, marker))
        value = "[^”]*" if attribute == "content" else "[0-9]+" if attribute == "size" else ".+?"
        old, new = f"(?P<old_{attribute}>{value})", f"(?P<new_{attribute}>{value})"
        first, second, third = said.split(re.escape(marker))
        parts.append(f"(?:(?:{_BETWEEN[language]})?{first}{old}{second}{new}{third})?")
    head, end = _ENDS[language]
    return re.compile(f"{head}{''.join(parts)}{end}")


_BETWEEN: dict[CaptionLanguage, str] = {"en": ", | and ", "zh": "，"}
_ENDS: dict[CaptionLanguage, tuple[str, str]] = {
    "en": (r"For (?P<head>the text (?:“[^”]*”|in the \w+ box)), ", r"\.(?: |$)"),
    "zh": (r"对于(?P<head>文字“[^”]*”|\w+?框内的文字)，", "。"),
}
_PATTERNS = {language: _pattern(language) for language in _ENDS}


def describe(poster: Poster, language: CaptionLanguage) -> str:
    """A caption that says all there is to say of a poster."""
    texts = [_described(text, language) for text in poster.texts]
    if language == "en":
        return f"A {poster.background} image with {'; '.join(texts)}."
    return f"{COLOURS[poster.background][0]}背景的图片，{'；'.join(texts)}。"


def _described(text: Text, language: CaptionLanguage) -> str:
    if language == "en":
        frame = f", in a {text.box} box" if text.box else ""
        return (
            f"the text “{text.content}” in {text.colour} {text.font}, {text.size} pixels high, "
            f"at the {text.position}{frame}"
        )
    frame = f"，外有{COLOURS[text.box][0]}框" if text.box else ""
    return (
        f"{PLACES[text.position][0]}有{COLOURS[text.colour][0]}文字“{text.content}”，"
        f"字体为{text.font}，字号{text.size}像素{frame}"
    )


def poster_in(meta: str | None) -> Poster | None:
    """The truth that a rendered image carries in its metadata, under ``rendered``."""
    if not meta or '"rendered"' not in meta:
        return None
    try:
        return Poster.from_json(json.loads(meta)["rendered"])
    except (ValueError, KeyError, TypeError):
        return None
