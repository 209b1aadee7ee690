"""Text towers: the vectors of open_clip itself, and words beside what they mean."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image, ImageDraw

from stages.contract import ConfigurationError
from stages.embedders import create_embedder
from tests.stages.embedders.tiny import TEXTS, pictures, save_multilingual, save_siglip

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220)}


def plain_text(model: torch.nn.Module, name: str, texts: list[str]) -> np.ndarray:
    tokens = open_clip.get_tokenizer(name)(texts)
    with torch.no_grad():
        return torch.nn.functional.normalize(model.encode_text(tokens), dim=1).numpy()


@pytest.mark.parametrize("make", [save_siglip, save_multilingual])
def test_a_folder_with_its_own_tokenizer(make, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the extra vlm brings transformers")
    model = make(tmp_path)
    embedder = create_embedder(f"open_clip/local-dir:{tmp_path}")
    embedder.check()
    embedder.load("cpu", 1)
    expected = plain_text(model, f"local-dir:{tmp_path}", TEXTS)
    assert np.abs(embedder.encode_text(TEXTS) - expected).max() < 1e-5
    assert len({tuple(row) for row in expected.round(4)}) == len(TEXTS)
    # Images as open_clip's own transform of this folder shows them.
    *_, transform = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    images = pictures(5)
    with torch.no_grad():
        shown = model.encode_image(torch.stack([transform(image) for image in images]))
    expected = torch.nn.functional.normalize(shown, dim=1).numpy()
    assert np.abs(embedder.embed(images) - expected).max() < 1e-5
    assert embedder.encode_text([]).shape == (0, embedder.dim)


def test_a_tokenizer_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the extra vlm brings transformers")
    save_siglip(tmp_path)
    for file in tmp_path.glob("tokenizer*"):
        file.unlink()
    embedder = create_embedder(f"open_clip/local-dir:{tmp_path}")
    embedder.load("cpu", 1)
    assert embedder.embed(pictures(2)).shape == (2, 192)
    with pytest.raises(ConfigurationError, match="its tokenizer cannot be loaded"):
        embedder.encode_text(["a"])


def test_the_builtin_embedder_has_no_text_tower() -> None:
    with pytest.raises(ConfigurationError, match="builtin has no text tower"):
        create_embedder("builtin").encode_text(["a cat"])


def test_a_trained_model_puts_words_beside_what_they_mean(shared: Path) -> None:
    folder = shared / "tools" / "examples" / "shapesclip"
    if not folder.is_dir():
        pytest.skip("../shared/tools/examples/shapesclip is not on this machine")
    embedder = create_embedder(f"open_clip/local-dir:{folder}")
    embedder.load("cpu", 1)
    rng = np.random.default_rng(3)
    names, images = [], []
    for _ in range(20):
        for name, colour in COLOURS.items():
            image = Image.new("RGB", (64, 64), (230, 225, 235))
            x, y = (int(each) for each in rng.integers(4, 20, 2))
            ImageDraw.Draw(image).rectangle((x, y, x + 36, y + 36), fill=colour)
            names.append(name)
            images.append(image)
    texts = embedder.encode_text([f"a photo of a {name} square" for name in COLOURS])
    nearest = (embedder.embed(images) @ texts.T).argmax(axis=1)
    right = np.array([list(COLOURS)[each] for each in nearest]) == np.array(names)
    assert right.mean() > 0.9
