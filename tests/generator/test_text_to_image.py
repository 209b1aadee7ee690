"""The whole: a folder in the official layout against diffusers' pipeline, and our own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from generator import S3DiT, S3DiTConfig
from generator.checkpoints import CheckpointError
from generator.codecs import BlockDct
from generator.sampler import SamplerOptions
from generator.text import HashedWords, QwenText
from generator.text_to_image import TextToImage
from tests.generator.official import make_official
from tests.generator.twins import TINY, distance, randomise

PROMPTS = ["a red circle", "两个绿色方块 and a long tail of words " * 3]
NEGATIVES = ["blurred", ""]
CASES = {
    "turbo": {},
    "guided": {"guidance": 4.0},
    "normalised": {"guidance": 4.0, "normalisation": 0.7},
    "truncated": {"guidance": 1.0, "truncation": 0.3, "steps": 6},
}


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("official")
    return folder, make_official(folder)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_pipeline_of_diffusers(official: tuple[Path, Any], case: str) -> None:
    folder, pipeline = official
    change: dict[str, Any] = CASES[case]
    options = SamplerOptions(**{"shift": 3.0, **change})
    got = TextToImage.from_pretrained(folder).generate(
        PROMPTS, size=(64, 96), seeds=[7, 8], negatives=NEGATIVES, options=options
    )
    want = pipeline(
        list(PROMPTS),
        negative_prompt=list(NEGATIVES),
        height=64,
        width=96,
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
        cfg_normalization=options.normalisation,
        cfg_truncation=options.truncation,
        generator=[torch.Generator().manual_seed(seed) for seed in (7, 8)],
        output_type="pt",
    ).images
    ours = [(each.clamp(-1, 1) + 1) / 2 for each in got]
    assert distance(ours, list(want)) < 1e-3
    assert float(want.std()) > 0.01


def test_default_options_are_the_schedulers(official: tuple[Path, Any]) -> None:
    loaded = TextToImage.from_pretrained(official[0])
    assert (loaded.options.steps, loaded.options.shift) == (8, 3.0)
    assert loaded.step == 16


def test_text_features_are_those_before_the_last_layer(official: tuple[Path, Any]) -> None:
    folder, pipeline = official
    text = QwenText.from_pretrained(folder / "text_encoder", folder / "tokenizer")
    want, _ = pipeline.encode_prompt(list(PROMPTS), do_classifier_free_guidance=False)
    assert distance(text.encode(PROMPTS), want) < 1e-5
    assert len(text.model.layers) == 2
    assert text.encode([]) == []
    assert len(text.encode(["word " * 600])[0]) == 512


def broken(name: str, part: str, act: Callable[[Path], object]) -> Any:
    return pytest.param(part, act, id=name)


def edit(**values: object) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return act


def lose_weight(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(path)
    state.pop(sorted(state)[0])
    save_file(state, path, metadata={"format": "pt"})


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-64])


@pytest.mark.parametrize(
    ("part", "act"),
    [
        broken("index lost", "model_index.json", Path.unlink),
        broken("other pipeline", "model_index.json", edit(_class_name="FluxPipeline")),
        broken("part lost", "vae", shutil.rmtree),
        broken("scheduler shifts", "scheduler/scheduler_config.json", edit(use_dynamic_shifting=1)),
        broken("vae weight lost", "vae/diffusion_pytorch_model.safetensors", lose_weight),
        broken("vae cut", "vae/diffusion_pytorch_model.safetensors", cut),
        broken("vae gone", "vae/diffusion_pytorch_model.safetensors", Path.unlink),
        broken("text weight lost", "text_encoder/model.safetensors", lose_weight),
        broken("text cut", "text_encoder/model.safetensors", cut),
        broken("model cut", "transformer/diffusion_pytorch_model.safetensors", cut),
    ],
)
def test_a_broken_part_is_refused(
    official: tuple[Path, Any], tmp_path: Path, part: str, act: Callable[[Path], object]
) -> None:
    shutil.copytree(official[0], tmp_path / "copy")
    act(tmp_path / "copy" / part)
    with pytest.raises(CheckpointError):
        TextToImage.from_pretrained(tmp_path / "copy")


def make_embedded() -> TextToImage:
    model = S3DiT(TINY).eval()
    randomise(model)
    return TextToImage(model, BlockDct(), HashedWords(48), SamplerOptions(steps=3))


def test_the_embedded_one_is_saved_and_loaded_whole(tmp_path: Path) -> None:
    made = make_embedded()
    made.save_pretrained(tmp_path)
    loaded = TextToImage.from_pretrained(tmp_path)
    assert loaded.options == made.options
    one, other = (each.generate(PROMPTS, size=(32, 48)) for each in (made, loaded))
    assert [each.shape for each in one] == [(3, 32, 48)] * 2
    assert distance(one, other) == 0
    (tmp_path / "winnow.json").write_text('{"codec": {"vq": {}}}')
    with pytest.raises(CheckpointError, match=r"winnow\.json"):
        TextToImage.from_pretrained(tmp_path)


def test_what_does_not_fit_is_refused() -> None:
    made = make_embedded()
    with pytest.raises(ValueError, match=r"multiples of 8, got \(32, 30\)"):
        made.generate(PROMPTS, size=(32, 30))
    with pytest.raises(ValueError, match=r"one for each prompt \(2\), got 1"):
        made.generate(PROMPTS, size=(32, 32), seeds=[1])
    with pytest.raises(ValueError, match="codec gives 4 channels, the model takes 16"):
        TextToImage(made.model, BlockDct(channels=4), made.text)
    with pytest.raises(ValueError, match="width of 32, the model takes 48"):
        TextToImage(made.model, made.codec, HashedWords(32))
    assert made.generate([]) == []
    assert S3DiTConfig().in_channels == made.codec.channels
