"""What a model is asked for, and how its answers are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from captioning.caption import CAPTION_NAMES, CaptionError, Captions, Usage
from captioning.language import clean_text
from captioning.wording import refuses

#: Where a model writes down the text it reads, before the captions.
TEXT = "text"
#: From this many captions that read like a refusal on, the answer is one.
_MANY = len(CAPTION_NAMES) // 2


class InvalidAnswerError(CaptionError):
    """The model answered, but not with what was asked for; asking again may help."""


@dataclass(frozen=True)
class Answer:
    """One answer of a model, as it came.

    Args:
        content: What it said.
        refusal: Its refusal, where the protocol has a place for that.
        finish_reason: ``stop``, ``length``, ...
        prompt_tokens: What it was asked with.
        completion_tokens: What it said.
    """

    content: str | None
    refusal: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def usage(self) -> Usage:
        """What it cost."""
        return Usage(1, self.prompt_tokens, self.completion_tokens)

    def to_json(self) -> bytes:
        """The answer as a line of JSON, to be kept."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Answer | None:
        """The answer that ``to_json`` wrote down; ``None`` for anything else."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError):
            return None


def answer_schema(names: Sequence[str]) -> dict[str, Any]:
    """The JSON schema of an answer with these captions; all ten go with the text read."""
    properties: dict[str, Any] = {name: {"type": "string"} for name in names}
    if len(names) == len(CAPTION_NAMES):
        lines = {"type": "array", "items": {"type": "string"}}
        properties = {TEXT: lines, **properties}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read_captions(answer: Answer) -> Captions:
    """Take all captions out of an answer.

    Raises:
        InvalidAnswerError: If it is a refusal, was cut, or does not hold ten captions.
    """
    captions = Captions(**_read(answer, CAPTION_NAMES))
    refused = [text for _, _, text in captions if refuses(text)]
    if len(refused) >= _MANY:
        raise InvalidAnswerError(f"the model refused: {refused[0]}")
    return captions


def read_revision(answer: Answer, captions: Captions, names: Sequence[str]) -> Captions:
    """The captions with some of them as an answer has them.

    Raises:
        InvalidAnswerError: If it does not hold them.
    """
    return replace(captions, **_read(answer, names))


def _read(answer: Answer, names: Sequence[str]) -> dict[str, str]:
    if answer.refusal:
        raise InvalidAnswerError(f"the model refused: {answer.refusal[:200]}")
    if answer.finish_reason == "length":
        raise InvalidAnswerError("the answer was cut at max_tokens; raise it")
    content = answer.content or ""
    try:
        values = _json_in(content)
    except ValueError as error:
        if refuses(content):
            raise InvalidAnswerError(f"the model refused: {content[:200]}") from error
        raise InvalidAnswerError(f"the answer is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise InvalidAnswerError(f"the answer is {type(values).__name__}, not an object")
    wrong = [
        name
        for name in names
        if not isinstance(values.get(name), str) or not clean_text(values[name])
    ]
    if wrong:
        raise InvalidAnswerError(f"the answer lacks {', '.join(wrong)}")
    return {name: clean_text(values[name]) for name in names}


def _json_in(content: str) -> Any:  # noqa: ANN401 - JSON values
    """The JSON of an answer: all of it, or the object inside prose or a code fence."""
    try:
        return json.loads(content)
    except ValueError:
        start = content.find("{")
        if start < 0:
            raise
        return json.JSONDecoder().raw_decode(content, start)[0]
