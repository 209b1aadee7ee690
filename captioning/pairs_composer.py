"""Instructions without a model: the differences found, put into plain words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from captioning.caption import CaptionLanguage
from captioning.pairs_chain import Difference, PairRequest, PairText
from captioning.pairs_differences import find_differences
from captioning.quotes import quote
from captioning.rendered import PLACES

_CHINESE_COLOURS = {
    "black": "黑色",
    "grey": "灰色",
    "white": "白色",
    "red": "红色",
    "orange": "橙色",
    "yellow": "黄色",
    "green": "绿色",
    "turquoise": "青绿色",
    "blue": "蓝色",
    "purple": "紫色",
    "pink": "粉色",
    "brown": "棕色",
    "beige": "米色",
}
_SHAPES = {
    "square": ("square", "正方形"),
    "landscape": ("landscape format", "横幅"),
    "portrait": ("portrait format", "竖幅"),
    "wide": ("a wide format", "宽幅"),
    "tall": ("a tall, narrow format", "窄长的竖幅"),
}
_PLAIN = {
    "mirrored": ("mirror the image left to right", "将画面左右翻转"),
    "turned_over": ("turn the image upside down", "将画面旋转一百八十度"),
    "turned_right": ("turn the image a quarter to the right", "将画面顺时针旋转九十度"),
    "turned_left": ("turn the image a quarter to the left", "将画面逆时针旋转九十度"),
    "moved_left": ("shift what the image shows to the left", "将画面内容向左移动"),
    "moved_right": ("shift what the image shows to the right", "将画面内容向右移动"),
    "moved_up": ("shift what the image shows upwards", "将画面内容向上移动"),
    "moved_down": ("shift what the image shows downwards", "将画面内容向下移动"),
    "brighter": ("make the image brighter", "将画面调亮"),
    "darker": ("make the image darker", "将画面调暗"),
    "more_contrast": ("raise the contrast", "提高对比度"),
    "less_contrast": ("lower the contrast", "降低对比度"),
    "made_grey": ("make the image black and white", "将画面改为黑白"),
    "coloured": ("give the image colour", "将画面改为彩色"),
    "more_vivid": ("make the colours more vivid", "让色彩更鲜艳"),
    "paler": ("make the colours paler", "让色彩更淡"),
    "warmer": ("make the colours warmer", "让色调更暖"),
    "cooler": ("make the colours cooler", "让色调更冷"),
    "sharper": ("make the image sharper", "让画面更清晰"),
    "blurred": ("make the image softer", "让画面更柔和模糊"),
    "other_picture": ("show a similar subject in another picture", "换一张内容相近的画面"),
}
_NOTHING = {"en": "Keep the image as it is.", "zh": "保持画面不变。"}


class PairComposer:
    """Finds differences by comparing pixels and lines of text, and words them.

    What it says is true of the images as far as they were read; what they show it cannot
    know.
    """

    @property
    def name(self) -> str:
        """What the ``backend`` column says."""
        return "composer"

    def write(self, request: PairRequest) -> PairText:
        """Write the instruction of a pair; see ``PairWriter``."""
        found = find_differences(request.source, request.target)
        return PairText(word_differences(found, "en"), word_differences(found, "zh"), found)


def word_differences(differences: Sequence[Difference], language: CaptionLanguage) -> str:
    """One sentence that asks for all the differences."""
    parts = [_WORDS[language](each) for each in differences]
    if not parts:
        return _NOTHING[language]
    if language == "zh":
        return f"请{'，'.join(parts)}。"
    joined = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}, and {parts[-1]}"
    return f"{joined[0].upper()}{joined[1:]}."


def _english(one: Difference) -> str:
    if one.what in _PLAIN:
        return _PLAIN[one.what][0]
    place = f" at the {one.place}" if one.place else ""
    before, after = one.before or "", one.after or ""
    words: dict[str, Callable[[], str]] = {
        "text_changed": lambda: f"change the text {quote(before, 'en')} to {quote(after, 'en')}",
        "text_added": lambda: f"add the text {quote(after, 'en')}{place}",
        "text_removed": lambda: f"remove the text {quote(before, 'en')}{place}",
        "background": lambda: f"change the background from {before} to {after}",
        "format": lambda: f"change the format from {_shape(before, 0)} to {_shape(after, 0)}",
        "colours": lambda: f"use mainly {_and(after)} in place of {_and(before)}",
        "recoloured": lambda: f"change what is {before}{place} to {after}",
        "changed": lambda: f"change the part{place}",
    }
    return words[one.what]()


def _chinese(one: Difference) -> str:
    if one.what in _PLAIN:
        return _PLAIN[one.what][1]
    place = PLACES[one.place][0] if one.place else ""
    before, after = one.before or "", one.after or ""
    words: dict[str, Callable[[], str]] = {
        "text_changed": lambda: f"将文字{quote(before, 'zh')}改为{quote(after, 'zh')}",
        "text_added": lambda: f"在{place}加上文字{quote(after, 'zh')}",
        "text_removed": lambda: f"去掉{place}的文字{quote(before, 'zh')}",
        "background": lambda: f"将背景从{_colours(before)}改为{_colours(after)}",
        "format": lambda: f"将画幅从{_shape(before, 1)}改为{_shape(after, 1)}",
        "colours": lambda: f"将主要颜色从{_colours(before)}改为{_colours(after)}",
        "recoloured": lambda: f"将{place}的{_colours(before)}部分改为{_colours(after)}",
        "changed": lambda: f"修改{place}的内容",
    }
    return words[one.what]()


_WORDS: dict[CaptionLanguage, Callable[[Difference], str]] = {"en": _english, "zh": _chinese}


def _shape(name: str, language: int) -> str:
    return _SHAPES[name][language]


def _and(names: str) -> str:
    *others, last = names.split("/")
    return f"{', '.join(others)} and {last}" if others else last


def _colours(names: str) -> str:
    return "、".join(_CHINESE_COLOURS[name] for name in names.split("/"))
