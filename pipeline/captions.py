"""Captions of image files, without a corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from captioning.caption import LANGUAGES, LEVELS, CaptionError, CaptionRequest
from captioning.chain import CaptionResult, caption_image
from captioning.metadata import read_metadata
from captioning.ocr.lines import Line
from pipeline.named_settings import named_settings
from stages.caption import CaptionSettings, CaptionStage
from stages.captioners import make_backend
from stages.contract import ItemError, Reason
from stages.images import ImageReader, decode
from stages.ocr import OcrSettings, OcrStage, make_engine
from stages.storage import Storage


@dataclass(frozen=True)
class Captioned:
    """One image file and its captions.

    Args:
        uri: The file.
        backend: Who wrote them.
        lines: The text it shows, in reading order.
        result: Captions and checks; ``None`` where there are none.
        failure: Why there are none: the code that quarantine would have, and a sentence.
    """

    uri: str
    backend: str
    lines: tuple[Line, ...] = ()
    result: CaptionResult | None = None
    failure: tuple[Reason, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        lines = [
            {"text": x.text, "box": x.box, "confidence": x.confidence, "script": x.script}
            for x in self.lines
        ]
        named = {"uri": self.uri, "backend": self.backend, "lines": lines}
        if self.result is None:
            reason, detail = self.failure or (Reason.STAGE_ERROR, "")
            return {**named, "error": {"reason": reason.value, "detail": detail}}
        result = self.result
        captions = {
            language: {level: result.captions.get(language, level) for level in LEVELS}
            for language in LANGUAGES
        }
        repairs = {"asked_again": result.revised, "appended": result.appended}
        checks = {**asdict(result.checks), **repairs, "flags": result.flags}
        return {**named, "captions": captions, "checks": checks, "usage": asdict(result.usage)}


def caption_settings(options: dict[str, Any], settings: Sequence[str] = ()) -> CaptionSettings:
    """Settings of a captioner as a command line names it.

    Args:
        options: Settings of ``CaptionSettings`` by name; ``None`` for their default.
        settings: Further ones as ``NAME=VALUE``, the value in YAML.

    Raises:
        ConfigurationError: For an unknown name, or a value out of range.
    """
    return named_settings(CaptionSettings, "caption", "timeout=60.0", options, settings)


def caption_files(
    uris: Sequence[str],
    settings: CaptionSettings | None = None,
    ocr: OcrSettings | None = None,
    storage: Storage | None = None,
    alt_text: str | None = None,
) -> Iterator[Captioned]:
    """Read the text of image files, and caption them.

    Args:
        uris: The files, anywhere storage reaches.
        settings: Who writes captions, and how; the composer by default.
        ocr: How text is read.
        storage: Where uris are resolved.
        alt_text: What is known of all of them.

    Yields:
        Each file with its captions, or with why it has none, in the order given.

    Raises:
        ConfigurationError: If captioner or text reader cannot work.
        OSError: If the endpoint cannot be used.
    """
    settings, ocr, storage = (
        settings or CaptionSettings(),
        ocr or OcrSettings(),
        storage or Storage(),
    )
    CaptionStage(settings, storage).check()
    OcrStage(ocr, storage).check()
    engine, backend = make_engine(ocr), make_backend(settings)
    with ImageReader(storage) as reader:
        for uri in uris:
            lines: tuple[Line, ...] = ()
            try:
                data = reader.read(_row(uri))
                pixels = np.asarray(decode(data))
                lines = tuple(engine.read([pixels])[0])
                digest = hashlib.sha256(data).hexdigest()
                request = CaptionRequest(
                    pixels, lines, read_metadata(alt_text), seed=digest, digest=digest
                )
                yield Captioned(uri, backend.name, lines, caption_image(backend, request))
            except ItemError as error:
                yield Captioned(uri, backend.name, failure=(error.reason, error.detail))
            except CaptionError as error:
                failure = Reason.CAPTION_FAILED, str(error)
                yield Captioned(uri, backend.name, lines, failure=failure)


def _row(uri: str) -> dict[str, Any]:
    row = dict.fromkeys(("container", "member", "offset", "length"))
    return {**row, "uri": uri, "key": uri}
