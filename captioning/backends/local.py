"""Captions from a vision-language model on this machine, through transformers."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from captioning.backends.answers import (
    Answer,
    InvalidAnswerError,
    read_captions,
    read_revision,
)
from captioning.backends.asking import Asker, as_answer
from captioning.caption import (
    NO_USAGE,
    CaptionError,
    CaptionRequest,
    Captions,
    Faults,
    Written,
)
from captioning.prompts import CURRENT

_WARMER = 0.3
Turn = tuple[str, str]


class LocalCaptioner:
    """Asks a model of the class Qwen2.5-VL or Qwen3-VL from a local folder, in batches.

    Greedy at temperature 0: the same batches of images then get the same captions. An answer
    that is no valid set of captions is asked for again, sampled 0.3 warmer with a seed that
    depends on the images alone. Nothing is downloaded.

    Args:
        model_dir: Folder with the model, its processor and its chat template.
        device: ``cpu`` or ``cuda``.
        dtype: ``bf16`` or ``fp32``.
        max_pixels: Larger images are scaled down to this area.
        batch_size: Images that go through the model at once.
        max_tokens: Longest answer, in tokens.
        temperature: Of the sampling; 0 for the likeliest answer.
        answers: How often an image is asked about before it is given up.
        prompt_version: Which version of the prompts.
        name: What the ``backend`` column says; the folder's name by default.
    """

    def __init__(
        self,
        model_dir: str | Path,
        *,
        device: str = "cpu",
        dtype: str = "fp32",
        max_pixels: int = 1_003_520,
        batch_size: int = 8,
        max_tokens: int = 4096,
        temperature: float = 0.0,
        answers: int = 2,
        prompt_version: str = CURRENT,
        name: str | None = None,
    ) -> None:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        precision = torch.bfloat16 if dtype == "bf16" else torch.float32
        self._processor: Any = AutoProcessor.from_pretrained(model_dir, local_files_only=True)
        # Answers continue their prompts, so prompts of different length end together.
        self._processor.tokenizer.padding_side = "left"
        model: Any = AutoModelForImageTextToText.from_pretrained(
            model_dir, dtype=precision, local_files_only=True
        )
        self._model = model.to(device).eval()
        self._device = device
        self._max_pixels = max_pixels
        self.batch_size = batch_size
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._answers = answers
        self._asker = Asker(prompt_version)
        self._name = name or Path(model_dir).name

    @property
    def name(self) -> str:
        """What the ``backend`` column says."""
        return self._name

    def write(self, request: CaptionRequest) -> Written:
        """Write the captions of one image; see ``CaptionBackend``."""
        return _or_raise(self.write_all([request])[0])

    def revise(self, request: CaptionRequest, captions: Captions, faults: Faults) -> Written:
        """Write the faulty captions of one image again; see ``RevisingBackend``."""
        return _or_raise(self.revise_all([(request, captions, faults)])[0])

    def write_all(self, requests: Sequence[CaptionRequest]) -> list[Written | CaptionError]:
        """Write the captions of some images; see ``BatchBackend``."""
        usages = [NO_USAGE] * len(requests)
        failures: list[list[str]] = [[] for _ in requests]
        done: dict[int, Written] = {}
        for attempt in range(self._answers):
            open_ones = [index for index in range(len(requests)) if index not in done]
            asked = [
                (requests[i].image, [("user", self._asker.ask(requests[i]))]) for i in open_ones
            ]
            for index, answer in zip(open_ones, self._generate(asked, attempt), strict=True):
                usages[index] += answer.usage
                try:
                    done[index] = Written(read_captions(answer), usages[index])
                except InvalidAnswerError as error:
                    failures[index].append(str(error))
        return [
            done.get(index)
            or CaptionError(f"{self._name} gave no valid captions: {'; '.join(why)}", usages[index])
            for index, why in enumerate(failures)
        ]

    def revise_all(
        self, drafts: Sequence[tuple[CaptionRequest, Captions, Faults]]
    ) -> list[Written | CaptionError]:
        """Write the faulty captions of some images again; see ``BatchBackend``."""
        asked = [
            (
                request.image,
                [
                    ("user", self._asker.ask(request)),
                    ("assistant", as_answer(captions)),
                    ("user", self._asker.ask_again(faults)),
                ],
            )
            for request, captions, faults in drafts
        ]
        results: list[Written | CaptionError] = []
        for (_, captions, faults), answer in zip(drafts, self._generate(asked, 0), strict=True):
            try:
                revised = read_revision(answer, captions, faults.names)
                results.append(Written(revised, answer.usage))
            except InvalidAnswerError as error:
                results.append(CaptionError(str(error), answer.usage))
        return results

    def _generate(
        self, asked: Sequence[tuple[npt.NDArray[np.uint8], list[Turn]]], attempt: int
    ) -> list[Answer]:
        answers: list[Answer] = []
        for start in range(0, len(asked), self.batch_size):
            answers += self._generate_batch(asked[start : start + self.batch_size], attempt)
        return answers

    def _generate_batch(
        self, asked: Sequence[tuple[npt.NDArray[np.uint8], list[Turn]]], attempt: int
    ) -> list[Answer]:
        import torch

        pictures = [shrunk(image, self._max_pixels) for image, _ in asked]
        texts = [self._templated(turns) for _, turns in asked]
        inputs = self._processor(images=pictures, text=texts, padding=True, return_tensors="pt").to(
            self._device
        )
        warmth = self._temperature + _WARMER * attempt
        sampling = (
            {"do_sample": True, "temperature": warmth} if warmth > 0 else {"do_sample": False}
        )
        seed = zlib.crc32("\0".join(texts).encode(), zlib.crc32(pictures[0].tobytes()))
        devices = [self._model.device] if self._device == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices):
            torch.manual_seed(seed + attempt)
            output = self._model.generate(**inputs, max_new_tokens=self._max_tokens, **sampling)
        prompt = inputs["input_ids"].shape[1]
        asked_tokens = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            self._answer(row[prompt:].tolist(), tokens)
            for row, tokens in zip(output, asked_tokens, strict=True)
        ]

    def _templated(self, turns: Sequence[Turn]) -> str:
        """The conversation by the model's own template; the image stands before the first turn."""
        messages = [
            {"role": role, "content": [{"type": "text", "text": text}]} for role, text in turns
        ]
        messages[0]["content"] = [{"type": "image"}, *messages[0]["content"]]
        return str(
            self._processor.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        )

    def _answer(self, tokens: list[int], prompt_tokens: int) -> Answer:
        end = self._model.generation_config.eos_token_id
        ends = set(end) if isinstance(end, list) else {end}
        length = next((i for i, token in enumerate(tokens) if token in ends), None)
        said = tokens if length is None else tokens[:length]
        content = self._processor.tokenizer.decode(said, skip_special_tokens=True)
        return Answer(
            content=content,
            finish_reason="length" if length is None else "stop",
            prompt_tokens=int(prompt_tokens),
            completion_tokens=len(said) + (length is not None),
        )


def shrunk(image: npt.NDArray[np.uint8], max_pixels: int) -> Image.Image:
    """An image, scaled down to at most this area where it is larger."""
    picture = Image.fromarray(image)
    scale = (max_pixels / (picture.width * picture.height)) ** 0.5
    if scale >= 1:
        return picture
    size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _or_raise(result: Written | CaptionError) -> Written:
    if isinstance(result, CaptionError):
        raise result
    return result
