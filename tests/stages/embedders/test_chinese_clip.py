"""Chinese CLIP from a folder that transformers wrote, against transformers itself."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers", reason="the extra vlm brings transformers")

import torch

from stages.contract import ConfigurationError
from stages.embedders import Embedder, create_embedder
from tests.stages.embedders.tiny import TEXTS, pictures, save_chinese_clip

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("chinese_clip")
    save_chinese_clip(place)
    return place


@pytest.fixture(scope="module")
def embedder(folder: Path) -> Embedder:
    made = create_embedder(f"chinese_clip/{folder}")
    made.check()
    made.load("cpu", 1)
    return made


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    unit = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (left, right))
    return (next(unit) * next(unit)).sum(axis=1)


def test_images_are_where_transformers_puts_them(folder: Path, embedder: Embedder) -> None:
    from transformers import AutoImageProcessor, ChineseCLIPModel

    images = pictures(9)
    found = embedder.embed(images)
    assert (found.shape, found.dtype, embedder.dim) == ((9, 24), np.float32, 24)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    model = ChineseCLIPModel.from_pretrained(folder).eval()
    pixels = AutoImageProcessor.from_pretrained(folder)(images, return_tensors="pt")
    with torch.no_grad():
        expected = model.get_image_features(**pixels).pooler_output.numpy()
    # Pillow and torchvision round resized pixels differently.
    assert cosines(found, expected).min() > 0.9999
    prepared = torch.from_numpy(np.stack([embedder.prepare(image) for image in images]))
    scaled = pixels["pixel_values"] * torch.tensor(STD).view(3, 1, 1)
    shown = (scaled + torch.tensor(MEAN).view(3, 1, 1)) * 255
    assert (shown - prepared.permute(0, 3, 1, 2)).abs().mean() < 0.3


def test_texts_are_where_transformers_puts_them(folder: Path, embedder: Embedder) -> None:
    from transformers import AutoTokenizer, ChineseCLIPModel

    model = ChineseCLIPModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = embedder.encode_text(TEXTS)
    assert found.shape == (4, 24)
    for text, vector in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            alone = model.get_text_features(**tokenizer([text], return_tensors="pt"))
        assert cosines(vector[None], alone.pooler_output.numpy())[0] > 0.99999
    assert embedder.encode_text([]).shape == (0, 24)
    # Longer than the context: cut, not refused.
    assert np.isfinite(embedder.encode_text(["一" * 5000])).all()


def test_the_shortest_edge_is_resized_and_the_middle_cut_out(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "preprocessor_config.json"
    changed = {"size": {"shortest_edge": 64}, "do_center_crop": True}
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    embedder = create_embedder(f"chinese_clip/{tmp_path}")
    embedder.load("cpu", 1)
    from transformers import AutoImageProcessor

    images = pictures(9)
    pixels = AutoImageProcessor.from_pretrained(tmp_path)(images, return_tensors="pt")
    scaled = pixels["pixel_values"] * torch.tensor(STD).view(3, 1, 1)
    shown = (scaled + torch.tensor(MEAN).view(3, 1, 1)) * 255
    prepared = torch.from_numpy(np.stack([embedder.prepare(image) for image in images]))
    assert (shown - prepared.permute(0, 3, 1, 2)).abs().mean() < 0.3


def test_wrong_folders_say_what_to_do(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"is no folder and no OWNER/NAME"):
        create_embedder("chinese_clip//no/such/folder").check()
    with pytest.raises(ConfigurationError, match=r"holds no config\.json"):
        create_embedder(f"chinese_clip/{tmp_path}").check()
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigurationError, match="of type 'bert', not chinese_clip"):
        create_embedder(f"chinese_clip/{tmp_path}").check()
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        create_embedder(f"chinese_clip/{tmp_path}").load("cpu", 1)
    with pytest.raises(ConfigurationError, match="names its own weights"):
        create_embedder(f"chinese_clip/{folder}", checkpoint="x.pt")


def test_missing_weights_are_not_made_up(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigurationError, match=r"lack 1 tensors, such as visual_projection"):
        create_embedder(f"chinese_clip/{tmp_path}").load("cpu", 1)
