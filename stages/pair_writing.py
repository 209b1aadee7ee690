"""Writing the instructions of some pairs: images in, rows out. Runs in the workers."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from captioning.caption import CaptionError, EndpointUnavailableError
from captioning.ocr.lines import Line, OcrEngine
from captioning.pairs import Chosen
from captioning.pairs_chain import (
    NO_DIFFERENCE,
    PairRequest,
    PairWriter,
    Side,
    exact_instruction,
    write_instruction,
)
from captioning.prompts import load_prompt
from captioning.rendered import poster_in
from stages.captioners import AnswerFiles, check_captioner, make_backend
from stages.contract import ConfigurationError, ItemError, UnavailableError
from stages.images import ImageReader, decode
from stages.storage import Storage, child

if TYPE_CHECKING:
    from stages.caption import CaptionSettings
    from stages.ocr import OcrSettings

__all__ = ["NO_DIFFERENCE", "PairWork", "Writers", "check_writers", "write_pairs"]


@dataclass(frozen=True)
class Writers:
    """Who reads text, captions images and writes instructions.

    Args:
        backend: ``composer`` or ``openai``.
        prompt_version: Of the prompts for pairs.
        read_text: Whether text is read where ``ocr`` has not.
        ocr: Settings of ``ocr``, as JSON.
        caption: Settings of ``caption``, as JSON.
    """

    backend: str = "composer"
    prompt_version: str = "v1"
    read_text: bool = True
    ocr: str = "{}"
    caption: str = "{}"

    def ocr_settings(self) -> OcrSettings:
        """The settings of the text reader."""
        from stages.ocr import OcrSettings

        return OcrSettings.model_validate_json(self.ocr)

    def caption_settings(self) -> CaptionSettings:
        """The settings of the endpoint, whoever captions images."""
        from stages.caption import CaptionSettings

        given = CaptionSettings.model_validate_json(self.caption)
        return given.model_copy(update={"backend": self.backend})

    def fingerprint_fields(self) -> dict[str, Any]:
        """What of them shapes the instructions, as JSON-ready values."""
        fields: dict[str, Any] = {"backend": self.backend}
        if self.read_text:
            fields["ocr"] = self.ocr_settings().fingerprint_fields()
        if self.backend == "openai":
            fields["prompt_version"] = self.prompt_version
            fields["caption"] = self.caption_settings().fingerprint_fields()
        return fields


@dataclass(frozen=True)
class PairWork:
    """Some pairs to write; pickles to any worker.

    Args:
        chosen: The pairs.
        images: By item id: where its bytes lie, metadata, lines and captions where known.
        writers: Who writes.
        corpus: Where answers of an endpoint are kept.
    """

    chosen: tuple[Chosen, ...]
    images: dict[int, dict[str, Any]] = field(repr=False)
    writers: Writers
    corpus: str


def check_writers(writers: Writers) -> None:
    """Fail early where the writer cannot work.

    Raises:
        ConfigurationError: Says what to do.
    """
    if writers.backend != "openai":
        return
    check_captioner(writers.caption_settings())
    try:
        load_prompt("pairs_instruction.en", writers.prompt_version)
    except FileNotFoundError as error:
        raise ConfigurationError(f"pairs.prompt_version: {error}") from error


def write_pairs(storage: Storage, work: PairWork) -> list[dict[str, Any]]:
    """Write the instructions of some pairs, both ways.

    Returns:
        Rows of the table ``pairs``, the differences as lists, in the order of the pairs.

    Raises:
        UnavailableError: If a store or the endpoint cannot be reached.
    """
    writer = _writer(work.writers, storage, work.corpus)
    with ImageReader(storage) as reader:
        sides = _Sides(work, reader)
        turns = [(one, *ids) for one in work.chosen for ids in one.both_ways()]

        def write(turn: tuple[Chosen, int, int]) -> dict[str, Any]:
            one, source, target = turn
            head: dict[str, Any] = {"source_id": source, "target_id": target, "kind": one.kind}
            head |= {"group": one.group, "similarity": one.similarity}
            return {**head, **_written(writer, sides, turn)}

        # The composer's work is Python; requests wait.
        threads = work.writers.caption_settings().concurrency
        with ThreadPoolExecutor(threads if work.writers.backend == "openai" else 1) as pool:
            sides.load()
            return list(pool.map(write, turns))


def _written(writer: PairWriter, sides: _Sides, turn: tuple[Chosen, int, int]) -> dict[str, Any]:
    one, source, target = turn
    try:
        request = PairRequest(sides.of(source), sides.of(target), one.kind, one.group)
        return write_instruction(writer, request).to_row()
    except EndpointUnavailableError as error:
        raise UnavailableError(str(error)) from error
    except ItemError as error:
        failed = f"{error.reason.value}: {error.detail}"
    except CaptionError as error:
        failed = f"failed: {error}"
    nothing: dict[str, Any] = {"instruction_en": None, "instruction_zh": None, "differences": []}
    return {**nothing, "backend": writer.name, "checks": [failed[:500]]}


class _Sides:
    """The images of a piece of work, each read and decoded once."""

    def __init__(self, work: PairWork, reader: ImageReader) -> None:
        self._work = work
        self._reader = reader
        self._sides: dict[int, Side | ItemError] = {}

    def of(self, identifier: int) -> Side:
        """One image.

        Raises:
            ItemError: If it cannot be read.
        """
        side = self._sides[identifier]
        if isinstance(side, ItemError):
            raise side
        return side

    def load(self) -> None:
        """Read all images, in order: frames of a clip follow each other."""
        exact = self._known_exactly()
        for identifier, row in self._work.images.items():
            try:
                self._sides[identifier] = self._side(row, reads=identifier not in exact)
            except ItemError as error:
                self._sides[identifier] = error

    def _known_exactly(self) -> set[int]:
        """Images whose text nobody needs to read: the truth of all their pairs is known."""
        posters = {i: poster_in(row["meta"]) for i, row in self._work.images.items()}
        needed: set[int] = set()
        for one in self._work.chosen:
            if exact_instruction(posters[one.first], posters[one.second]) is None:
                needed |= {one.first, one.second}
        return set(posters) - needed

    def _side(self, row: dict[str, Any], *, reads: bool) -> Side:
        image = np.asarray(decode(self._reader.read(row)))
        writers = self._work.writers
        if row["lines"] is not None:
            lines = [Line.from_row(line) for line in row["lines"]]
        elif reads and writers.read_text:
            lines = _engine(writers.ocr).read([image])[0]
        else:
            lines = []
        captions: Any = {name: row[f"{name}_long"] for name in ("en", "zh") if row[f"{name}_long"]}
        return Side(image, lines, captions, row["sha256"], poster_in(row["meta"]))


@lru_cache(maxsize=1)
def _engine(settings: str) -> OcrEngine:
    """The text reader of this process."""
    from stages.ocr import OcrSettings, make_engine

    return make_engine(OcrSettings.model_validate_json(settings))


def _writer(writers: Writers, storage: Storage, corpus: str) -> PairWriter:
    if writers.backend == "composer":
        from captioning.pairs_composer import PairComposer

        return PairComposer()
    from captioning.backends.endpoint import Sampling
    from captioning.backends.traffic import RateLimit
    from captioning.pairs_endpoint import PairEndpoint

    settings = writers.caption_settings()
    answers = AnswerFiles(storage, settings.model or "")
    answers.base = child(corpus, "cache", "caption") if settings.keep_answers else None
    sampling = Sampling(
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        max_side=settings.max_side,
        answers=settings.answers,
    )
    return cast(
        "PairWriter",
        PairEndpoint(
            make_backend(settings, answers),
            settings.model or "",
            base_url=settings.base_url,
            api_key=os.environ.get(settings.api_key_env or ""),
            timeout=settings.timeout,
            max_retries=settings.max_retries,
            sampling=sampling,
            prompt_version=writers.prompt_version,
            schema=settings.response_format in {"auto", "json_schema"},
            limit=RateLimit(settings.requests_per_minute, settings.tokens_per_minute),
            store=answers,
        ),
    )
