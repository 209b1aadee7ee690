"""What goes into a captioner and what comes out of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from captioning.metadata import Metadata
from captioning.ocr.lines import Line

CaptionLanguage = Literal["en", "zh"]
Level = Literal["tags", "short", "medium", "long", "prompt"]

LANGUAGES: tuple[CaptionLanguage, ...] = ("en", "zh")
LEVELS: tuple[Level, ...] = ("tags", "short", "medium", "long", "prompt")


@dataclass(frozen=True)
class Usage:
    """What answers cost.

    Args:
        answers: Answers of a model, those kept from an earlier run included.
        prompt_tokens: What they were asked with.
        completion_tokens: What they said.
    """

    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(
            self.answers + other.answers,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


NO_USAGE = Usage()


class CaptionError(Exception):
    """One image got no captions; the message says why.

    Args:
        message: Why.
        usage: What was spent on it all the same.
    """

    def __init__(self, message: str, usage: Usage = NO_USAGE) -> None:
        super().__init__(message)
        self.usage = usage


class EndpointUnavailableError(OSError):
    """The captioner itself cannot be used: no fault of the image."""


class Tag(NamedTuple):
    """Something an image seems to show, as a model without sentences found it.

    Args:
        name: English, as it stands in a sentence: ``a dog``, ``snow``, ``two people``.
        score: How sure the model is, on its own scale; higher is surer.
        zh: The same in Chinese; empty where it is not known.
    """

    name: str
    score: float
    zh: str = ""


@dataclass(frozen=True)
class CaptionRequest:
    """One image and what is known of it.

    Args:
        image: uint8[height, width, 3], RGB.
        lines: The text it shows, in reading order.
        metadata: What came with it.
        seed: Anything that tells this item from others and never changes; choices that
            are free are made by it.
        tags: What a zero-shot classifier says that it shows, surest first.
        digest: What tells this image from others, such as the SHA-256 of its encoded bytes;
            of the pixels where it is empty.
        url: Where the captioner can fetch the image by itself; ``None`` to send it along.
    """

    image: npt.NDArray[np.uint8] = field(repr=False)
    lines: Sequence[Line] = ()
    metadata: Metadata = field(default_factory=Metadata)
    seed: str = ""
    tags: Sequence[Tag] = ()
    digest: str = ""
    url: str | None = None

    @property
    def confident_texts(self) -> list[str]:
        """The texts that long captions must quote, in reading order.

        Lines that say again what another says, such as a watermark's repeats, are not among
        them.
        """
        return [line.text for line in self.lines if line.quoted]

    @property
    def image_digest(self) -> str:
        """``digest``, or the SHA-256 of shape and pixels, lower-case hex."""
        if self.digest:
            return self.digest
        shape = repr(self.image.shape).encode()
        return hashlib.sha256(shape + self.image.tobytes()).hexdigest()


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


@dataclass(frozen=True)
class Written:
    """What a captioner wrote for one image, and what that cost."""

    captions: Captions
    usage: Usage = NO_USAGE


@dataclass(frozen=True)
class Faults:
    """What is to be mended in captions.

    Args:
        incomplete: Names of captions, such as ``en_long``, that leave out text.
        missing: The texts they must quote.
        foreign: Names of captions that are in another language than they should be.
    """

    incomplete: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The captions that are to be written anew, in the order of ``CAPTION_NAMES``."""
        wrong = {*self.incomplete, *self.foreign}
        return [name for name in CAPTION_NAMES if name in wrong]


class CaptionBackend(Protocol):
    """Writes captions; may be called from several threads at once."""

    @property
    def name(self) -> str:
        """What the ``backend`` column says."""
        ...

    def write(self, request: CaptionRequest) -> Written:
        """Write all captions of one image.

        Raises:
            CaptionError: If this image gets none.
            EndpointUnavailableError: If no image would get any.
        """
        ...


@runtime_checkable
class RevisingBackend(Protocol):
    """A captioner that can be told what is wrong with its captions."""

    def revise(self, request: CaptionRequest, captions: Captions, faults: Faults) -> Written:
        """Write the faulty captions again; the others stay as they are.

        Raises:
            CaptionError: If it does not.
            EndpointUnavailableError: If no image would get any.
        """
        ...


@runtime_checkable
class BatchBackend(Protocol):
    """A captioner that is quicker over several images at once."""

    @property
    def batch_size(self) -> int:
        """How many."""
        ...

    def write_all(self, requests: Sequence[CaptionRequest]) -> list[Written | CaptionError]:
        """Write all captions of some images; an error where one gets none."""
        ...

    def revise_all(
        self, drafts: Sequence[tuple[CaptionRequest, Captions, Faults]]
    ) -> list[Written | CaptionError]:
        """Write the faulty captions of some images again."""
        ...
