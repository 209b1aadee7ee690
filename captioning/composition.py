"""What can be said of an image without knowing what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from captioning.colours import colour_shares, thumbnail, to_lab
from captioning.language import count_letters, is_han
from captioning.ocr.lines import Line
from captioning.ocr.order import is_vertical

Shape = Literal["square", "landscape", "portrait", "wide", "tall"]
Place = Literal["top", "middle", "bottom", "left", "right", "all"]
Side = Literal["top", "bottom", "left", "right", "middle"]

#: The main colours cover at least this share of an image, or it has none.
_RULING = 0.4
#: From so many characters or words on a line that fills its paragraph is taken for wrapped.
_WRAPPED_HAN, _WRAPPED_WORDS = 10, 5
_STOPS = ".!?:;。！？：；"
_NEUTRAL = frozenset({"black", "grey", "white", "beige", "brown"})


@dataclass(frozen=True)
class Look:
    """The look of an image as a whole.

    Args:
        shape: Its format; ``wide`` and ``tall`` from 2 : 1 on.
        colours: The main colours, largest share first, one to three.
        accents: Vivid colours that show beside them, at most two.
        monochrome: Whether it is all greys, and more than one.
        tone: ``dark`` or ``bright`` where it is clearly either.
        background: The colour around the edges where that is one even colour.
        plain: Whether the whole image is one even colour.
        lightest: The side that is clearly lighter than the rest.
        halves: Two opposite sides and their colours, where one colour rules each and the
            two differ: such as ``("top", "blue", "bottom", "green")``.
        shares: What share of the image each of the main colours covers, 0 to 1.
        mixed: Whether no colours rule it; the main ones are then just the most frequent.
    """

    shape: Shape
    colours: tuple[str, ...]
    accents: tuple[str, ...]
    monochrome: bool
    tone: Literal["dark", "bright"] | None
    background: str | None
    plain: bool
    lightest: Side | None
    halves: tuple[Side, str, Side, str] | None
    shares: tuple[float, ...] = ()
    mixed: bool = False


@dataclass(frozen=True)
class TextGroup:
    """Text that follows each other and stands in one part of the image.

    Args:
        place: Which part.
        large: Whether the letters are large for the image.
        vertical: Whether the text runs from top to bottom.
        texts: The lines, in reading order; lines that run on are one text. None twice.
        mixed: Whether some of the letters are large and some are not.
    """

    place: Place
    large: bool
    vertical: bool
    texts: tuple[str, ...]
    mixed: bool = False


def describe_look(image: npt.NDArray[np.uint8]) -> Look:
    """Describe an image, uint8[height, width, 3], by shape, colours and light."""
    height, width = image.shape[:2]
    small = thumbnail(image)
    lab = to_lab(small)
    light = lab[..., 0]
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    shares = colour_shares(small)
    colours, accents = _main_colours(shares)
    mixed = sum(shares[colour] for colour in colours) < _RULING
    if mixed:
        colours, accents = tuple(list(shares)[:3]), ()
    mean = float(light.mean())
    plain = bool(light.std() < 1.5 and lab[..., 1:].std(axis=(0, 1)).max() < 1.5)
    return Look(
        shape=_shape(width, height),
        colours=colours,
        accents=accents,
        monochrome=bool(np.percentile(chroma, 99) < 4) and not plain,
        tone="dark" if mean < 28 else "bright" if mean > 78 else None,
        background=_background(small, lab),
        plain=plain,
        lightest=_lightest(light),
        halves=_halves(small),
        shares=tuple(shares[colour] for colour in colours),
        mixed=mixed,
    )


def _shape(width: int, height: int) -> Shape:
    ratio = width / height
    if ratio >= 2:
        return "wide"
    if ratio <= 0.5:
        return "tall"
    if abs(ratio - 1) <= 0.03:
        return "square"
    return "landscape" if ratio > 1 else "portrait"


def _main_colours(shares: dict[str, float]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The colours that make up the image, and the vivid ones that only show in it."""
    main = [name for name, share in shares.items() if share >= 0.18][:3] or [next(iter(shares))]
    accents = [
        name
        for name, share in shares.items()
        if share >= 0.04 and name not in main and name not in _NEUTRAL
    ]
    return tuple(main), tuple(accents[:2])


def _background(small: npt.NDArray[np.uint8], lab: npt.NDArray[np.float64]) -> str | None:
    """The colour of the outer ring where at least nine tenths of it are alike."""
    margin = max(1, min(small.shape[:2]) // 16)
    ring = np.ones(small.shape[:2], dtype=bool)
    ring[margin:-margin, margin:-margin] = False
    distance = np.linalg.norm(lab[ring] - np.median(lab[ring], axis=0), axis=-1)
    if np.mean(distance < 8) < 0.9:
        return None
    shares = colour_shares(small[ring][None])
    name, share = next(iter(shares.items()))
    return name if share >= 0.8 else None


def _lightest(light: npt.NDArray[np.float64]) -> Side | None:
    height, width = light.shape
    third, across = max(1, height // 3), max(1, width // 3)
    inner = light[third : height - third, across : width - across]
    sides: dict[Side, float] = {
        "top": float(light[:third].mean()),
        "bottom": float(light[-third:].mean()),
        "left": float(light[:, :across].mean()),
        "right": float(light[:, -across:].mean()),
        "middle": float(inner.mean()) if inner.size else 0.0,
    }
    best = max(sides, key=lambda side: sides[side])
    return best if sides[best] - float(light.mean()) >= 15 else None


def _halves(small: npt.NDArray[np.uint8]) -> tuple[Side, str, Side, str] | None:
    height, width = small.shape[:2]
    third, across = max(1, height // 3), max(1, width // 3)
    pairs: tuple[tuple[Side, Side], ...] = (("top", "bottom"), ("left", "right"))
    parts = {
        "top": small[:third],
        "bottom": small[-third:],
        "left": small[:, :across],
        "right": small[:, -across:],
    }
    for one, other in pairs:
        (first, first_share), (second, second_share) = (
            next(iter(colour_shares(parts[side]).items())) for side in (one, other)
        )
        if first != second and min(first_share, second_share) >= 0.6:
            return one, first, other, second
    return None


def group_text(lines: Sequence[Line], width: int, height: int) -> list[TextGroup]:
    """Gather lines, in reading order, into paragraphs and by where these stand.

    Args:
        lines: The lines, in reading order.
        width: Of the image, pixels.
        height: Of the image, pixels.
    """
    paragraphs: list[list[Line]] = []
    for line in lines:
        if paragraphs and _continues(paragraphs[-1][-1], line):
            paragraphs[-1].append(line)
        else:
            paragraphs.append([line])
    groups: list[TextGroup] = []
    for paragraph in paragraphs:
        here = _group_of(paragraph, width, height)
        last = groups[-1] if groups else None
        if last and (last.place, last.vertical) == (here.place, here.vertical):
            mixed = last.mixed or last.large != here.large
            texts = tuple(dict.fromkeys(last.texts + here.texts))
            groups[-1] = replace(last, texts=texts, mixed=mixed, large=last.large and not mixed)
        else:
            groups.append(here)
    return groups


def _continues(line: Line, below: Line) -> bool:
    """Whether a line is the next of the same paragraph: as high, close below, in step."""
    if is_vertical(line) or is_vertical(below):
        return False
    left, top, right, bottom = line.bounds
    next_left, next_top, next_right, next_bottom = below.bounds
    heights = sorted((bottom - top, next_bottom - next_top))
    in_step = min(abs(left - next_left), abs(left + right - next_left - next_right) / 2)
    return (
        heights[1] <= 1.5 * heights[0]
        and -0.5 * heights[0] <= next_top - bottom <= 0.8 * heights[1]
        and in_step <= 2 * heights[1]
    )


def _group_of(paragraph: Sequence[Line], width: int, height: int) -> TextGroup:
    corners = np.array([line.bounds for line in paragraph])
    left, top = corners[:, :2].min(axis=0)
    right, bottom = corners[:, 2:].max(axis=0)
    vertical = is_vertical(paragraph[0])
    sizes = corners[:, 2:] - corners[:, :2]
    letters = float(np.median(sizes[:, 0 if vertical else 1]))
    # Large: an eighth of the shorter side, which letters fill but for a fifth.
    large = letters >= 0.125 * min(width, height)
    place = _place(left / width, top / height, right / width, bottom / height)
    return TextGroup(place, large, vertical, tuple(dict.fromkeys(_passages(paragraph))))


def _passages(paragraph: Sequence[Line]) -> list[str]:
    """The lines of a paragraph, those that run on from one to the next as one text.

    What is joined still holds every line, word for word.
    """
    edge = max(line.bounds[2] for line in paragraph)
    wraps = any(_breaks_off(line, below) for line, below in pairwise(paragraph))
    passages = [paragraph[0].text]
    for line, below in pairwise(paragraph):
        if _breaks_off(line, below) or (_fills(line, edge) and (wraps or _is_han(line))):
            apart = "" if is_han(line.text[-1]) or is_han(below.text[0]) else " "
            passages[-1] += apart + below.text
        else:
            passages.append(below.text)
    return passages


def _breaks_off(line: Line, below: Line) -> bool:
    """Whether a sentence in Latin letters goes on with a small letter in the next line."""
    if is_vertical(line) or _is_han(line) or line.text[-1] in _STOPS:
        return False
    words = max(count_letters(text).latin_words for text in (line.text, below.text))
    return below.text[0].islower() and words > 1


def _fills(line: Line, edge: float) -> bool:
    """Whether a line is long, ends where its paragraph does, and may go on in the next."""
    _, top, right, bottom = line.bounds
    if is_vertical(line) or edge - right > 1.5 * (bottom - top):
        return False
    letters = count_letters(line.text)
    if letters.han:
        return letters.han >= _WRAPPED_HAN and line.text[-1] not in _STOPS
    return letters.latin_words >= _WRAPPED_WORDS


def _is_han(line: Line) -> bool:
    return count_letters(line.text).han > 0


def _place(left: float, top: float, right: float, bottom: float) -> Place:
    """The part of the image a box stands in; the box in shares of width and height."""
    x, y = (left + right) / 2, (top + bottom) / 2
    if bottom - top > 0.6 and right - left > 0.6:
        return "all"
    if y < 0.36:
        return "top"
    if y > 0.64:
        return "bottom"
    if x < 0.3:
        return "left"
    return "right" if x > 0.7 else "middle"
