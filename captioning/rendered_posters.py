"""Drawing rendered texts, and drawing lots for groups of versions of one image."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from captioning.rendered import ATTRIBUTES, COLOURS, PLACES, RGB, Attribute, Poster, Text

#: Pillow's own font, which needs no file; it has no Chinese.
PILLOW_FONT = "Aileron"
#: Least distance of sRGB luminance between a text and its background, 0..255.
_CONTRAST = 70
_MARGIN = 12
_FRAME = 3
_GAP = 8
_TRIES = 400
_SIZES = (20, 24, 28, 32, 40, 48, 56, 64)
_SHAPES = ((512, 512), (640, 480), (480, 640))

#: What is written where nothing else is given.
CONTENTS: dict[str, tuple[str, ...]] = {
    "en": (
        *("SALE", "OPEN", "Welcome", "Market Street", "Exit 14", "Coffee", "Fresh fruit and bread"),
        *("City Library", "No Smoking", "Wet Floor", "Night of Science", "Grand Theatre"),
        *("Free entry for students", "Every Friday Night", "Call 555 0142", "42.195 km"),
    ),
    "zh": (
        *("早餐", "通知", "火车站", "人民广场", "春日音乐节", "海洋摄影展", "明月书店", "请勿吸烟"),
        *(
            "小心地滑",
            "开放时间",
            "今日特价",
            "和平街",
            "天天新鲜",
            "国际电影周",
            "厚德载物",
            "营地",
        ),
    ),
}

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Fonts:
    """Fonts by name; the name is what instructions say.

    Args:
        files: Font files by name; ``PILLOW_FONT`` needs none.
    """

    files: Mapping[str, Path]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, Pillow's own font first."""
        return (PILLOW_FONT, *self.files)

    def load(self, name: str, size: int) -> ImageFont.FreeTypeFont:
        """A font in one size.

        Raises:
            ValueError: If there is no such font.
        """
        if name == PILLOW_FONT:
            return _pillow_font(size)
        if name not in self.files:
            raise ValueError(f"font must be one of {', '.join(self.names)}, got {name!r}")
        return _load(self.files[name], size)

    def draws(self, name: str, content: str) -> bool:
        """Whether a font has all characters of a text."""
        font = self.load(name, 24)
        missing = _shape(font, "\U0010fffd")
        return all(c.isspace() or _shape(font, c) != missing for c in content)


def font_names(paths: Sequence[Path]) -> Fonts:
    """The fonts of some files, by the family names they carry.

    Raises:
        ValueError: If a file is no font, or two carry the same name.
    """
    files: dict[str, Path] = {}
    for path in paths:
        try:
            family, style = ImageFont.truetype(path, 16).getname()
        except OSError as error:
            raise ValueError(f"{path} is no font that can be read: {error}") from error
        name = " ".join(part for part in (family, style) if part and part != "Regular")
        name = name.removesuffix(" Regular")
        if name in files or name == PILLOW_FONT:
            raise ValueError(f"two fonts are called {name!r}, the second is {path}: leave one out")
        files[name] = path
    return Fonts(files)


def draw(poster: Poster, fonts: Fonts) -> npt.NDArray[np.uint8]:
    """Draw a poster: uint8[height, width, 3].

    The same values give the same pixels with the same version of Pillow and of the fonts.
    """
    image = Image.new("RGB", (poster.width, poster.height), _rgb(poster.background))
    pen = ImageDraw.Draw(image)
    for text in poster.texts:
        font = fonts.load(text.font, text.size)
        left, top, right, bottom = placed(text, poster, fonts)
        ink = font.getbbox(text.content)
        pen.text((left - ink[0], top - ink[1]), text.content, _rgb(text.colour), font)
        if text.box is not None:
            edge = (left - _GAP, top - _GAP, right + _GAP, bottom + _GAP)
            pen.rectangle(edge, outline=_rgb(text.box), width=_FRAME)
    return np.asarray(image)


def placed(text: Text, poster: Poster, fonts: Fonts) -> Box:
    """Where the ink of a text stands, in pixels: left, top, right, bottom."""
    ink = fonts.load(text.font, text.size).getbbox(text.content)
    width, height = int(ink[2] - ink[0]), int(ink[3] - ink[1])
    _, column, row = PLACES[text.position]
    margin = _MARGIN + (_GAP + _FRAME if text.box else 0)
    left = margin + (poster.width - 2 * margin - width) * column // 2
    top = margin + (poster.height - 2 * margin - height) * row // 2
    return left, top, left + width, top + height


def fits(poster: Poster, fonts: Fonts) -> bool:
    """Whether every text is inside the image, apart from the others, and legible."""
    boxes: list[Box] = []
    for text in poster.texts:
        left, top, right, bottom = placed(text, poster, fonts)
        edge = _GAP + (_GAP + _FRAME if text.box else 0)
        box = (left - edge, top - edge, right + edge, bottom + edge)
        room = poster.width - _MARGIN, poster.height - _MARGIN
        if min(left, top) < _MARGIN or right > room[0] or bottom > room[1]:
            return False
        if any(_meet(box, other) for other in boxes):
            return False
        if not fonts.draws(text.font, text.content):
            return False
        if not _legible(text.colour, poster.background):
            return False
        boxes.append(box)
    contents = [text.content for text in poster.texts]
    return len(set(contents)) == len(contents)


def draw_lots(
    fonts: Fonts,
    seed: int,
    *,
    edits: int = 3,
    attributes: Sequence[Attribute] = ATTRIBUTES,
    contents: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[list[Poster]]:
    """Groups of versions of one image, without end: a source, then its edits.

    Args:
        fonts: To choose from.
        seed: The same seed gives the same groups.
        edits: Versions beside the source; no two of a group are equal.
        attributes: What edits may change; each edit changes one to three of them.
        contents: Texts by language; ``CONTENTS`` by default.

    Raises:
        ValueError: If the fonts cannot draw the texts, or no group can be found.
    """
    wanted = [text for texts in (contents or CONTENTS).values() for text in texts]
    known = {name: [t for t in wanted if fonts.draws(name, t)] for name in fonts.names}
    known = {name: texts for name, texts in known.items() if texts}
    if not known:
        raise ValueError("none of the fonts can draw any of the texts: give other fonts or texts")
    number = 0
    while True:
        lots = random.Random(f"rendered:{seed}:{number}")  # noqa: S311 - nothing secret
        yield _group(lots, fonts, known, edits, attributes)
        number += 1


def _group(
    lots: random.Random,
    fonts: Fonts,
    known: Mapping[str, Sequence[str]],
    edits: int,
    attributes: Sequence[Attribute],
) -> list[Poster]:
    group = [_source(lots, fonts, known)]
    for _ in range(_TRIES * max(1, edits)):
        if len(group) > edits:
            return group
        edit = _edit(lots, group[0], fonts, known, attributes)
        if edit not in group and fits(edit, fonts):
            group.append(edit)
    if len(group) > edits:
        return group
    raise ValueError(
        f"only {len(group) - 1} of {edits} edits were found: allow more attributes, texts or fonts"
    )


def _source(lots: random.Random, fonts: Fonts, known: Mapping[str, Sequence[str]]) -> Poster:
    for _ in range(_TRIES):
        width, height = lots.choice(_SHAPES)
        background = lots.choice(list(COLOURS))
        count = lots.randint(1, 3)
        framed = lots.random() < 0.3
        boxes = lots.sample([name for name in COLOURS if name != background], count)
        texts = tuple(_text(lots, known, boxes[n] if framed else None) for n in range(count))
        poster = Poster(width, height, background, texts)
        if fits(poster, fonts):
            return poster
    raise ValueError("no texts were found that fit an image: give shorter texts or more fonts")


def _text(lots: random.Random, known: Mapping[str, Sequence[str]], box: str | None) -> Text:
    font = lots.choice(list(known))
    return Text(
        content=lots.choice(known[font]),
        font=font,
        colour=lots.choice(list(COLOURS)),
        size=lots.choice(_SIZES),
        position=lots.choice(list(PLACES)),
        box=box,
    )


def _edit(
    lots: random.Random,
    source: Poster,
    fonts: Fonts,
    known: Mapping[str, Sequence[str]],
    attributes: Sequence[Attribute],
) -> Poster:
    texts = list(source.texts)
    places = [(number, attribute) for number in range(len(texts)) for attribute in attributes]
    for number, attribute in lots.sample(places, min(lots.randint(1, 3), len(places))):
        text = texts[number]
        choices: dict[Attribute, Sequence[Any]] = {
            "content": known.get(text.font, (text.content,)),
            "font": [name for name in known if fonts.draws(name, text.content)],
            "colour": list(COLOURS),
            "size": _SIZES,
            "position": list(PLACES),
        }
        value = lots.choice(list(choices[attribute]))
        texts[number] = replace(text, **{attribute: value})
    return replace(source, texts=tuple(texts))


def _legible(colour: str, background: str) -> bool:
    first, second = (_luminance(_rgb(name)) for name in (colour, background))
    return abs(first - second) >= _CONTRAST


def _luminance(colour: RGB) -> float:
    red, green, blue = colour
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _rgb(name: str) -> RGB:
    return COLOURS[name][1]


def _meet(one: Box, other: Box) -> bool:
    apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    return not apart


@lru_cache(maxsize=4096)
def _shape(font: ImageFont.FreeTypeFont, character: str) -> tuple[object, bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


@lru_cache(maxsize=64)
def _load(path: Path, size: int) -> ImageFont.FreeTypeFont:
    # Basic layout: the other one is in some builds of Pillow only, and kerns otherwise.
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=64)
def _pillow_font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ValueError("this build of Pillow has no FreeType, which drawing texts needs")  # noqa: TRY004
    return font
