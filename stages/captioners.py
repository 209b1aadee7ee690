"""The captioners that settings can name, and where their answers are kept."""

from __future__ import annotations

import hashlib
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from captioning.caption import CaptionBackend
from captioning.prompts import load_prompt
from stages.contract import ConfigurationError, UnavailableError
from stages.storage import Storage, child

if TYPE_CHECKING:
    from stages.caption import CaptionSettings

#: Of larger files of a model only both ends are read for its fingerprint.
_WHOLE = 4 << 20
_END = 1 << 20
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class AnswerFiles:
    """Keeps a model's answers beside the corpus, one small file each.

    A file is there whole or not at all, whoever else writes: two workers that asked the same
    question write the same name, and a kill costs no answer that had arrived. Until ``base``
    is set nothing is kept.

    Args:
        storage: Where uris are resolved.
        model: Its name is part of the folder's.
    """

    def __init__(self, storage: Storage, model: str) -> None:
        self._storage = storage
        self._folder = _UNSAFE.sub("_", model).strip("._") or "model"
        self.base: str | None = None

    def get(self, key: str) -> bytes | None:
        """The answer to a question; see ``AnswerStore``."""
        if self.base is None:
            return None
        try:
            return self._storage.read(self._place(key))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnavailableError(f"{self._place(key)} cannot be read: {error}") from error

    def put(self, key: str, value: bytes) -> None:
        """Keep an answer; see ``AnswerStore``."""
        if self.base is None:
            return
        try:
            self._storage.write(self._place(key), value)
        except OSError as error:
            raise UnavailableError(f"{self._place(key)} cannot be written: {error}") from error

    def _place(self, key: str) -> str:
        return child(self.base or "", self._folder, key[:2], f"{key}.json")


def make_backend(settings: CaptionSettings, answers: AnswerFiles | None = None) -> CaptionBackend:
    """Make the captioner that the settings name.

    Args:
        settings: Which, and how.
        answers: Where an endpoint's answers are kept; nowhere by default.
    """
    if settings.backend == "composer":
        from captioning.backends.composer import Composer

        return Composer()
    if settings.backend == "transformers":
        from captioning.backends.local import LocalCaptioner

        return LocalCaptioner(
            settings.model_dir or "",
            device=settings.resolved_device(),
            dtype=settings.resolved_dtype(),
            max_pixels=settings.max_pixels,
            batch_size=settings.batch_size,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            answers=settings.answers,
            prompt_version=settings.prompt_version,
            name=settings.model,
        )
    return _endpoint(settings, answers)


def _endpoint(settings: CaptionSettings, answers: AnswerFiles | None) -> CaptionBackend:
    from captioning.backends.endpoint import EndpointCaptioner, Sampling
    from captioning.backends.traffic import RateLimit

    return EndpointCaptioner(
        settings.model or "",
        base_url=settings.base_url,
        api_key=os.environ.get(settings.api_key_env or ""),
        timeout=settings.timeout,
        max_retries=settings.max_retries,
        sampling=Sampling(
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            max_side=settings.max_side,
            answers=settings.answers,
        ),
        prompt_version=settings.prompt_version,
        response_format=settings.response_format,
        limit=RateLimit(settings.requests_per_minute, settings.tokens_per_minute),
        store=answers,
    )


def check_captioner(settings: CaptionSettings) -> None:
    """Fail early where the captioner cannot work.

    Raises:
        ConfigurationError: Says what to do.
    """
    if settings.backend == "openai":
        _check_endpoint(settings)
    if settings.backend == "transformers":
        _check_local(settings)
    if settings.backend != "composer":
        try:
            load_prompt("caption.en", settings.prompt_version)
        except FileNotFoundError as error:
            raise ConfigurationError(f"caption.prompt_version: {error}") from error


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


def _check_local(settings: CaptionSettings) -> None:
    if find_spec("transformers") is None:
        raise ConfigurationError(
            "caption.backend transformers needs the package transformers; install winnow[vlm]"
        )
    if settings.model_dir is None:
        raise ConfigurationError(
            "caption.model_dir is missing: set it to the folder of a Qwen2.5-VL or Qwen3-VL model"
        )
    folder = Path(settings.model_dir)
    if not (folder / "config.json").is_file():
        raise ConfigurationError(
            f"caption.model_dir {folder} holds no config.json: name the folder of a model"
        )
    if settings.resolved_device() == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ConfigurationError("caption.device is cuda, and there is no CUDA device here")


def fingerprint_of_folder(folder: Path) -> dict[str, str]:
    """What tells the model in a folder from others, wherever the folder lies.

    Returns:
        Per file a SHA-256 of its size and content; of files over 4 MiB of both ends, 1 MiB
        each, since weights of many gigabytes would take minutes to read.
    """
    found = {}
    for path in sorted(each for each in folder.iterdir() if each.is_file()):
        size = path.stat().st_size
        digest = hashlib.sha256(str(size).encode())
        with path.open("rb") as file:
            digest.update(file.read(_WHOLE if size <= _WHOLE else _END))
            if size > _WHOLE:
                file.seek(size - _END)
                digest.update(file.read(_END))
        found[path.name] = digest.hexdigest()
    return found
