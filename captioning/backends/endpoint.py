"""Captions from any endpoint that speaks the OpenAI chat protocol."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from captioning.backends.answers import (
    Answer,
    InvalidAnswerError,
    answer_schema,
    read_captions,
    read_revision,
)
from captioning.backends.asking import Asker, as_answer
from captioning.backends.traffic import (
    LONGEST_PAUSE,
    RateLimit,
    Traffic,
    asked_pause,
    pause_before_repeat,
)
from captioning.caption import (
    CAPTION_NAMES,
    NO_USAGE,
    CaptionError,
    CaptionRequest,
    Captions,
    EndpointUnavailableError,
    Faults,
    Written,
)
from captioning.prompts import CURRENT

Messages = list[dict[str, Any]]
ResponseFormat = Literal["auto", "json_schema", "json_object", "none"]

# Wrong key, no such model, out of quota, nothing behind the gateway: no image is at fault.
_UNAVAILABLE = frozenset({401, 402, 403, 404, 429, 502, 503, 504})
_REPEATED = frozenset({408, 409, 429})
_REFUSED_FORMAT = frozenset({400, 404, 415, 422, 500, 501})
_FORMATS: tuple[ResponseFormat, ...] = ("json_schema", "json_object", "none")
_ABOUT_FORMATS = ("response_format", "json_schema", "json_object", "structured", "guided")
#: Each further answer to the same question is sampled this much more freely.
_WARMER = 0.3


class AnswerStore(Protocol):
    """Keeps answers, so that none is paid for twice; may be used by several threads."""

    def get(self, key: str) -> bytes | None:
        """What was put under a key, lower-case hex; ``None`` for nothing."""
        ...

    def put(self, key: str, value: bytes) -> None:
        """Keep an answer; whoever reads sees all of it or nothing."""
        ...


@dataclass(frozen=True)
class Sampling:
    """How answers are sampled, and what is sent; all of it shapes the captions.

    Args:
        max_tokens: Longest answer, in tokens.
        temperature: 0 for the likeliest answer. Each further answer to the same question
            is sampled 0.3 warmer, or it would be the same again.
        max_side: Larger images are scaled down to this, in pixels.
        answers: How often an image is asked about before it is given up.
    """

    max_tokens: int = 4096
    temperature: float = 0.0
    max_side: int = 1024
    answers: int = 2


class EndpointCaptioner:
    """Asks a vision-language model behind an OpenAI-compatible endpoint.

    Refused connections, time-outs and the statuses 408, 409, 429 and 5xx are repeated after
    the pause that the server asks for, or growing random ones. An answer that is no valid
    set of captions is asked for again. Every answer of the model, valid or not, is kept in
    the store and paid for once.

    Args:
        model: The model's name at the endpoint.
        base_url: The endpoint, such as ``http://localhost:8000/v1``; the official one
            without.
        api_key: The key; local servers take any.
        timeout: Seconds without a sign of life until a request counts as failed.
        max_retries: Repeats of a failed request.
        sampling: How answers are sampled.
        prompt_version: Which version of the prompts.
        response_format: How the form of the answer is asked for; ``auto`` starts with the
            JSON schema and goes back to what the server takes.
        limit: The rate limit; none by default.
        store: Where answers are kept; nowhere by default.
        sleep: Waits some seconds.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 120.0,
        max_retries: int = 4,
        sampling: Sampling | None = None,
        prompt_version: str = CURRENT,
        response_format: ResponseFormat = "auto",
        limit: RateLimit | None = None,
        store: AnswerStore | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import openai

        # The client's own repeats would neither be counted nor keep to the rate limit.
        self._client = openai.OpenAI(
            base_url=base_url, api_key=api_key or "none", timeout=timeout, max_retries=0
        )
        self._model = model
        self._repeats = max_retries
        self._sampling = sampling or Sampling()
        self._asker = Asker(prompt_version)
        self._fixed_format = response_format != "auto"
        self._format = 0 if response_format == "auto" else _FORMATS.index(response_format)
        self._limit = limit or RateLimit()
        self._store = store
        self._sleep = sleep
        self.traffic = Traffic()

    @property
    def name(self) -> str:
        """What the ``backend`` column says: the model's name."""
        return self._model

    def write(self, request: CaptionRequest) -> Written:
        """Ask for the captions of one image; see ``CaptionBackend``."""
        messages = self._messages(request)
        usage, failures = NO_USAGE, []
        for attempt in range(self._sampling.answers):
            answer = self._answer(messages, CAPTION_NAMES, request, attempt)
            usage += answer.usage
            try:
                return Written(read_captions(answer), usage)
            except InvalidAnswerError as error:
                failures.append(str(error))
        message = f"{self._model} gave no valid captions: {'; '.join(failures)}"
        raise CaptionError(message, usage)

    def revise(self, request: CaptionRequest, captions: Captions, faults: Faults) -> Written:
        """Ask again, once, for the captions with faults; see ``RevisingBackend``."""
        messages = [
            *self._messages(request),
            {"role": "assistant", "content": as_answer(captions)},
            {"role": "user", "content": self._asker.ask_again(faults)},
        ]
        answer = self._answer(messages, faults.names, request, 0)
        try:
            return Written(read_revision(answer, captions, faults.names), answer.usage)
        except InvalidAnswerError as error:
            raise CaptionError(str(error), answer.usage) from error

    def _messages(self, request: CaptionRequest) -> Messages:
        url = request.url or data_url(request.image, self._sampling.max_side)
        image = {"type": "image_url", "image_url": {"url": url}}
        text = {"type": "text", "text": self._asker.ask(request)}
        return [{"role": "user", "content": [image, text]}]

    def _answer(
        self, messages: Messages, names: Sequence[str], request: CaptionRequest, attempt: int
    ) -> Answer:
        """The model's answer, as kept from an earlier run or as it comes."""
        key = self._key(messages, names, request, attempt)
        kept = self._store.get(key) if self._store is not None else None
        answer = Answer.from_json(kept) if kept else None
        if answer is not None:
            self.traffic.add(kept_answers=1)
            return answer
        answer = self._ask(messages, names, attempt)
        if self._store is not None:
            self._store.put(key, answer.to_json())
        return answer

    def _key(
        self, messages: Messages, names: Sequence[str], request: CaptionRequest, attempt: int
    ) -> str:
        """What tells a question from all others; where the model is served is not part of it."""
        first, *others = messages
        parts = {
            "image": request.image_digest,
            "by_reference": request.url is not None,
            "texts": [first["content"][1]["text"], *(each["content"] for each in others)],
            "prompt": self._asker.version,
            "model": self._model,
            "names": list(names),
            "sampling": [
                *(self._sampling.max_tokens, self._sampling.temperature),
                *(self._sampling.max_side, attempt),
            ],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _ask(self, messages: Messages, names: Sequence[str], attempt: int) -> Answer:
        """Send a request until it is answered or given up."""
        repeat = 0
        while True:
            self.traffic.add(waited=self._limit.wait())
            used = self._format
            try:
                return self._send(messages, names, attempt, used)
            except _FormatRefusedError:
                # Others may have found out at the same time.
                self._format = max(self._format, used + 1)
            except _PassingError as failure:
                if repeat >= self._repeats:
                    raise failure.final from failure
                if failure.pause > LONGEST_PAUSE:
                    raise EndpointUnavailableError(
                        f"{self._client.base_url} asks to wait for {failure.pause:.0f} s"
                    ) from failure
                self._pause(failure, repeat)
                repeat += 1
                self.traffic.add(repeats=1)

    def _pause(self, failure: _PassingError, repeat: int) -> None:
        if failure.everyone:
            # The server wants quiet: no other thread need find out for itself.
            self._limit.hold(failure.pause)
            return
        pause = failure.pause or pause_before_repeat(repeat)
        self.traffic.add(waited=pause)
        self._sleep(pause)

    def _send(self, messages: Messages, names: Sequence[str], attempt: int, used: int) -> Answer:
        import openai

        create: Any = self._client.chat.completions.create
        warmth = min(2.0, self._sampling.temperature + _WARMER * attempt)
        try:
            with self.traffic.request():
                completion = create(
                    model=self._model,
                    messages=messages,
                    max_tokens=self._sampling.max_tokens,
                    temperature=warmth,
                    **_format_of(_FORMATS[used], names),
                )
        except openai.APITimeoutError as error:
            raise _PassingError(CaptionError("no answer within the time allowed")) from error
        except openai.APIConnectionError as error:
            raise _PassingError(
                EndpointUnavailableError(
                    f"{self._client.base_url} cannot be reached: {error.__cause__ or error}"
                )
            ) from error
        except openai.APIStatusError as error:
            raise self._status_error(error, used) from error
        except openai.APIError as error:
            raise CaptionError(f"{type(error).__name__}: {error.message}") from error
        except ValueError as error:  # the client passes on what its JSON decoder raises
            broken = CaptionError(f"the response is not JSON: {error}")
            raise _PassingError(broken) from error
        return self._received(completion)

    def _received(self, completion: Any) -> Answer:  # noqa: ANN401 - the client's type
        answer = answer_of(completion)
        if answer is None:
            raise _PassingError(CaptionError("the response holds no answer"))
        tokens = answer.prompt_tokens, answer.completion_tokens
        self._limit.settle(sum(tokens))
        self.traffic.add(answers=1, prompt_tokens=tokens[0], completion_tokens=tokens[1])
        return answer

    def _status_error(self, error: Any, used: int) -> Exception:  # noqa: ANN401 - client's type
        """Whether the endpoint is at fault, this one request, or the form asked for."""
        status, message = error.status_code, str(error.message)
        if (
            status in _REFUSED_FORMAT
            and not self._fixed_format
            and used + 1 < len(_FORMATS)
            and any(word in message.lower() for word in _ABOUT_FORMATS)
        ):
            return _FormatRefusedError(message)
        final: Exception = CaptionError(f"status {status}: {message}")
        if status in _UNAVAILABLE:
            final = EndpointUnavailableError(
                f"{self._client.base_url} does not serve model {self._model!r}: "
                f"status {status}: {message}"
            )
        if status in _REPEATED or status >= 500:
            asked = asked_pause(error.response.headers)
            return _PassingError(final, asked or 0.0, everyone=bool(asked))
        return final


class _FormatRefusedError(Exception):
    """The server does not take the form of answer asked for."""


class _PassingError(Exception):
    """A request failed, and may work when sent again.

    Args:
        final: What to raise when it does not.
        pause: Seconds the server asks to wait; 0 where it does not say.
        everyone: Whether no request should be sent until then.
    """

    def __init__(self, final: Exception, pause: float = 0.0, *, everyone: bool = False) -> None:
        super().__init__(str(final))
        self.final = final
        self.pause = pause
        self.everyone = everyone


def _format_of(kind: ResponseFormat, names: Sequence[str]) -> dict[str, Any]:
    if kind == "json_schema":
        schema = {"name": "captions", "strict": True, "schema": answer_schema(names)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    return {} if kind == "none" else {"response_format": {"type": kind}}


def answer_of(completion: Any) -> Answer | None:  # noqa: ANN401 - the client's type
    """The answer in a completion; ``None`` where there is none."""
    choices = getattr(completion, "choices", None)
    if not choices:
        return None
    message, usage = choices[0].message, getattr(completion, "usage", None)
    return Answer(
        content=message.content,
        refusal=getattr(message, "refusal", None),
        finish_reason=choices[0].finish_reason,
        prompt_tokens=getattr(usage, "prompt_tokens", None) or 0,
        completion_tokens=getattr(usage, "completion_tokens", None) or 0,
    )


def data_url(image: npt.NDArray[np.uint8], max_side: int) -> str:
    """An RGB image as a JPEG data URL, scaled down to at most ``max_side`` pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
