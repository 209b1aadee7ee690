"""Instructions from any endpoint that speaks the OpenAI chat protocol, in three steps."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from captioning.backends.answers import Answer, InvalidAnswerError
from captioning.backends.endpoint import AnswerStore, Sampling, answer_of, data_url
from captioning.backends.traffic import RateLimit, Traffic
from captioning.caption import (
    NO_USAGE,
    CaptionBackend,
    CaptionError,
    CaptionRequest,
    EndpointUnavailableError,
    Usage,
)
from captioning.chain import caption_image
from captioning.language import clean_text
from captioning.pairs_chain import Difference, PairRequest, PairText, Side
from captioning.prompts import load_prompt

#: The version of these prompts that is used unless another is asked for.
CURRENT_PAIRS = "v1"
_UNAVAILABLE = frozenset({401, 402, 403, 404, 429, 502, 503, 504})
_WARMER = 0.3
_LONG_CAPTIONS_KEPT = 256
_STRING = {"type": "string"}
_DIFFERENCES = {"differences": {"type": "array", "items": _STRING}}
_INSTRUCTION = {"instruction_en": _STRING, "instruction_zh": _STRING}


class PairEndpoint:
    """Captions both images, has their differences named, and an instruction written.

    Images without a caption are captioned first, by the captioner given. Answers are kept in
    the store and paid for once.

    Args:
        captioner: Writes the captions of images that have none.
        model: The model's name at the endpoint.
        base_url: The endpoint; the official one without.
        api_key: The key; local servers take any.
        timeout: Seconds until a request counts as failed.
        max_retries: Repeats of a failed request, with the client's growing pauses.
        sampling: How answers are sampled.
        prompt_version: Which version of the prompts.
        schema: Whether the form of the answer is asked for by JSON schema, too.
        limit: The rate limit; none by default.
        store: Where answers are kept; nowhere by default.
    """

    def __init__(
        self,
        captioner: CaptionBackend,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 120.0,
        max_retries: int = 4,
        sampling: Sampling | None = None,
        prompt_version: str = CURRENT_PAIRS,
        schema: bool = True,
        limit: RateLimit | None = None,
        store: AnswerStore | None = None,
    ) -> None:
        import openai

        self._client = openai.OpenAI(
            base_url=base_url, api_key=api_key or "none", timeout=timeout, max_retries=max_retries
        )
        self._captioner = captioner
        self._model = model
        self._sampling = sampling or Sampling()
        self._version = prompt_version
        self._compare = load_prompt("pairs_differences.en", prompt_version)
        self._instruct = load_prompt("pairs_instruction.en", prompt_version)
        self._schema = schema
        self._limit = limit or RateLimit()
        self._store = store
        self._captions: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()
        self.traffic = Traffic()

    @property
    def name(self) -> str:
        """What the ``backend`` column says: the model's name."""
        return self._model

    def write(self, request: PairRequest) -> PairText:
        """Write the instruction of a pair; see ``PairWriter``."""
        sides = request.source, request.target
        captions, usage = [], NO_USAGE
        for side in sides:
            caption, cost = self._caption(side)
            captions.append(caption)
            usage += cost
        listed, cost = self._differences(sides, captions)
        usage += cost
        if not listed:
            # No third step: a model asked to word nothing makes something up.
            return PairText("Keep the image as it is.", "保持画面不变。", (), usage)
        text = self._instruct.substitute(differences="\n".join(f"- {each}" for each in listed))
        content = [{"type": "text", "text": text}]
        words, cost = self._asked(content, _INSTRUCTION, [], _read_instruction)
        differences = tuple(Difference("said", after=each) for each in listed)
        return PairText(words[0], words[1], differences, usage + cost)

    def _caption(self, side: Side) -> tuple[str, Usage]:
        """The long English caption of one image."""
        if side.captions.get("en"):
            return side.captions["en"], NO_USAGE
        key = side.digest or hashlib.sha256(side.image.tobytes()).hexdigest()
        with self._lock:
            kept = self._captions.get(key)
        if kept is not None:
            return kept, NO_USAGE
        request = CaptionRequest(image=side.image, lines=side.lines, digest=key)
        result = caption_image(self._captioner, request)
        with self._lock:
            self._captions[key] = result.captions.en_long
            if len(self._captions) > _LONG_CAPTIONS_KEPT:
                self._captions.popitem(last=False)
        return result.captions.en_long, result.usage

    def _differences(
        self, sides: Sequence[Side], captions: Sequence[str]
    ) -> tuple[list[str], Usage]:
        lines = ["\n".join(side.texts) or "(none)" for side in sides]
        text = self._compare.substitute(
            source=captions[0], target=captions[1], source_lines=lines[0], target_lines=lines[1]
        )
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": data_url(s.image, self._sampling.max_side)}}
            for s in sides
        ]
        content.append({"type": "text", "text": text})
        digests = [hashlib.sha256(side.image.tobytes()).hexdigest() for side in sides]
        return self._asked(content, _DIFFERENCES, digests, _read_differences)

    def _asked(
        self,
        content: list[dict[str, Any]],
        properties: dict[str, Any],
        digests: Sequence[str],
        read: Any,  # noqa: ANN401 - gives what the caller wants
    ) -> tuple[Any, Usage]:
        """Ask until an answer can be read, as often as the sampling allows."""
        usage, failures = NO_USAGE, []
        for attempt in range(self._sampling.answers):
            answer = self._answer(content, properties, digests, attempt)
            usage += answer.usage
            try:
                return read(_values(answer)), usage
            except InvalidAnswerError as error:
                failures.append(str(error))
        raise CaptionError(f"{self._model} gave no valid answer: {'; '.join(failures)}", usage)

    def _answer(
        self,
        content: list[dict[str, Any]],
        properties: dict[str, Any],
        digests: Sequence[str],
        attempt: int,
    ) -> Answer:
        key = self._key(content[-1]["text"], digests, attempt)
        kept = self._store.get(key) if self._store is not None else None
        answer = Answer.from_json(kept) if kept else None
        if answer is not None:
            self.traffic.add(kept_answers=1)
            return answer
        answer = self._send(content, properties, attempt)
        if self._store is not None:
            self._store.put(key, answer.to_json())
        return answer

    def _key(self, text: str, digests: Sequence[str], attempt: int) -> str:
        sampling = self._sampling
        parts = {
            "images": list(digests),
            "text": text,
            "prompt": f"pairs.{self._version}",
            "model": self._model,
            "sampling": [
                *(sampling.max_tokens, sampling.temperature, sampling.max_side, attempt),
            ],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _send(
        self, content: list[dict[str, Any]], properties: dict[str, Any], attempt: int
    ) -> Answer:
        import openai

        self.traffic.add(waited=self._limit.wait())
        create: Any = self._client.chat.completions.create
        try:
            with self.traffic.request():
                completion = create(
                    model=self._model,
                    messages=[{"role": "user", "content": content}],
                    max_tokens=self._sampling.max_tokens,
                    temperature=min(2.0, self._sampling.temperature + _WARMER * attempt),
                    **(_format(properties) if self._schema else {}),
                )
        except openai.APITimeoutError as error:
            raise CaptionError("no answer within the time allowed") from error
        except openai.APIConnectionError as error:
            raise EndpointUnavailableError(
                f"{self._client.base_url} cannot be reached: {error.__cause__ or error}"
            ) from error
        except openai.APIStatusError as error:
            raise self._status_error(error.status_code, error.message) from error
        except (openai.APIError, ValueError) as error:
            raise CaptionError(f"the response cannot be read: {error}") from error
        return self._received(completion)

    def _received(self, completion: Any) -> Answer:  # noqa: ANN401 - the client's type
        answer = answer_of(completion)
        if answer is None:
            raise CaptionError("the response holds no answer")
        tokens = answer.prompt_tokens, answer.completion_tokens
        self._limit.settle(sum(tokens))
        self.traffic.add(answers=1, prompt_tokens=tokens[0], completion_tokens=tokens[1])
        return answer

    def _status_error(self, status: int, message: str) -> Exception:
        if status in _UNAVAILABLE:
            return EndpointUnavailableError(
                f"{self._client.base_url} does not serve model {self._model!r}: "
                f"status {status}: {message}"
            )
        return CaptionError(f"status {status}: {message}")


def _format(properties: dict[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    named = {"name": "pairs", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _values(answer: Answer) -> dict[str, Any]:
    """The JSON object of an answer, also inside prose or a code fence."""
    if answer.refusal:
        raise InvalidAnswerError(f"the model refused: {answer.refusal[:200]}")
    if answer.finish_reason == "length":
        raise InvalidAnswerError("the answer was cut at max_tokens; raise it")
    content = answer.content or ""
    try:
        values = json.JSONDecoder().raw_decode(content, max(0, content.find("{")))[0]
    except ValueError as error:
        raise InvalidAnswerError(f"the answer is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise InvalidAnswerError(f"the answer is {type(values).__name__}, not an object")
    return values


def _read_differences(values: dict[str, Any]) -> list[str]:
    listed = values.get("differences")
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise InvalidAnswerError("the answer lacks differences")
    return [text for each in listed if (text := clean_text(each))]


def _read_instruction(values: dict[str, Any]) -> tuple[str, str]:
    texts = [values.get(name) for name in _INSTRUCTION]
    english, chinese = (clean_text(t) if isinstance(t, str) else "" for t in texts)
    if not english or not chinese:
        raise InvalidAnswerError("the answer lacks instruction_en or instruction_zh")
    return english, chinese
