"""Stage ``caption``: five levels of caption in English and Chinese for each kept image."""

from __future__ import annotations

import os
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from captioning.caption import (
    CaptionBackend,
    CaptionError,
    CaptionRequest,
    EndpointUnavailableError,
)
from captioning.chain import caption_image
from captioning.metadata import read_metadata
from captioning.ocr.lines import Line
from captioning.prompts import CURRENT, load_prompt
from stages.contract import (
    ConfigurationError,
    ItemError,
    MapStage,
    Output,
    Reads,
    Reason,
    Resources,
    StageSettings,
    UnavailableError,
    split_results,
)
from stages.images import IMAGE_COLUMNS, map_images
from stages.schemas import CAPTION


class CaptionSettings(StageSettings):
    """Who writes captions, and how."""

    backend: Literal["composer", "openai"] = "composer"
    """``composer`` needs no model; ``openai`` is any endpoint that speaks its protocol."""
    model: str | None = None
    """The model's name at the endpoint."""
    base_url: str | None = None
    """The endpoint, such as http://localhost:8000/v1."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; local servers need none."""
    prompt_version: str = CURRENT
    """Version of the prompt."""
    max_side: int = Field(default=1024, ge=64, le=8192)
    """Images are sent scaled down to this, in pixels."""
    max_tokens: int = Field(default=4096, ge=256)
    """Longest answer, in tokens."""
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    """Of the model's sampling."""
    answers: int = Field(default=2, ge=1, le=10)
    """How often an image is asked about before it goes into quarantine."""
    timeout: float = Field(default=120.0, gt=0.0)
    """Seconds until a request counts as failed."""
    max_retries: int = Field(default=4, ge=0, le=20)
    """Repeats of a failed request, with growing pauses."""
    concurrency: int = Field(default=1, ge=1, le=1024)
    """Images in flight in one worker: requests to the endpoint, or threads."""

    # The same model at another address gives the same captions.
    execution_only: ClassVar[frozenset[str]] = frozenset(
        {"base_url", "api_key_env", "timeout", "max_retries", "concurrency"}
    )


class CaptionStage(MapStage):
    """Captions the images that ``dedup`` kept, by the text ``ocr`` read in them."""

    name = "caption"
    version = 1
    reads = (
        Reads("items", (*IMAGE_COLUMNS, "width", "height", "alt_text", "language", "meta")),
        Reads("dedup", where="keep"),
        Reads("ocr", ("lines",)),
    )

    settings: CaptionSettings
    _backend: CaptionBackend

    @property
    def resources(self) -> Resources:
        """Requests wait, so they share a core; the composer keeps one busy per image."""
        local = self.settings.backend == "composer"
        cpus = self.settings.concurrency if local else 1
        return Resources(cpus=cpus, memory_gb=1.0 + 0.05 * self.settings.concurrency)

    def check(self) -> None:
        """Fail early; see ``MapStage``."""
        if self.settings.backend == "openai":
            _check_endpoint(self.settings)

    def setup(self) -> None:
        """Make the captioner."""
        self._backend = make_backend(self.settings)

    def process(self, table: pa.Table) -> Output:
        """Caption one partition's images."""
        threads = self.settings.concurrency
        results = map_images(table, self.storage, self._caption, threads=threads)
        return split_results(table, results, CAPTION)

    def _caption(self, image: Image.Image, row: dict[str, Any]) -> dict[str, Any]:
        request = CaptionRequest(
            image=np.asarray(image),
            lines=[Line.from_row(line) for line in row["lines"] or []],
            metadata=read_metadata(row["alt_text"], row["language"], row["meta"]),
            seed=str(row["item_id"]),
        )
        try:
            result = caption_image(self._backend, request)
        except CaptionError as error:
            raise ItemError(Reason.CAPTION_FAILED, str(error)) from error
        except EndpointUnavailableError as error:
            raise UnavailableError(str(error)) from error
        return {
            **asdict(result.captions),
            "backend": self._backend.name,
            "ocr_coverage": result.ocr_coverage,
            "flags": list(result.flags),
        }


def make_backend(settings: CaptionSettings) -> CaptionBackend:
    """Make the captioner that the settings name."""
    if settings.backend == "composer":
        from captioning.backends.composer import Composer

        return Composer()
    from captioning.backends.endpoint import EndpointCaptioner

    return EndpointCaptioner(
        settings.model or "",
        base_url=settings.base_url,
        api_key=os.environ.get(settings.api_key_env or ""),
        timeout=settings.timeout,
        max_retries=settings.max_retries,
        answers=settings.answers,
        max_side=settings.max_side,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        prompt_version=settings.prompt_version,
    )


def _check_endpoint(settings: CaptionSettings) -> None:
    if find_spec("openai") is None:
        raise ConfigurationError(
            "caption.backend openai needs the package openai; install winnow[vlm]"
        )
    if not settings.model:
        raise ConfigurationError(
            "caption.model is missing: name the model that the endpoint serves"
        )
    if settings.base_url is None and settings.api_key_env is None:
        raise ConfigurationError(
            "caption.base_url is missing; without one set caption.api_key_env to the name of "
            "the environment variable with your key"
        )
    if settings.api_key_env is not None and not os.environ.get(settings.api_key_env):
        raise ConfigurationError(
            f"caption.api_key_env names {settings.api_key_env}, which is not set in the environment"
        )
    try:
        load_prompt("caption.en", settings.prompt_version)
    except FileNotFoundError as error:
        raise ConfigurationError(f"caption.prompt_version: {error}") from error
