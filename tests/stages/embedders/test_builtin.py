"""The embedded descriptor, from outside: what it calls the same, and what it does not."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from stages.embedders.builtin import BuiltinEmbedder

EMBEDDER = BuiltinEmbedder()


def natural(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A picture whose amplitudes fall as 1 / frequency, as those of photographs do."""
    rng = np.random.default_rng(seed)
    width, height = size
    radius = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width) * width)
    channels = []
    for strength in (60.0, 20.0, 20.0):
        spectrum = rng.normal(size=radius.shape) + 1j * rng.normal(size=radius.shape)
        field = np.fft.irfft2(spectrum / np.maximum(radius, 1), s=(height, width))
        channels.append(strength * field / field.std())
    light, blue, red = channels
    values = 128 + light[..., None] + np.stack([red, -(red + blue) / 2, blue], axis=-1)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: Any) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(buffer).convert("RGB")


def similarity(first: Image.Image, second: Image.Image) -> float:
    vectors = EMBEDDER.embed([first, second])
    return float(vectors[0] @ vectors[1])


COPIES = {
    "jpeg": lambda image: saved(image, "JPEG", quality=20),
    "webp": lambda image: saved(image, "WEBP", quality=30),
    "half size": lambda image: image.resize((160, 120), Image.Resampling.LANCZOS),
    "other shape": lambda image: image.resize((300, 300), Image.Resampling.BICUBIC),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.5),
    "grey": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "framed": lambda image: ImageOps.expand(image, border=30, fill=(255, 255, 255)),
    "letterboxed": lambda image: ImageOps.pad(image, (320, 320), color=(0, 0, 0)),
}


@pytest.mark.parametrize("change", COPIES)
def test_copies_stay_close(change: str) -> None:
    for seed in range(5):
        image = natural(seed)
        assert similarity(image, COPIES[change](image)) > 0.9


def test_unrelated_pictures_are_far_apart() -> None:
    vectors = EMBEDDER.embed([natural(seed) for seed in range(60)])
    similarities = (vectors @ vectors.T)[np.triu_indices(60, 1)]
    assert abs(similarities.mean()) < 0.05
    assert similarities.max() < 0.6


def test_photographs_of_different_things_stay_below_any_sensible_threshold(shared: Path) -> None:
    files = sorted((shared / "data/photos/imagenet_samples/images").rglob("*.jpg"))[:200]
    assert len(files) == 200
    vectors = EMBEDDER.embed([Image.open(file).convert("RGB") for file in files])
    assert (vectors @ vectors.T)[np.triu_indices(200, 1)].max() < 0.85


def test_flat_images_have_valid_and_different_vectors() -> None:
    colours = [(v, v, v) for v in (0, 40, 80, 128, 170, 210, 255)]
    colours += [(200, 30, 30), (30, 160, 30), (40, 40, 220), (220, 200, 30)]
    vectors = EMBEDDER.embed([Image.new("RGB", (50, 40), colour) for colour in colours])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    similarities = (vectors @ vectors.T)[np.triu_indices(len(colours), 1)]
    assert similarities.max() < 0.85


def test_a_flat_image_is_unlike_a_picture_and_like_itself() -> None:
    flat = Image.new("RGB", (100, 100), (120, 120, 120))
    assert similarity(flat, flat.resize((30, 70))) == pytest.approx(1, abs=1e-6)
    assert abs(similarity(flat, natural(0))) < 0.2


def test_a_vector_does_not_depend_on_its_batch() -> None:
    images = [natural(seed, (64, 48)) for seed in range(7)]
    together = EMBEDDER.embed(images)
    assert together.dtype == np.float32
    assert together.shape == (7, EMBEDDER.dim)
    alone = np.concatenate([EMBEDDER.embed([image]) for image in images])
    assert np.array_equal(together, alone)
    assert EMBEDDER.embed([]).shape == (0, EMBEDDER.dim)


def test_an_all_frame_picture_and_a_plain_half_are_kept_whole() -> None:
    half = np.zeros((100, 100, 3), dtype=np.uint8)
    half[50:] = np.asarray(natural(3, (100, 50)))
    assert EMBEDDER.prepare(Image.fromarray(half))[0, :15].max() == 0


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 50), st.integers(1, 50), st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 256])
)
def test_every_image_has_a_unit_vector(width: int, height: int, seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256) + rng.integers(0, levels, (height, width, 3))
    image = Image.fromarray(values.astype(np.uint8))
    vector = EMBEDDER.embed([image])[0]
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
