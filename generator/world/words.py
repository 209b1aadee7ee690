"""Captions of scenes in English and Chinese, and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from generator.world.scene import Background, Colour, Group, Place, Scene, Shape

Language = Literal["en", "zh"]
Kind = Literal["plain", "sentence", "background", "picture"]

LANGUAGES: tuple[Language, ...] = ("en", "zh")
#: Ways to put it: words alone, a sentence, the background first, as a picture of something.
KINDS: tuple[Kind, ...] = ("plain", "sentence", "background", "picture")

_PLACES: dict[Place, tuple[str, str]] = {
    "left": ("on the left", "左边"),
    "right": ("on the right", "右边"),
    "top": ("at the top", "上方"),
    "bottom": ("at the bottom", "下方"),
    "centre": ("in the centre", "中间"),
}
_SHAPES: dict[Shape, tuple[str, str]] = {
    "circle": ("circle", "圆形"),
    "square": ("square", "正方形"),
    "triangle": ("triangle", "三角形"),
    "star": ("star", "五角星"),
    "cross": ("cross", "十字形"),
}
_COLOURS: dict[Colour, tuple[str, str]] = {
    "red": ("red", "红色"),
    "green": ("green", "绿色"),
    "blue": ("blue", "蓝色"),
    "yellow": ("yellow", "黄色"),
    "purple": ("purple", "紫色"),
    "cyan": ("cyan", "青色"),
}
_BACKGROUNDS: dict[Background, tuple[str, str]] = {
    "white": ("white", "白色"),
    "black": ("black", "黑色"),
    "grey": ("grey", "灰色"),
    "brown": ("brown", "棕色"),
}
_NUMBERS = {1: ("a", "一个"), 2: ("two", "两个"), 3: ("three", "三个")}
_SIZES = {"large": ("large", "大的"), "small": ("small", "小的")}


def caption(
    scene: Scene, language: Language = "en", kind: Kind | None = None, seed: int = 0
) -> str:
    """A caption that says all there is to say.

    Args:
        scene: Any.
        language: Of the caption.
        kind: How it is put; ``None``: the seed decides.
        seed: At least 0.

    Returns:
        One sentence, or words; in English 115 characters at most, in Chinese 45.

    Raises:
        ValueError: If language or kind are not known.
    """
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {', '.join(LANGUAGES)}, got {language!r}")
    if kind is None:
        kind = KINDS[int(np.random.default_rng((seed, 0x434150)).integers(len(KINDS)))]
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    return _english(scene, kind) if language == "en" else _chinese(scene, kind)


def _english(scene: Scene, kind: Kind) -> str:
    things = " and ".join(_english_group(group) for group in scene.groups)
    background = _BACKGROUNDS[scene.background][0]
    if kind == "plain":
        return f"{things}, {background} background"
    if kind == "sentence":
        verb = "is" if scene.groups[0].count == 1 else "are"
        return f"There {verb} {things}, on a {background} background."
    if kind == "background":
        return f"On a {background} background, {things}."
    return f"A picture of {things}, with a {background} background."


def _english_group(group: Group) -> str:
    size = f"{_SIZES[group.size][0]} " if group.count == 1 else ""
    shape = _SHAPES[group.shape][0]
    plural = "" if group.count == 1 else "es" if shape.endswith("s") else "s"
    words = f"{size}{_COLOURS[group.colour][0]} {shape}{plural}"
    return f"{_NUMBERS[group.count][0]} {words} {_PLACES[group.place][0]}"


def _chinese(scene: Scene, kind: Kind) -> str:
    verb = "是" if kind == "background" else "有"
    things = "，".join(_chinese_group(group, verb) for group in scene.groups)
    background = f"{_BACKGROUNDS[scene.background][1]}背景"
    if kind == "plain":
        return f"{things}，{background}"
    if kind == "sentence":
        return f"可以看到{things}，画面为{background}。"
    if kind == "background":
        return f"{background}上，{things}。"
    return f"一张{background}的图片，{things}。"


def _chinese_group(group: Group, verb: str) -> str:
    size = _SIZES[group.size][1] if group.count == 1 else ""
    words = f"{size}{_COLOURS[group.colour][1]}{_SHAPES[group.shape][1]}"
    return f"{_PLACES[group.place][1]}{verb}{_NUMBERS[group.count][1]}{words}"


def parse(text: str) -> Scene:
    """The scene that a caption describes; more may stand behind it, as in ``..., warm tones``.

    Args:
        text: In English or Chinese, in any of the kinds; case does not matter.

    Raises:
        ValueError: If it names no group, or not one background, or describes no scene.
    """
    for language, pattern, background in (
        (0, _ENGLISH, _ENGLISH_BACKGROUND),
        (1, _CHINESE, _CHINESE_BACKGROUND),
    ):
        groups = [_group(found.groupdict(), language) for found in pattern.finditer(text.lower())]
        if groups:
            named = {found["background"] for found in background.finditer(text.lower())}
            if len(named) != 1:
                raise ValueError(f"a caption must name one background, got {text!r}")
            return Scene(tuple(groups), _key(_BACKGROUNDS, named.pop(), language))
    raise ValueError(f"a caption must name a shape with its number, colour and place, got {text!r}")


def _group(words: dict[str, str | None], language: int) -> Group:
    count: int = _key(_NUMBERS, words["number"], language)
    given = words["size"]
    if count == 1 and given is None:
        raise ValueError("a caption must say whether a single object is large or small")
    return Group(
        shape=_key(_SHAPES, words["shape"], language),
        colour=_key(_COLOURS, words["colour"], language),
        count=count,
        place=_key(_PLACES, words["place"], language),
        size="small" if given is None else _key(_SIZES, given, language),
    )


def _key(names: dict[Any, tuple[str, str]], word: str | None, language: int) -> Any:  # noqa: ANN401
    return next(key for key, pair in names.items() if pair[language] == word)


def _any(name: str, words: dict[Any, tuple[str, str]], language: int) -> str:
    options: Sequence[str] = [pair[language] for pair in words.values()]
    return f"(?P<{name}>{'|'.join(options)})"


_ENGLISH = re.compile(
    rf"\b{_any('number', _NUMBERS, 0)} (?:{_any('size', _SIZES, 0)} )?"
    rf"{_any('colour', _COLOURS, 0)} {_any('shape', _SHAPES, 0)}(?:e?s)? "
    rf"{_any('place', _PLACES, 0)}\b"
)
_ENGLISH_BACKGROUND = re.compile(rf"\b{_any('background', _BACKGROUNDS, 0)} background\b")
_CHINESE = re.compile(
    rf"{_any('place', _PLACES, 1)}[是有]{_any('number', _NUMBERS, 1)}"
    rf"(?:{_any('size', _SIZES, 1)})?{_any('colour', _COLOURS, 1)}{_any('shape', _SHAPES, 1)}"
)
_CHINESE_BACKGROUND = re.compile(rf"{_any('background', _BACKGROUNDS, 1)}背景")
