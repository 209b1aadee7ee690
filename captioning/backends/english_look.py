"""The look of an image, and the joints of sentences, in English."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from captioning.composition import Look

SHAPES = {
    "square": "square",
    "landscape": "landscape-format",
    "portrait": "portrait-format",
    "wide": "wide",
    "tall": "tall, narrow",
}
_LIGHTEST = {
    "top": "towards the top",
    "bottom": "towards the bottom",
    "left": "towards the left",
    "right": "towards the right",
    "middle": "in the middle",
}
_SIDES = {
    "top": "upper part",
    "bottom": "lower part",
    "left": "left side",
    "right": "right side",
    "middle": "middle",
}
_STOPS = (".", "!", "?", "…", "。", "！", "？")
#: Least share of the image, and what it is called.
_SHARES = (
    *((0.9, "nearly all"), (0.7, "about three quarters"), (0.58, "more than half")),
    *((0.42, "about half"), (0.29, "about a third"), (0.22, "about a quarter")),
    *((0.16, "about a fifth"), (0.0, "a small part")),
)


def look_sentence(look: Look, *, told: bool) -> str:
    """Such as: The bright square image is mainly white with some red.

    Args:
        look: The look of the image.
        told: Whether a sentence on the image comes before it.
    """
    kind = " ".join([*_tone(look), SHAPES[look.shape]])
    subject = f"{'The' if told else 'This'} {kind} image"
    if look.plain:
        return f"{subject} is plain {look.colours[0]} all over."
    if look.background and not look.monochrome:
        return f"{subject} {_on_background(look, look.background)}."
    ground = f", on an even {look.background} background" if look.background else ""
    if look.monochrome:
        return f"{subject} is in black and white{ground}."
    return f"{subject} is {'in ' if look.mixed else ''}{colours(look)}."


def _on_background(look: Look, ground: str) -> str:
    main = [colour for colour in look.colours if colour != ground]
    some = [colour for colour in look.accents if colour != ground]
    even = f"an even {ground} background"
    if main:
        accents = f", with some {listed(some)}" if some else ""
        return f"is mainly {listed(main)} on {even}{accents}"
    return f"has {even}" + (f" and touches of {listed(some)}" if some else "")


def light_sentences(look: Look, *, shares: bool) -> list[str]:
    """What can be said of light, and of where the colours are.

    Args:
        look: The look of the image.
        shares: Whether to say how much of it each colour covers.
    """
    sentences: list[str] = []
    if look.plain:
        return sentences
    if look.halves and not look.monochrome:
        one, first, other, second = look.halves
        sentences.append(f"The {_SIDES[one]} is mainly {first}, the {_SIDES[other]} {second}.")
    elif shares and not (look.monochrome or look.background or look.mixed):
        sentences.append(_share_sentence(look))
    if look.lightest and not look.background:
        sentences.append(f"It is lightest {_LIGHTEST[look.lightest]}.")
    return sentences


def _share_sentence(look: Look) -> str:
    """Such as: Grey covers about half of it, and black and white each about a fifth."""
    alike = groupby(zip(look.colours, look.shares, strict=True), key=lambda each: _share(each[1]))
    parts = []
    for place, (share, pairs) in enumerate(alike):
        names = [colour for colour, _ in pairs]
        verb = "" if place else "covers " if len(names) == 1 else "cover "
        each = "each " if len(names) > 1 else ""
        whole = "" if place else " of it"
        parts.append(f"{listed(names)} {each}{verb}{share}{whole}")
    return sentence(", and ".join(parts) if "and" in "".join(parts[1:]) else listed(parts))


def _share(share: float) -> str:
    return next(name for least, name in _SHARES if share >= least)


def noun(look: Look) -> str:
    """Such as: a dark landscape-format image."""
    shape = SHAPES[look.shape]
    if look.plain:
        return _with_article(f"plain {look.colours[0]} {shape} image")
    words = [*_tone(look), shape, *(["black-and-white"] if look.monochrome else [])]
    return _with_article(" ".join([*words, "image"]))


def _tone(look: Look) -> list[str]:
    return [look.tone] if look.tone and not look.plain else []


def colours(look: Look) -> str:
    """Such as: mainly white and grey with some red."""
    if look.mixed:
        return f"a mix of colours, among them {listed(look.colours)}"
    main = f"mainly {listed(look.colours)}"
    return f"{main} with some {listed(look.accents)}" if look.accents else main


def listed(words: Sequence[str]) -> str:
    """Such as: one, two and three."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def sentence(text: str) -> str:
    """With a capital, unless the first word has its own spelling, and a full stop."""
    word = text.split(" ", 1)[0].rstrip(",")
    if word.islower() and word.isalpha():
        text = text[0].upper() + text[1:]
    return text if text.rstrip("”\"')’").endswith(_STOPS) else f"{text}."
