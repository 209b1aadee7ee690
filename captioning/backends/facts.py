"""What the composer knows of an image, before it is put into words."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from captioning.caption import CaptionLanguage, CaptionRequest, Tag
from captioning.composition import Look, TextGroup, describe_look, group_text
from captioning.glossary import Thing, mentioned, place_name, thing
from captioning.language import is_han
from captioning.metadata import Given, Metadata
from captioning.quotes import quotations, quote

_OTHER: dict[CaptionLanguage, CaptionLanguage] = {"en": "zh", "zh": "en"}
_SPACE_BEFORE = re.compile(r"\s+(?=[,.!?;:，。！？；：](?:\s|$)|['’](?:s|re|ve|ll|d|t)\b)")
#: What follows is the site's name, not the picture's.
_SITE = re.compile(r"\s+[|–—-]\s+|[|｜_]")
#: Page titles say how pictures are offered, too.
_OFFER = re.compile("(?:高清)?(?:图片|素材|壁纸|摄影)+(?:下载|大全)?$")
#: Texts that may head a caption are no longer than this, in letters, and no shorter.
_LONGEST_HEADLINE, _SHORTEST_HEADLINE = 40, 3


@dataclass(frozen=True)
class Facts:
    """All that the composer may say.

    Args:
        look: The look of the image.
        groups: Its text where it was read with confidence, by place.
        lines: How many lines of it there are, dots and bars aside.
        unsure: How many more there are.
        repeated: Whether a text is repeated over the image.
        metadata: What came with it.
        seed: Decides the free choices.
        tags: What it seems to show, surest first.
    """

    look: Look
    groups: tuple[TextGroup, ...]
    lines: int
    unsure: int
    metadata: Metadata
    seed: str
    tags: tuple[Tag, ...] = ()
    repeated: bool = False

    @property
    def texts(self) -> list[str]:
        """The confident texts, in reading order."""
        return [text for group in self.groups for text in group.texts]

    @property
    def words(self) -> list[str]:
        """Those that hold a letter or a digit, each once: not the dots and bars of a layout."""
        return list(dict.fromkeys(t for t in self.texts if any(map(str.isalnum, t))))

    @property
    def headlines(self) -> list[str]:
        """The texts that say most, large ones first: short ones, but no single letters."""
        ordered = sorted(self.groups, key=lambda group: not (group.large or group.mixed))
        texts = [text for group in ordered for text in group.texts]
        telling = [text for text in texts if _tells(text)]
        return list(dict.fromkeys(telling))

    def choices(self, language: CaptionLanguage, purpose: str = "") -> random.Random:
        """A generator that depends on the item, the language and the purpose alone."""
        return random.Random(f"{language}:{purpose}:{self.seed}")  # noqa: S311 - nothing secret

    def told(self, language: CaptionLanguage) -> str | None:
        """What came with the image and says in this language what it shows.

        The alt text, where it is no list of words; else the title.
        """
        alt = self.metadata.alt
        if alt is not None and alt.language == language:
            return None if _as_list(alt.text) else _SPACE_BEFORE.sub("", alt.text)
        return self._title(language)

    def title(self, language: CaptionLanguage) -> str | None:
        """The title, where it adds to what is told."""
        told, title = self.told(language), self._title(language)
        if told is None or title is None or told.casefold() in title.casefold():
            return None
        said = " ".join([told, *self.keywords(language)]).casefold()
        words = re.findall(r"\w+", title.casefold())
        return None if all(word in said for word in words) else title

    def _title(self, language: CaptionLanguage) -> str | None:
        title = self.metadata.title
        if title is None or title.language != language:
            return None
        text = _SPACE_BEFORE.sub("", _SITE.split(title.text)[0])
        return (_OFFER.sub("", text) or text).strip() or None

    def keywords(self, language: CaptionLanguage) -> list[str]:
        """Key words in this language, translated where need be, but for what is told anyway."""
        told = f"{self.told(language) or ''} {self.place(language) or ''}".casefold()
        alt = self.metadata.alt
        given = [*self.metadata.keywords]
        if alt is not None:
            given += [Given(word, alt.language) for word in _as_list(alt.text)]
        words = (_word(each, language) for each in given)
        return _unique(word for word in words if word and word.casefold() not in told)

    def mentions(self, language: CaptionLanguage) -> list[Thing]:
        """What the description in the other language mentions, where there is none in this."""
        other = _OTHER[language]
        said = self.told(other)
        if said is None or self.told(language) is not None:
            return []
        known = {word.casefold() for word in self.keywords(language)}
        found = mentioned(_unquoted(said), other)
        return [each for each in found if each.word(language).casefold() not in known]

    def things(self, language: CaptionLanguage) -> list[str]:
        """What descriptions in either language mention, as tags."""
        found = [
            each
            for source in (language, _OTHER[language])
            if (said := self.told(source)) is not None
            for each in mentioned(_unquoted(said), source)
        ]
        return _unique(each.word(language) for each in found)

    def place(self, language: CaptionLanguage) -> str | None:
        """Where it was taken, as given, but for what is told anyway."""
        given, told = self.metadata.place, self.told(language) or ""
        if given is None:
            return None
        name = place_name(given.text, language)
        if name is None and (given.language == language or given.language == "en"):
            # A place that is in no list keeps its Latin name in Chinese.
            name = given.text
        return None if name is None or name in told else name


def gather_facts(request: CaptionRequest) -> Facts:
    """Look at the image and sort its lines."""
    height, width = request.image.shape[:2]
    groups = group_text([line for line in request.lines if line.quoted], width, height)
    return Facts(
        look=describe_look(request.image),
        groups=tuple(groups),
        lines=sum(line.quoted and any(map(str.isalnum, line.text)) for line in request.lines),
        unsure=sum(not line.confident and line.mark == "none" for line in request.lines),
        repeated=any(line.mark == "repeat" for line in request.lines),
        metadata=request.metadata,
        seed=request.seed,
        tags=tuple(sorted(request.tags, key=lambda tag: (-tag.score, tag.name))),
    )


def quoted_within(
    texts: Sequence[str], budget: int, language: CaptionLanguage
) -> tuple[list[str], int]:
    """As many quotations, from the first on, as a number of characters allows.

    A Chinese character counts as two.

    Returns:
        The quotations, at least one where there is a text; how many texts are left over.
    """
    quoted: list[str] = []
    for text in texts:
        budget -= len(text) + sum(map(is_han, text))
        if quoted and budget < 0:
            break
        quoted.append(quote(text, language))
    return quoted, len(texts) - len(quoted)


def holds_quotation(text: str) -> bool:
    """Whether a text quotes something."""
    return bool(quotations(text))


def _tells(text: str) -> bool:
    letters = sum(map(str.isalpha, text))
    han = sum(map(is_han, text))
    return (letters >= _SHORTEST_HEADLINE or han > 1) and len(text) <= _LONGEST_HEADLINE


def _as_list(text: str) -> list[str]:
    """The words of a text that is a list of words; none for other texts."""
    for separator, most in (("[,，、;；]", 3), (r"\s", 1)):
        parts = [part.strip(" .。") for part in re.split(separator, text)]
        short = [_is_word(part, most) for part in parts]
        # Only Chinese has no spaces but between the words of a list.
        spaced = separator == r"\s" and any("a" <= c.casefold() <= "z" for c in text)
        if len(parts) > 2 and all(short) and not spaced:
            return parts
    return []


def _is_word(part: str, most: int) -> bool:
    return 0 < len(part.split()) <= most and (part.isascii() or len(part) < 7)


def _word(given: Given, language: CaptionLanguage) -> str | None:
    if given.language == language:
        return given.text
    if given.language == "other":
        return None
    known = thing(given.text, given.language)
    return known.word(language) if known else place_name(given.text, language)


def _unquoted(text: str) -> str:
    for quoted in quotations(text):
        text = text.replace(quoted, " ")
    return text


def _unique(words: Iterable[str]) -> list[str]:
    return list({word.casefold(): word for word in words}.values())
