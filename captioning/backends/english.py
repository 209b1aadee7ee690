"""The composer's English.

Quotation marks hold text that the image shows, and nothing else: whoever learns to draw text
from captions takes them at their word.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from captioning.backends.english_look import (
    SHAPES,
    colours,
    light_sentences,
    listed,
    look_sentence,
    noun,
    sentence,
)
from captioning.backends.facts import Facts, holds_quotation, quoted_within
from captioning.composition import Look, TextGroup
from captioning.language import script_of
from captioning.quotes import quote

_PLACES = {
    "top": "at the top",
    "middle": "in the middle",
    "bottom": "at the bottom",
    "left": "on the left",
    "right": "on the right",
    "all": "across the whole image",
}
#: A portrait would be of a person.
_WISHED_SHAPES = {
    "square": "square",
    "landscape": "horizontal",
    "portrait": "vertical",
    "wide": "wide",
    "tall": "tall and narrow",
}
_SCRIPTS = {
    "latin": ("Latin letters",),
    "han": ("Chinese characters",),
    "mixed": ("Chinese characters", "Latin letters"),
    "other": ("text",),
}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_LEADING_WORDS = frozenset(
    ("a", "an", "the", "this", "these", "there", "two", "three", "several", "some", "many")
)
_SHORT_TEXT = 60
_MEDIUM_TEXT = 240
_MOST_TAGS = 5
_MOST_MENTIONS = 4
_ARTICLE = re.compile(r"^(?:an?|the|some) ", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
#: Where a wish can end early.
_CUT = re.compile(
    r"[,;:]? (?:with|while|as|on|in|at|near|next to|beside|behind|during|from|under|over|along) "
    r"|[,;] "
)
_BEING = re.compile(r"\b(?:is|are|was|were) (\w+ing)\b")
_DANGLING = re.compile(r"(?: (?:and|or|to|of|a|an|the|is|are))+$")
_FEWEST_WORDS = 3


def tags(facts: Facts) -> str:
    """Words, separated by commas."""
    look = facts.look
    words = [*facts.keywords("en"), *facts.things("en")]
    words += filter(None, (facts.place("en") or "").split(", "))
    words += [_ARTICLE.sub("", tag.name) for tag in facts.tags]
    words += [quote(text, "en") for text in facts.headlines if len(text) <= _SHORT_TEXT][:4]
    scripts = [name for text in facts.words for name in _SCRIPTS[script_of(text)]]
    words += [name for name in scripts if name != "text"] or scripts
    words += ["black and white"] if look.monochrome else [*look.colours, *look.accents]
    words += [SHAPES[look.shape].replace("-", " ").replace(",", " and")]
    words += [look.tone] if look.tone else []
    if look.background and not look.plain:
        words.append(f"{look.background} background")
    return ", ".join(dict.fromkeys(words))


def short(facts: Facts) -> str:
    """One sentence on the whole image."""
    told = facts.told("en")
    if told is not None:
        return sentence(_first_sentence(told, 200))
    named = noun(facts.look)
    seen = _seen(facts, 2)
    named += f" that seems to show {seen}" if seen else ""
    shown = [quote(text, "en") for text in facts.headlines[:2]]
    if len("".join(shown)) > _SHORT_TEXT:
        shown = shown[:1]
    if shown:
        more = len(facts.words) > len(shown)
        named += f" with the text {listed([*shown, *(['more'] if more else [])])}"
    elif facts.words:
        named += f" with {_lines(facts.lines)} of text"
    parts = [named]
    if facts.look.mixed and not facts.words:
        parts = [f"{named} in {colours(facts.look)}"]
    elif not (facts.look.plain or facts.look.monochrome):
        parts.append(f"{'in ' if facts.look.mixed else ''}{colours(facts.look)}")
    keywords = facts.keywords("en")[:2]
    if keywords:
        parts.append(f"filed under {listed(keywords)}")
    elif mentions := _mentions(facts):
        parts.append(f"whose Chinese description mentions {mentions}")
    return sentence(", ".join(parts))


def medium(facts: Facts) -> str:
    """A few sentences, with as much of the text as fits."""
    told = _told(facts, 300)
    sentences = [*told, look_sentence(facts.look, told=bool(told)), *_seen_sentence(facts, 3)]
    sentences += [*_keyword_sentence(facts, 3), *_mention_sentence(facts)]
    quoted, left = quoted_within(facts.words, _MEDIUM_TEXT, "en")
    if quoted:
        start = facts.choices("en", "text").choice(("The text in it reads", "The text reads"))
        sentences.append(
            sentence(f"{start} {listed(quoted)}{', among other text' if left else ''}")
        )
    return " ".join(sentences)


def long(facts: Facts) -> str:
    """All that is known, with every confident line of text."""
    told = _told(facts)
    sentences = [*told, look_sentence(facts.look, told=bool(told))]
    sentences += light_sentences(facts.look, shares=not facts.words)
    sentences += [*_seen_sentence(facts, _MOST_TAGS), *_keyword_sentence(facts)]
    sentences += _mention_sentence(facts)
    title = facts.title("en")
    if title is not None:
        sentences.append(sentence(f"It goes under the title {_cut(title, 200)}"))
    place = facts.place("en")
    if place is not None:
        sentences.append(sentence(f"The location is given as {place}"))
    return " ".join([*sentences, *_text_sentences(facts)])


def prompt(facts: Facts) -> str:
    """What someone might type who wants such an image; leaves most of it out."""
    lots = facts.choices("en")
    subject = _wish(facts, lots)
    # The first texts are the largest: nobody asks for the small print.
    text = quote(lots.choice(facts.headlines[:3]), "en") if facts.headlines else None
    tones = _wished_colours(facts.look)
    if subject is None:
        return lots.choice(_without_subject(facts, text, tones))
    if lots.random() < 0.4:
        return subject
    extras = [tones if facts.look.monochrome or facts.look.plain else f"{tones} tones"]
    if text is not None and not holds_quotation(subject):
        extras += [f"with the text {text}"] * 2
    return f"{subject}, {lots.choice(extras)}"


def _without_subject(facts: Facts, text: str | None, tones: str) -> tuple[str, ...]:
    """Wishes of someone who says nothing of what is to be seen."""
    if text is not None:
        wishes = (f"image that says {text}", f"picture with the words {text}")
        return (*wishes, f"{tones} image with {text} on it", f"{text}, {tones}")
    if facts.words:
        return (f"{tones} image with some text", f"some lines of text, {tones}")
    shape = _WISHED_SHAPES[facts.look.shape]
    return (f"something in {tones}", f"{shape} image, {tones}", f"{tones} picture")


def missing_text(texts: Sequence[str]) -> str:
    """A sentence that adds lines of text a caption left out."""
    return sentence(f"It also shows the text {listed([quote(text, 'en') for text in texts])}")


def _wish(facts: Facts, lots: random.Random) -> str | None:
    """The subject of a prompt, from what came with the image."""
    told = facts.told("en")
    if told is not None:
        first = _first_sentence(told, 120).rstrip(" .!…")
        head, _, rest = first.partition(" ")
        first = f"{head.lower()} {rest}" if head.lower() in _LEADING_WORDS else first
        return _BEING.sub(r"\1", _shortened(first, lots))
    things = facts.keywords("en") or [each.en for each in facts.mentions("en")]
    return ", ".join(things[:2]) or _seen(facts, lots.choice((1, 2)))


def _shortened(text: str, lots: random.Random) -> str:
    """A wish that ends early, or all of it."""
    if holds_quotation(text):
        return text
    heads = [text[: found.start()] for found in _CUT.finditer(text)]
    heads = [_DANGLING.sub("", head) for head in heads]
    heads = [each for each in heads if len(each.split()) >= _FEWEST_WORDS and each[-2:] != "ed"]
    return lots.choice([*heads, text])


def _wished_colours(look: Look) -> str:
    if look.monochrome:
        return "black and white"
    return listed(look.colours[:2])


def _told(facts: Facts, most: int = 1000) -> list[str]:
    """What came with the image, as a sentence."""
    told = facts.told("en")
    return [] if told is None else [sentence(_cut(told, most))]


def _keyword_sentence(facts: Facts, most: int | None = None) -> list[str]:
    words = facts.keywords("en")[:most]
    return [sentence(f"It is filed under {listed(words)}")] if words else []


def _mentions(facts: Facts) -> str | None:
    names = [each.en for each in facts.mentions("en")][:_MOST_MENTIONS]
    return listed(names) if names else None


def _mention_sentence(facts: Facts) -> list[str]:
    mentions = _mentions(facts)
    return [f"Its Chinese description mentions {mentions}."] if mentions else []


def _seen(facts: Facts, most: int) -> str | None:
    known = {word.casefold() for word in facts.keywords("en")}
    names = [tag.name for tag in facts.tags if _ARTICLE.sub("", tag.name).casefold() not in known]
    return listed(names[:most]) if names else None


def _seen_sentence(facts: Facts, most: int) -> list[str]:
    seen = _seen(facts, most)
    return [f"It seems to show {seen}."] if seen else []


def _text_sentences(facts: Facts) -> list[str]:
    groups = facts.groups
    sentences = []
    if len(groups) > 5:
        every = [quote(text, "en") for text in facts.texts]
        sentences.append(sentence(f"The text in it reads, in order: {', '.join(every)}"))
    else:
        for group, previous in zip(groups, (None, *groups), strict=False):
            sentences.append(_group_sentence(group, previous))
    if facts.repeated:
        sentences.append("Some of the text is repeated over the image.")
    if facts.unsure and facts.texts:
        verb = "is" if facts.unsure == 1 else "are"
        lines = _lines(facts.unsure, more=True).capitalize()
        sentences.append(f"{lines} of text {verb} hard to read.")
    return sentences


def _group_sentence(group: TextGroup, previous: TextGroup | None) -> str:
    place = _PLACES[group.place]
    start = f"also {place}" if previous and previous.place == group.place else place
    if group.large:
        subject = "large vertical letters read" if group.vertical else "large letters read"
    else:
        subject = "vertical text reads" if group.vertical else "the text reads"
    partly = ", partly in large letters" if group.mixed else ""
    return sentence(f"{start}, {subject} {listed([quote(t, 'en') for t in group.texts])}{partly}")


def _lines(count: int, *, more: bool = False) -> str:
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    return f"{number} {'more ' if more else ''}{'line' if count == 1 else 'lines'}"


def _first_sentence(text: str, most: int) -> str:
    return _cut(_SENTENCE_END.split(text)[0], most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0].rstrip(" ,;:-") + "…"
