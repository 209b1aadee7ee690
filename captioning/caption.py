"""What goes into a captioner and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from captioning.metadata import Metadata
from captioning.ocr.lines import Line

CaptionLanguage = Literal["en", "zh"]
Level = Literal["tags", "short", "medium", "long", "prompt"]

LANGUAGES: tuple[CaptionLanguage, ...] = ("en", "zh")
LEVELS: tuple[Level, ...] = ("tags", "short", "medium", "long", "prompt")


class CaptionError(Exception):
    """One image got no captions; the message says why."""


class EndpointUnavailableError(OSError):
    """The captioner itself cannot be used: no fault of the image."""


@dataclass(frozen=True)
class CaptionRequest:
    """One image and what is known of it.

    Args:
        image: uint8[height, width, 3], RGB.
        lines: The text it shows, in reading order.
        metadata: What came with it.
        seed: Anything that tells this item from others and never changes; choices that
            are free are made by it.
    """

    image: npt.NDArray[np.uint8] = field(repr=False)
    lines: Sequence[Line] = ()
    metadata: Metadata = field(default_factory=Metadata)
    seed: str = ""

    @property
    def confident_texts(self) -> list[str]:
        """The texts that long captions must quote, in reading order."""
        return [line.text for line in self.lines if line.confident]


@dataclass(frozen=True)
class Captions:
    """Five levels of caption in two languages.

    ``tags`` are words, ``short`` is a sentence, ``medium`` and ``long`` quote the text in
    the image, ``prompt`` is what a user might type who wants such an image, incomplete on
    purpose.
    """

    en_tags: str
    en_short: str
    en_medium: str
    en_long: str
    en_prompt: str
    zh_tags: str
    zh_short: str
    zh_medium: str
    zh_long: str
    zh_prompt: str

    def get(self, language: CaptionLanguage, level: Level) -> str:
        """The caption of one language and level."""
        return getattr(self, f"{language}_{level}")

    def __iter__(self) -> Iterator[tuple[CaptionLanguage, Level, str]]:
        """All ten, with language and level."""
        for language in LANGUAGES:
            for level in LEVELS:
                yield language, level, self.get(language, level)


#: The names of the ten captions, English first.
CAPTION_NAMES = tuple(field.name for field in fields(Captions))


class CaptionBackend(Protocol):
    """Writes captions; may be called from several threads at once."""

    @property
    def name(self) -> str:
        """What the ``backend`` column says."""
        ...

    def write(self, request: CaptionRequest) -> Captions:
        """Write all captions of one image.

        Raises:
            CaptionError: If this image gets none.
            EndpointUnavailableError: If no image would get any.
        """
        ...
