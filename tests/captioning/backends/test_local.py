"""The local captioner over tiny models of the real classes, loaded from disk."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from captioning.caption import BatchBackend, CaptionError, Written
from captioning.chain import CaptionResult, caption_images

pytest.importorskip("transformers", reason="the extra `vlm` is not installed")

from captioning.backends.local import LocalCaptioner, shrunk
from tests.captioning.backends.conftest import ANSWERS, DARK, LIGHT, request
from tests.captioning.backends.tiny_vlm import make


def test_answers_become_captions_in_batches(taught: Path) -> None:
    backend = LocalCaptioner(taught, batch_size=3, max_tokens=400)
    assert isinstance(backend, BatchBackend)
    assert backend.name == "tiny-vlm"
    written = backend.write_all([DARK, LIGHT, DARK, LIGHT])
    for one, answer in zip(written, ANSWERS * 2, strict=True):
        assert isinstance(one, Written)
        assert asdict(one.captions) == {k: v for k, v in json.loads(answer).items() if k != "text"}
        assert one.usage.answers == 1
        assert 0 < one.usage.completion_tokens < 400
    assert backend.write_all([DARK, LIGHT, DARK, LIGHT]) == written
    assert backend.write(LIGHT).captions == written[1].captions  # type: ignore[union-attr]


def test_half_precision(taught: Path) -> None:
    import torch

    backend = LocalCaptioner(taught, dtype="bf16", max_tokens=400)
    assert backend._model.dtype == torch.bfloat16
    (result,) = caption_images(backend, [LIGHT])
    assert isinstance(result, CaptionResult)
    assert result.captions.en_short == "A light notice that reads “Fresh Bread”."


def test_a_cut_answer_is_no_answer(taught: Path) -> None:
    (result,) = LocalCaptioner(taught, max_tokens=16, answers=1).write_all([DARK])
    assert isinstance(result, CaptionError)
    assert "max_tokens" in str(result)
    assert result.usage.completion_tokens == 16


@pytest.mark.parametrize("kind", ["qwen25", "qwen3"])
def test_a_model_that_talks_nonsense_costs_itself_only(kind: str, tmp_path: Path) -> None:
    make(kind, tmp_path, ["a picture of a red square", "一张图片"] * 3)
    backend = LocalCaptioner(tmp_path, batch_size=2, max_tokens=16, answers=2, name="nonsense")
    asked = [DARK, LIGHT, request(90, (300, 40))]
    results = caption_images(backend, asked)
    assert [type(result) for result in results] == [CaptionError] * 3
    assert all("nonsense gave no valid captions" in str(result) for result in results)
    assert [result.usage.answers for result in results] == [2] * 3
    with pytest.raises(CaptionError):
        backend.write(DARK)
    again = caption_images(backend, asked)
    assert [str(result) for result in again] == [str(result) for result in results]


def test_images_are_scaled_down_to_an_area() -> None:
    assert shrunk(request(0, (400, 100)).image, 10_000).size == (200, 50)
    assert shrunk(request(0, (40, 10)).image, 10_000).size == (40, 10)
    assert shrunk(request(0, (4000, 1)).image, 100).size == (632, 1)
