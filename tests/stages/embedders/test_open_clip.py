"""open_clip embedders on a tiny architecture with weights saved to a file."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from stages.contract import ConfigurationError
from stages.embedders import create_embedder
from stages.embedders.stream import EmbeddingStream, load_for_stream
from tests.stages.embedders.tiny import pictures

NAME = "winnow-tiny"
TOWER = {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
TEXT = {"context_length": 16, "vocab_size": 512, "width": 32, "heads": 2, "layers": 1}
TINY = {"embed_dim": 32, "vision_cfg": TOWER, "text_cfg": TEXT}


@dataclass(frozen=True)
class Tiny:
    """Where the tiny model lies, and the model itself."""

    config: str
    checkpoint: str
    model: torch.nn.Module


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("tiny")
    config = folder / f"{NAME}.json"
    config.write_text(json.dumps(TINY))
    open_clip.add_model_config(config)
    torch.manual_seed(0)
    model = open_clip.create_model(NAME).eval()
    checkpoint = folder / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, checkpoint)
    return Tiny(str(config), str(checkpoint), model)


def plain_loop(
    model: torch.nn.Module, images: list[Image.Image], preprocess: Any = None
) -> np.ndarray:
    """What the open_clip readme says to do, one image at a time."""
    preprocess = preprocess or open_clip.image_transform(64, is_train=False)
    rows = []
    with torch.no_grad():
        for image in images:
            features = model.encode_image(preprocess(image).unsqueeze(0))
            rows.append((features / features.norm(dim=-1, keepdim=True))[0].numpy())
    return np.stack(rows)


def test_a_checkpoint_gives_the_vectors_of_a_plain_loop(tiny: Tiny) -> None:
    embedder = create_embedder(
        f"open_clip/{NAME}", checkpoint=tiny.checkpoint, model_config_file=tiny.config
    )
    embedder.check()
    embedder.load("cpu", 1)
    images = pictures(9)
    vectors = embedder.embed(images)
    assert (vectors.shape, vectors.dtype) == ((9, 32), np.float32)
    assert embedder.dim == 32
    assert np.abs(vectors - plain_loop(tiny.model, images)).max() < 1e-5


def test_half_precision_on_the_cpu_is_close(tiny: Tiny) -> None:
    options = {"checkpoint": tiny.checkpoint, "model_config_file": tiny.config}
    embedder = create_embedder(f"open_clip/{NAME}", **options, precision="bf16")
    embedder.load("cpu", 1)
    images = pictures(6)
    vectors = embedder.embed(images)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    expected = plain_loop(tiny.model, images)
    assert ((vectors * expected).sum(axis=1) > 0.999).all()
    assert not np.array_equal(vectors, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("precision", ["auto", "bf16", "fp16", "fp32"])
def test_cuda_agrees_with_fp32_on_the_cpu(tiny: Tiny, precision: str) -> None:
    options = {"checkpoint": tiny.checkpoint, "model_config_file": tiny.config}
    embedder = create_embedder(f"open_clip/{NAME}", **options, precision=precision)
    embedder.load("cuda", 1)
    images = pictures(64)
    similarity = (embedder.embed(images) * plain_loop(tiny.model, images)).sum(axis=1)
    assert similarity.min() > (0.99999 if precision == "fp32" else 0.999)


def test_fp16_on_the_cpu_is_close(tiny: Tiny) -> None:
    options = {"checkpoint": tiny.checkpoint, "model_config_file": tiny.config}
    embedder = create_embedder(f"open_clip/{NAME}", **options, precision="fp16")
    embedder.load("cpu", 1)
    images = pictures(6)
    assert ((embedder.embed(images) * plain_loop(tiny.model, images)).sum(axis=1) > 0.999).all()


@pytest.mark.slow
@pytest.mark.skipif(which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_the_compiled_tower_is_the_plain_one_but_for_rounding(tiny: Tiny) -> None:
    options = {"checkpoint": tiny.checkpoint, "model_config_file": tiny.config}
    embedder = create_embedder(f"open_clip/{NAME}", **options, compiled=True)
    embedder.load("cpu", 1)
    images = pictures(11)
    assert np.abs(embedder.embed(images) - plain_loop(tiny.model, images)).max() < 1e-4
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert compiled >= 1
    # Batches of other sizes do not compile anew.
    assert np.abs(embedder.embed(images[:5]) - plain_loop(tiny.model, images[:5])).max() < 1e-4
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled


def test_a_model_that_cannot_be_compiled_says_what_to_do(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", lambda _: fail)
    options = {"checkpoint": tiny.checkpoint, "model_config_file": tiny.config}
    with pytest.raises(ConfigurationError, match=r"no C\+\+ compiler\): set compile to false"):
        create_embedder(f"open_clip/{NAME}", **options, compiled=True).load("cpu", 1)


def test_batches_side_by_side_give_the_same_vectors(tiny: Tiny) -> None:
    options = {"checkpoint": tiny.checkpoint, "model_config_file": tiny.config}
    embedder = create_embedder(f"open_clip/{NAME}", **options)
    load_for_stream(embedder, "cpu", 3)
    assert torch.get_num_threads() == 1
    images = pictures(40)
    buffers = [io.BytesIO() for _ in images]
    for image, buffer in zip(images, buffers, strict=True):
        image.save(buffer, "PNG")
    stream = EmbeddingStream(embedder, "cpu", 3, 7)
    found = list(stream.run(buffer.getvalue() for buffer in buffers))
    assert np.abs(np.stack(found) - plain_loop(tiny.model, images)).max() < 1e-5


def test_the_activation_is_that_of_the_weights(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    tag = {"own": {"url": "", "quick_gelu": True}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, NAME, tag)
    embedder = create_embedder(f"open_clip/{NAME}/own", checkpoint=tiny.checkpoint)
    embedder.load("cpu", 1)
    quick = open_clip.create_model(NAME, pretrained=tiny.checkpoint, force_quick_gelu=True).eval()
    images = pictures(3)
    assert np.abs(embedder.embed(images) - plain_loop(quick, images)).max() < 1e-5
    assert np.abs(embedder.embed(images) - plain_loop(tiny.model, images)).max() > 1e-4


def test_local_dir_needs_its_weights(tiny: Tiny, tmp_path: Path) -> None:
    name = f"open_clip/local-dir:{tmp_path}"
    with pytest.raises(ConfigurationError, match="holds no open_clip_config.json"):
        create_embedder(name).check()
    config = {"model_cfg": TINY, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match="holds no weights"):
        create_embedder(name).load("cpu", 1)
    save_file(
        {k: v.contiguous() for k, v in tiny.model.state_dict().items()},
        tmp_path / "open_clip_model.safetensors",
    )
    embedder = create_embedder(name)
    embedder.load("cpu", 1)
    images = pictures(3)
    assert np.abs(embedder.embed(images) - plain_loop(tiny.model, images)).max() < 1e-5


def test_a_tag_beside_a_checkpoint_gives_its_preprocessing(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "resize_mode": "squash"}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, NAME, {"own": {"url": "", **tag}})
    embedder = create_embedder(f"open_clip/{NAME}/own", checkpoint=tiny.checkpoint)
    embedder.load("cpu", 1)
    images = pictures(5)
    preprocess = open_clip.image_transform(64, is_train=False, **tag)
    expected = plain_loop(tiny.model, images, preprocess)
    assert np.abs(embedder.embed(images) - expected).max() < 1e-5
    assert np.abs(expected - plain_loop(tiny.model, images)).max() > 1e-3


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("open_clip/ViT-B-23/openai", "no model 'ViT-B-23'; did you mean 'ViT-B-32'"),
        ("open_clip/ViT-B-32/opnai", "no weights 'opnai' for ViT-B-32; did you mean 'openai'"),
        ("open_clip/ViT-B-32", "names no weights: set checkpoint"),
        ("open_clip/ViT-S-32-alt", "names no weights: set checkpoint to a file$"),
        ("resnet50", "model='resnet50' is unknown"),
    ],
)
def test_wrong_names_say_what_to_do(model: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_embedder(model).check()


def test_wrong_files_say_what_to_do(tiny: Tiny, tmp_path: Path) -> None:
    def embedder(checkpoint: str, config: str = tiny.config) -> None:
        create_embedder(f"open_clip/{NAME}", checkpoint=checkpoint, model_config_file=config).load(
            "cpu", 1
        )

    with pytest.raises(ConfigurationError, match=r"gone\.pt' is not a file"):
        embedder(str(tmp_path / "gone.pt"))
    garbage = tmp_path / "garbage.pt"
    garbage.write_bytes(b"no weights at all")
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        embedder(str(garbage))
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(Path(tiny.checkpoint).read_bytes()[:5000])
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        embedder(str(truncated))
    other_name = tmp_path / "other.json"
    other_name.write_text(json.dumps(TINY))
    with pytest.raises(ConfigurationError, match="describes the model 'other'"):
        embedder(tiny.checkpoint, str(other_name))
    (tmp_path / f"{NAME}.json").write_text('{"embed_dim": 3}')
    with pytest.raises(ConfigurationError, match="lacks text_cfg, vision_cfg"):
        embedder(tiny.checkpoint, str(tmp_path / f"{NAME}.json"))


def test_builtin_takes_no_weights(tiny: Tiny) -> None:
    with pytest.raises(ConfigurationError, match="brings its own weights"):
        create_embedder("builtin", checkpoint=tiny.checkpoint)
