"""The composer's English."""

from __future__ import annotations

import re
from collections.abc import Sequence

from captioning.backends.facts import Facts, quoted_within, spoken_in, word_or_quote
from captioning.composition import Look, TextGroup
from captioning.language import language_of
from captioning.quotes import quote

_SHAPES = {
    "square": "square",
    "landscape": "landscape-format",
    "portrait": "portrait-format",
    "wide": "wide",
    "tall": "tall, narrow",
}
_PLACES = {
    "top": "at the top",
    "middle": "in the middle",
    "bottom": "at the bottom",
    "left": "on the left",
    "right": "on the right",
    "all": "across the whole image",
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
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_LEADING_WORDS = frozenset(
    ("a", "an", "the", "this", "these", "there", "two", "three", "several", "some", "many")
)
_SHORT_TEXT = 40
_MEDIUM_TEXT = 240
_MOST_TAGS = 5
_ARTICLE = re.compile(r"^(?:an?|the|some) ", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def tags(facts: Facts) -> str:
    """Words, separated by commas."""
    look = facts.look
    words = [word_or_quote(word, "en") for word in facts.metadata.keywords]
    words += alt_as_list(facts)
    words += [_ARTICLE.sub("", tag.name) for tag in facts.tags]
    words += [quote(text, "en") for text in facts.words if len(text) <= _SHORT_TEXT][:4]
    if facts.words:
        names = {"en": "English text", "zh": "Chinese text", "other": "text"}
        languages = {language_of(text) for text in facts.words}
        words += [names[language] for language in sorted(languages - {"other"} or languages)]
    words += ["black and white"] if look.monochrome else [*look.colours, *look.accents]
    words += [_SHAPES[look.shape].replace("-", " ").replace(",", " and")]
    words += [look.tone] if look.tone else []
    if look.background and not look.plain:
        words.append(f"{look.background} background")
    return ", ".join(dict.fromkeys(words))


def alt_as_list(facts: Facts) -> list[str]:
    """The alt text where it is itself a list of words."""
    alt = facts.metadata.alt
    if alt is None or not spoken_in(alt, "en"):
        return []
    parts = [part.strip(" .") for part in alt.text.split(",")]
    return parts if len(parts) > 2 and all(p and len(p.split()) < 4 for p in parts) else []


def short(facts: Facts) -> str:
    """One sentence on the whole image."""
    alt = facts.metadata.alt
    if alt is not None and spoken_in(alt, "en"):
        return _sentence(_first_sentence(alt.text, 200))
    parts = [_named(facts.look, seen=_seen(facts, 2))]
    quoted, left = quoted_within(facts.words, _SHORT_TEXT, "en")
    if quoted and len(facts.words[0]) <= _SHORT_TEXT:
        shown = [*quoted[:2], *(["more"] if left or quoted[2:] else [])]
        parts.append(f"showing the text {_listed(shown)}")
    elif quoted:
        parts.append(f"with {_lines(len(facts.words))} of text")
    if alt is not None:
        parts.append(f"originally captioned {quote(_cut(alt.text, 160), 'en')}")
    elif facts.metadata.keywords:
        words = [quote(word.text, "en") for word in facts.metadata.keywords[:2]]
        parts.append(f"tagged {_listed(words)}")
    return _sentence(", ".join(parts))


def medium(facts: Facts) -> str:
    """A few sentences, with as much of the text as fits."""
    sentences = [*_told(facts, 300), _look_sentence(facts), *_seen_sentence(facts, 3)]
    sentences += _keyword_sentence(facts, 3)
    quoted, left = quoted_within(facts.words, _MEDIUM_TEXT, "en")
    if quoted:
        more = f", followed by {_lines(left, more=True)}" if left else ""
        sentences.append(f"The text in it reads {_listed(quoted)}{more}.")
    return " ".join(sentences)


def long(facts: Facts) -> str:
    """All that is known, with every confident line of text."""
    sentences = [*_told(facts), _look_sentence(facts), *_light_sentences(facts.look)]
    sentences += [*_seen_sentence(facts, _MOST_TAGS), *_keyword_sentence(facts)]
    if facts.metadata.place is not None:
        sentences.append(f"The given location is {word_or_quote(facts.metadata.place, 'en')}.")
    return " ".join([*sentences, *_text_sentences(facts)])


def prompt(facts: Facts) -> str:
    """What someone might type who wants such an image; leaves most of it out."""
    choices = facts.choices("en")
    subject = _wish(facts)
    extras = (
        [] if not facts.words else [f"with the text {quote(choices.choice(facts.words), 'en')}"]
    )
    extras.append(
        "in black and white" if facts.look.monochrome else f"{_listed(facts.look.colours)} tones"
    )
    if subject is None:
        if facts.words:
            return f"an image {extras[0]}"
        return f"an image in {extras[-1].removeprefix('in ')}"
    if choices.random() < 0.5:
        return subject
    return f"{subject}, {choices.choice(extras)}"


def missing_text(texts: Sequence[str]) -> str:
    """A sentence that adds lines of text a caption left out."""
    return f"It also shows the text {_listed([quote(text, 'en') for text in texts])}."


def _wish(facts: Facts) -> str | None:
    """The subject of a prompt, from what came with the image."""
    given = [facts.metadata.alt, facts.metadata.title]
    for text in (g.text for g in given if g is not None and spoken_in(g, "en")):
        first = _first_sentence(text, 120).rstrip(" .!")
        head, _, rest = first.partition(" ")
        return f"{head.lower()} {rest}" if head.lower() in _LEADING_WORDS else first
    words = [word.text for word in facts.metadata.keywords if word.language == "en"]
    return ", ".join(words[:2]) or _seen(facts, 1)


def _told(facts: Facts, most: int = 1000) -> list[str]:
    """The alt text and the title, as sentences."""
    meta = facts.metadata
    sentences = []
    if meta.alt is not None and spoken_in(meta.alt, "en"):
        sentences.append(_sentence(_cut(meta.alt.text, most)))
    elif meta.alt is not None:
        sentences.append(f"Its original caption reads {quote(meta.alt.text, 'en')}.")
    if meta.title is not None:
        sentences.append(f"Its title is {quote(meta.title.text, 'en')}.")
    return sentences


def _keyword_sentence(facts: Facts, most: int | None = None) -> list[str]:
    words = [quote(word.text, "en") for word in facts.metadata.keywords[:most]]
    return [f"It is tagged {_listed(words)}."] if words else []


def _seen(facts: Facts, most: int) -> str | None:
    names = [tag.name for tag in facts.tags[:most]]
    return _listed(names) if names else None


def _seen_sentence(facts: Facts, most: int) -> list[str]:
    seen = _seen(facts, most)
    return [f"It seems to show {seen}."] if seen else []


def _look_sentence(facts: Facts) -> str:
    look = facts.look
    sentence = _named(look)
    if facts.metadata.alt or facts.metadata.title:
        noun = f"the {' '.join([*_tone(look), _SHAPES[look.shape]])} image is"
        kind = f"mainly {_colours(look)}"
        kind = "black and white" if look.monochrome else kind
        sentence = f"{noun} {f'plain {look.colours[0]}' if look.plain else kind}"
    if look.background and not look.plain:
        sentence += f", with an even {look.background} background"
    return _sentence(sentence)


def _light_sentences(look: Look) -> list[str]:
    sentences: list[str] = []
    if look.plain:
        return sentences
    if look.halves and not look.monochrome:
        one, first, other, second = look.halves
        sentences.append(f"The {_SIDES[one]} is mainly {first}, the {_SIDES[other]} {second}.")
    if look.lightest and not look.background:
        sentences.append(f"The image is lightest {_LIGHTEST[look.lightest]}.")
    return sentences


def _named(look: Look, seen: str | None = None) -> str:
    """Such as: a dark landscape-format image, mainly brown and grey with some red."""
    shape = _SHAPES[look.shape]
    showing = f" that seems to show {seen}" if seen else ""
    if look.plain:
        return _with_article(f"plain {look.colours[0]} {shape} image") + showing
    words = [*_tone(look), shape, *(["black-and-white"] if look.monochrome else [])]
    noun = _with_article(" ".join([*words, "image"])) + showing
    return noun if look.monochrome else f"{noun}, mainly {_colours(look)}"


def _tone(look: Look) -> list[str]:
    return [look.tone] if look.tone and not look.plain else []


def _colours(look: Look) -> str:
    main = _listed(look.colours)
    return f"{main} with some {_listed(look.accents)}" if look.accents else main


def _text_sentences(facts: Facts) -> list[str]:
    groups = facts.groups
    sentences = []
    if len(groups) > 5:
        every = [quote(text, "en") for text in facts.texts]
        sentences.append(f"The text in it reads, in order: {', '.join(every)}.")
    else:
        for group, previous in zip(groups, (None, *groups), strict=False):
            sentences.append(_group_sentence(group, previous))
    if facts.unsure:
        sentences.append(_unsure_sentence(facts))
    return sentences


def _group_sentence(group: TextGroup, previous: TextGroup | None) -> str:
    place = _PLACES[group.place]
    start = f"also {place}" if previous and previous.place == group.place else place
    if group.large:
        subject = "large vertical letters read" if group.vertical else "large letters read"
    else:
        subject = "vertical text reads" if group.vertical else "the text reads"
    partly = ", partly in large letters" if group.mixed else ""
    return _sentence(f"{start}, {subject} {_listed([quote(t, 'en') for t in group.texts])}{partly}")


def _unsure_sentence(facts: Facts) -> str:
    if not facts.texts:
        return "The image also contains text that is not clearly legible."
    verb = "is" if facts.unsure == 1 else "are"
    return f"{_lines(facts.unsure, more=True).capitalize()} of text {verb} not clearly legible."


def _lines(count: int, *, more: bool = False) -> str:
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    return f"{number} {'more ' if more else ''}{'line' if count == 1 else 'lines'}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _sentence(text: str) -> str:
    """With a capital, unless the first word has its own spelling, and a full stop."""
    word = text.split(" ", 1)[0]
    if word.islower() and word.isalpha():
        text = text[0].upper() + text[1:]
    return text if text.rstrip("”\"')’").endswith((".", "!", "?", "…")) else f"{text}."


def _first_sentence(text: str, most: int) -> str:
    return _cut(_SENTENCE_END.split(text)[0], most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0].rstrip(" ,;:-") + "…"
