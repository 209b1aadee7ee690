"""Captions from any endpoint that speaks the OpenAI chat protocol."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from captioning.caption import (
    CAPTION_NAMES,
    CaptionError,
    CaptionRequest,
    Captions,
    EndpointUnavailableError,
)
from captioning.language import clean_text
from captioning.metadata import Metadata
from captioning.ocr.lines import Line
from captioning.prompts import CURRENT, load_prompt

#: The answer asked for: the ten captions, all of them, as text.
ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in CAPTION_NAMES},
    "required": list(CAPTION_NAMES),
    "additionalProperties": False,
}

# Wrong key, no such model, out of quota, nothing behind the gateway: no image is at fault.
_UNAVAILABLE = frozenset({401, 402, 403, 404, 429, 502, 503, 504})


class InvalidAnswerError(CaptionError):
    """The endpoint answered, but not with a set of captions; asking again may help."""


class EndpointCaptioner:
    """Asks a vision-language model behind an OpenAI-compatible endpoint.

    The client retries refused connections, time-outs and the statuses 408, 409, 429 and
    5xx with growing pauses. An answer that is no valid set of captions is asked for again.

    Args:
        model: The model's name at the endpoint.
        base_url: The endpoint, such as ``http://localhost:8000/v1``; the official one
            without.
        api_key: The key; local servers take any.
        timeout: Seconds until a request counts as failed.
        max_retries: Repeats of a failed request.
        answers: How often an image is asked about before it is given up.
        max_side: Larger images are scaled down to this, in pixels.
        max_tokens: Longest answer, in tokens.
        temperature: Of the sampling; 0 for the likeliest answer.
        prompt_version: Which version of the prompt.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 120.0,
        max_retries: int = 4,
        answers: int = 2,
        max_side: int = 1024,
        max_tokens: int = 4096,
        temperature: float = 0.0,
        prompt_version: str = CURRENT,
    ) -> None:
        import openai

        self._client = openai.OpenAI(
            base_url=base_url, api_key=api_key or "none", timeout=timeout, max_retries=max_retries
        )
        self._model = model
        self._answers = answers
        self._max_side = max_side
        self._sampling = {"max_tokens": max_tokens, "temperature": temperature}
        self._prompt = load_prompt("caption.en", prompt_version)

    @property
    def name(self) -> str:
        """What the ``backend`` column says: the model's name."""
        return self._model

    def write(self, request: CaptionRequest) -> Captions:
        """Ask for the captions of one image; see ``CaptionBackend``."""
        messages = self._messages(request)
        failures = []
        for _ in range(self._answers):
            try:
                return read_answer(self._ask(messages))
            except InvalidAnswerError as error:
                failures.append(str(error))
        raise CaptionError(f"{self._model} gave no valid captions: {'; '.join(failures)}")

    def _messages(self, request: CaptionRequest) -> list[dict[str, Any]]:
        text = self._prompt.substitute(
            lines=_listed_lines(request.lines),
            metadata=_listed_metadata(request.metadata),
            keys=", ".join(CAPTION_NAMES),
        )
        image = {"type": "image_url", "image_url": {"url": data_url(request.image, self._max_side)}}
        return [{"role": "user", "content": [image, {"type": "text", "text": text}]}]

    def _ask(self, messages: list[dict[str, Any]]) -> Any:  # noqa: ANN401 - the client's type
        import openai

        schema = {"name": "captions", "strict": True, "schema": ANSWER_SCHEMA}
        create: Any = self._client.chat.completions.create
        try:
            return create(
                model=self._model,
                messages=messages,
                response_format={"type": "json_schema", "json_schema": schema},
                **self._sampling,
            )
        except openai.APITimeoutError as error:
            raise CaptionError("no answer within the time allowed") from error
        except openai.APIConnectionError as error:
            raise EndpointUnavailableError(
                f"{self._client.base_url} cannot be reached: {error.__cause__ or error}"
            ) from error
        except openai.APIStatusError as error:
            raise self._status_error(error.status_code, error.message) from error
        except openai.APIError as error:
            raise CaptionError(f"{type(error).__name__}: {error.message}") from error
        except ValueError as error:  # the client passes on what its JSON decoder raises
            raise InvalidAnswerError(f"the response is not JSON: {error}") from error

    def _status_error(self, status: int, message: str) -> Exception:
        """Whether the endpoint is at fault, after all retries, or this one request."""
        if status in _UNAVAILABLE:
            return EndpointUnavailableError(
                f"{self._client.base_url} does not serve model {self._model!r}: "
                f"status {status}: {message}"
            )
        return CaptionError(f"status {status}: {message}")


def read_answer(completion: Any) -> Captions:  # noqa: ANN401 - the client's type
    """Take the captions out of a completion.

    Raises:
        InvalidAnswerError: If it is a refusal, was cut, or does not hold ten captions.
    """
    choices = getattr(completion, "choices", None)
    if not choices:
        raise InvalidAnswerError("the response holds no answer")
    message = choices[0].message
    if getattr(message, "refusal", None):
        raise InvalidAnswerError(f"the model refused: {message.refusal}")
    if choices[0].finish_reason == "length":
        raise InvalidAnswerError("the answer was cut at max_tokens; raise it")
    try:
        answer = json.loads(message.content or "")
    except ValueError as error:
        raise InvalidAnswerError(f"the answer is not JSON: {error}") from error
    if not isinstance(answer, dict):
        raise InvalidAnswerError(f"the answer is {type(answer).__name__}, not an object")
    texts = {name: answer.get(name) for name in CAPTION_NAMES}
    wrong = [name for name, text in texts.items() if not isinstance(text, str) or not text.strip()]
    if wrong:
        raise InvalidAnswerError(f"the answer lacks {', '.join(wrong)}")
    return Captions(**{name: clean_text(str(text)) for name, text in texts.items()})


def data_url(image: npt.NDArray[np.uint8], max_side: int) -> str:
    """An RGB image as a JPEG data URL, scaled down to at most ``max_side`` pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _listed_lines(lines: Sequence[Line]) -> str:
    listed = [line.text if line.confident else f"{line.text} (uncertain)" for line in lines]
    return "\n".join(listed) or "(none)"


def _listed_metadata(metadata: Metadata) -> str:
    keywords = ", ".join(word.text for word in metadata.keywords)
    fields = {
        "Alt text": metadata.alt.text if metadata.alt else "",
        "Title": metadata.title.text if metadata.title else "",
        "Keywords": keywords,
        "Place": metadata.place.text if metadata.place else "",
    }
    return "\n".join(f"{name}: {text}" for name, text in fields.items() if text) or "(nothing)"
