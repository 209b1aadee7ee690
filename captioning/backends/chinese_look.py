"""The look of an image, and the joints of sentences, in Chinese (simplified)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from captioning.composition import Look

COLOURS = {
    "black": "黑色",
    "grey": "灰色",
    "white": "白色",
    "red": "红色",
    "orange": "橙色",
    "yellow": "黄色",
    "green": "绿色",
    "turquoise": "青色",
    "blue": "蓝色",
    "purple": "紫色",
    "pink": "粉色",
    "brown": "棕色",
    "beige": "米色",
}
SHAPES = {
    "square": "方形",
    "landscape": "横版",
    "portrait": "竖版",
    "wide": "宽幅",
    "tall": "狭长的竖版",
}
TONES = {"dark": "偏暗", "bright": "明亮"}
_SIDES = {"top": "上部", "bottom": "下部", "left": "左侧", "right": "右侧", "middle": "中间"}
#: Least share of the image, and what it is called.
_SHARES = (
    *((0.9, "几乎占满整个画面"), (0.7, "约占画面的四分之三"), (0.58, "占画面的一半以上")),
    *((0.42, "约占一半"), (0.29, "约占三分之一"), (0.22, "约占四分之一")),
    *((0.16, "约占五分之一"), (0.0, "占一小部分")),
)
_STOPS = ("。", "！", "？", "!", "?", "…", "……")


def named(look: Look) -> str:
    """Such as: 一张横版图片，以棕色和灰色为主，带有少量红色，画面偏暗."""
    shape = SHAPES[look.shape]
    if look.plain:
        return f"一张纯{COLOURS[look.colours[0]]}的{shape}图片"
    if look.monochrome:
        clauses = [f"一张{shape}黑白图片"]
    else:
        clauses = [f"一张{shape}图片", _colours(look)]
        if look.accents:
            clauses.append(f"带有少量{listed([COLOURS[c] for c in look.accents])}")
    if look.tone:
        clauses.append(f"画面{TONES[look.tone]}")
    return "，".join(clauses)


def look_sentence(look: Look) -> str:
    """Such as: 这是一张横版图片，以棕色和灰色为主."""
    ground = look.background
    if look.plain or ground is None:
        return sentence(f"这是{named(look)}")
    if look.monochrome:
        return sentence(f"这是{named(look)}，背景为均匀的{COLOURS[ground]}")
    clauses = [f"这是一张{SHAPES[look.shape]}图片", f"背景为均匀的{COLOURS[ground]}"]
    others = [COLOURS[colour] for colour in look.colours if colour != ground]
    some = [COLOURS[colour] for colour in look.accents if colour != ground]
    clauses += [f"画面以{listed(others)}为主"] if others else []
    clauses += [f"带有少量{listed(some)}"] if some else []
    clauses += [f"整体{TONES[look.tone]}"] if look.tone else []
    return sentence("，".join(clauses))


def light_sentences(look: Look, *, shares: bool) -> list[str]:
    """What can be said of light, and of where the colours are.

    Args:
        look: The look of the image.
        shares: Whether to say how much of it each colour covers.
    """
    if look.plain:
        return []
    sentences = []
    clauses = []
    if look.halves and not look.monochrome:
        one, first, other, second = look.halves
        clauses.append(f"{_SIDES[one]}以{COLOURS[first]}为主")
        clauses.append(f"{_SIDES[other]}以{COLOURS[second]}为主")
    elif shares and not (look.monochrome or look.background or look.mixed):
        sentences.append(_share_sentence(look))
    if look.lightest and not look.background:
        clauses.append(f"{_SIDES[look.lightest]}最亮")
    return [*sentences, f"画面{'，'.join(clauses)}。"] if clauses else sentences


def _share_sentence(look: Look) -> str:
    """Such as: 其中灰色约占一半，黑色约占四分之一."""
    alike = groupby(zip(look.colours, look.shares, strict=True), key=lambda each: _share(each[1]))
    parts = []
    for share, pairs in alike:
        names = [COLOURS[colour] for colour, _ in pairs]
        parts.append(f"{listed(names)}{'各' if len(names) > 1 else ''}{share}")
    return f"其中{'，'.join(parts)}。"


def _share(share: float) -> str:
    return next(name for least, name in _SHARES if share >= least)


def _colours(look: Look) -> str:
    names = listed([COLOURS[colour] for colour in look.colours])
    return f"颜色多样，包括{names}" if look.mixed else f"以{names}为主"


def listed(words: Sequence[str]) -> str:
    """Words parted by 、 but not between closing and opening quotation marks (GB/T 15834)."""
    if len(words) == 1:
        return words[0]
    joined = "、".join(words[:-1]).replace("”、“", "”“")
    return f"{joined}和{words[-1]}"


def sentence(text: str) -> str:
    """With a full stop, unless the text, or what it quotes at its end, has one."""
    return text if text.rstrip("”」』》").endswith(_STOPS) else f"{text.rstrip('.')}。"
