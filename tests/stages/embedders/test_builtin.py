"""The embedded copy detector, from outside: what it calls the same, and what it does not."""

import io
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from stages.contract import ConfigurationError
from stages.embedders import builtin
from stages.embedders.builtin import WEIGHTS, BuiltinEmbedder

EMBEDDER = BuiltinEmbedder()
MEGABYTE = 1e6


def held_out(shared: Path, count: int) -> list[Image.Image]:
    """Photographs that the embedder was not trained on, from all folders."""
    from training.copydetect.split import read_split

    paths = read_split("test")
    chosen = paths[:: len(paths) // count][:count]
    return [Image.open(shared / "data" / path).convert("RGB") for path in chosen]


def shipped() -> list[Image.Image]:
    """Photographs that come with scikit-image; none of them was trained on."""
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the photographs")
    names = ("astronaut", "chelsea", "coffee", "rocket")
    return [Image.fromarray(getattr(data, name)()) for name in names]


@pytest.fixture(scope="module")
def photographs(request: pytest.FixtureRequest) -> list[Image.Image]:
    """Held-out photographs, or those of scikit-image where the data are absent."""
    folder = Path(__file__).resolve().parents[4] / "shared"
    if (folder / "data").is_dir():
        return held_out(folder, 24)
    return shipped()


@pytest.fixture(scope="module")
def originals(photographs: list[Image.Image]) -> Any:
    """Their vectors."""
    return EMBEDDER.embed(photographs)


def saved(image: Image.Image, kind: str, **options: Any) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(buffer).convert("RGB")


def screenshot(image: Image.Image) -> Image.Image:
    bars = (0, image.width // 8, 0, image.width // 6)
    return ImageOps.expand(image, border=bars, fill=(250, 250, 250))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": lambda image: saved(image, "JPEG", quality=20),
    "webp": lambda image: saved(image, "WEBP", quality=30),
    "a third of the size": lambda image: image.resize((image.width // 3, image.height // 3)),
    "another shape": lambda image: image.resize((300, 300), Image.Resampling.BICUBIC),
    "mirrored": ImageOps.mirror,
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "grey": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "framed": lambda image: ImageOps.expand(image, border=image.width // 16, fill=(255, 255, 255)),
    "turned": lambda image: image.rotate(4, Image.Resampling.BICUBIC),
    "cropped": lambda image: ImageOps.crop(image, image.width // 16),
    "in a screenshot": screenshot,
}


@pytest.mark.parametrize("change", COPIES)
def test_a_copy_is_closer_than_any_other_photograph(
    change: str, photographs: list[Image.Image], originals: Any
) -> None:
    copies = EMBEDDER.embed([COPIES[change](image) for image in photographs])
    similarity = copies @ originals.T
    nearest = similarity.argmax(axis=1) == np.arange(len(photographs))
    assert nearest.mean() >= 0.95, np.flatnonzero(~nearest)


def test_different_photographs_stay_below_the_threshold(shared: Path) -> None:
    vectors = EMBEDDER.embed(held_out(shared, 80))
    similarity = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    assert (similarity >= THRESHOLD).mean() < 1e-3
    assert np.median(similarity) < 0.5


def test_the_weights_ship_with_the_package() -> None:
    assert WEIGHTS.is_file()
    assert WEIGHTS.stat().st_size <= 10 * MEGABYTE


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: Any, **__: Any) -> Never:
        raise AssertionError("the embedder went to the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    for runtime in RUNTIMES:
        embedder = BuiltinEmbedder(runtime)
        embedder.check()
        embedder.load("cpu", 1)
        assert embedder.embed([Image.new("RGB", (64, 64), (90, 120, 30))]).shape == (1, 256)


RUNTIMES: tuple[Any, ...] = ("onnx", "torch")


def test_both_runtimes_agree(photographs: list[Image.Image]) -> None:
    pytest.importorskip("onnxruntime")
    onnx, torch = (BuiltinEmbedder(runtime).embed(photographs) for runtime in RUNTIMES)
    assert np.abs(onnx - torch).max() < 1e-3


def test_torch_takes_over_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.effect_mandelbrot((200, 150), (-2, -1.5, 1, 1.5), 50).convert("RGB")
    expected = BuiltinEmbedder().embed([image])
    monkeypatch.setattr(builtin.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert np.abs(BuiltinEmbedder().embed([image]) - expected).max() < 1e-3


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_vector_depends_on_its_picture_alone(
    runtime: Any, photographs: list[Image.Image]
) -> None:
    if runtime == "onnx":
        pytest.importorskip("onnxruntime")
    images = photographs[:4] * 3
    embedder = BuiltinEmbedder(runtime)
    embedder.load("cpu", 1)
    together = embedder.embed(images)
    assert np.array_equal(together[:4], together[8:])
    alone = np.concatenate([embedder.embed([image]) for image in images[:4]])
    assert np.array_equal(together[:4], alone)
    threaded = BuiltinEmbedder(runtime)
    threaded.load("cpu", 3)
    assert np.array_equal(threaded.embed(images), together)


def test_vectors_are_of_unit_length_and_as_wide_as_said(photographs: list[Image.Image]) -> None:
    vectors = EMBEDDER.embed(photographs)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(photographs), 256) == (len(photographs), EMBEDDER.dim)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert EMBEDDER.embed([]).shape == (0, 256)


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(builtin, "WEIGHTS", tmp_path / "builtin.safetensors")
    with pytest.raises(ConfigurationError, match=r"builtin\.safetensors is missing"):
        BuiltinEmbedder().load("cpu", 1)


def test_a_flat_picture_has_a_vector_unlike_those_of_photographs(
    photographs: list[Image.Image],
) -> None:
    colours = [(0, 0, 0), (128, 128, 128), (255, 255, 255), (200, 30, 30), (40, 40, 220)]
    flat = EMBEDDER.embed([Image.new("RGB", (50, 40), colour) for colour in colours])
    assert np.isfinite(flat).all()
    assert (flat @ EMBEDDER.embed(photographs).T).max() < THRESHOLD


# Different photographs stay below it; no default follows from it.
THRESHOLD = 0.9


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 50), st.integers(1, 50), st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 256])
)
def test_every_image_has_a_unit_vector(width: int, height: int, seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256) + rng.integers(0, levels, (height, width, 3))
    image = Image.fromarray(values.astype(np.uint8))
    prepared = EMBEDDER.prepare(image)
    assert prepared.shape == (128, 128, 3)
    assert prepared.dtype == np.uint8
    vector = EMBEDDER.encode([prepared])[0]
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
