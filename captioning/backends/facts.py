"""What the composer knows of an image, before it is put into words."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from captioning.caption import CaptionLanguage, CaptionRequest, Tag
from captioning.composition import Look, TextGroup, describe_look, group_text
from captioning.metadata import Given, Metadata
from captioning.quotes import quote


@dataclass(frozen=True)
class Facts:
    """All that the composer may say.

    Args:
        look: The look of the image.
        groups: Its text where it was read with confidence, by place.
        unsure: How many more lines there are.
        metadata: What came with it.
        seed: Decides the free choices.
        tags: What it seems to show, surest first.
    """

    look: Look
    groups: tuple[TextGroup, ...]
    unsure: int
    metadata: Metadata
    seed: str
    tags: tuple[Tag, ...] = ()

    @property
    def texts(self) -> list[str]:
        """The confident lines, in reading order."""
        return [text for group in self.groups for text in group.texts]

    @property
    def words(self) -> list[str]:
        """Those that hold a letter or a digit: not the dots and bars of a layout."""
        return [text for text in self.texts if any(map(str.isalnum, text))]

    def choices(self, language: CaptionLanguage) -> random.Random:
        """A generator that depends on the item and the language alone."""
        return random.Random(f"{language}:{self.seed}")  # noqa: S311 - nothing secret


def gather_facts(request: CaptionRequest) -> Facts:
    """Look at the image and sort its lines."""
    height, width = request.image.shape[:2]
    confident = [line for line in request.lines if line.confident]
    groups = group_text(confident, width, height)
    return Facts(
        look=describe_look(request.image),
        groups=tuple(groups),
        unsure=len(request.lines) - len(confident),
        metadata=request.metadata,
        seed=request.seed,
        tags=tuple(sorted(request.tags, key=lambda tag: (-tag.score, tag.name))),
    )


def quoted_within(
    texts: Sequence[str], budget: int, language: CaptionLanguage
) -> tuple[list[str], int]:
    """As many quotations, from the first on, as a number of characters allows.

    Returns:
        The quotations, at least one where there is a text; how many texts are left over.
    """
    quoted: list[str] = []
    for text in texts:
        budget -= len(text)
        if quoted and budget < 0:
            break
        quoted.append(quote(text, language))
    return quoted, len(texts) - len(quoted)


def spoken_in(given: Given | None, language: CaptionLanguage) -> bool:
    """Whether a given text can stand in a caption of this language as it is."""
    return given is not None and given.language == language


def word_or_quote(given: Given, language: CaptionLanguage) -> str:
    """A key word: as it is in its own language, quoted in another."""
    return given.text if given.language == language else quote(given.text, language)
