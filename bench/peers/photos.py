"""Embeddings of real photographs and of edited copies of them.

Every photograph of the given folders, and ``COPIES`` copies of each: encoded again as JPEG,
resized, cropped a little, made brighter or darker, or two of these, of a strength drawn per copy.
Embedded with Winnow's built-in embedder (256 dimensions). Where more rows are asked for than
that gives, further rows are the same vectors moved by noise to a cosine between 0.80 and 0.99.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from stages.embedders.builtin import BuiltinEmbedder

COPIES = 5
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
Edit = Callable[[Image.Image, np.random.Generator], Image.Image]


def find_photos(folders: list[Path]) -> list[Path]:
    """All photographs below the folders, sorted."""
    found = (path for folder in folders for path in folder.rglob("*"))
    return sorted(path for path in found if path.suffix.lower() in _SUFFIXES)


def embed_photos(path: Path, photos: list[Path], count: int, threads: int, seed: int = 0) -> int:
    """Write embeddings of photographs and their copies as float16 to an .npy file.

    Args:
        path: Where to; left alone where it exists.
        photos: At least one.
        count: Rows wanted; 0 for as many as photographs and copies give.
        threads: For decoding.
        seed: Of edits, noise and order.

    Returns:
        How many rows the file has.
    """
    if path.exists():
        return len(np.load(path, mmap_mode="r"))
    embedder = BuiltinEmbedder()
    embedder.load("cpu", threads)
    with ThreadPoolExecutor(threads) as pool:
        prepared = pool.map(
            lambda at: _prepared(embedder, photos[at], seed, at), range(len(photos))
        )
        vectors = np.concatenate([embedder.encode(forms) for forms in prepared])
    rng = np.random.default_rng(seed)
    vectors = rng.permutation(vectors)
    more = (count or len(vectors)) - len(vectors)
    if more > 0:
        vectors = np.concatenate([vectors, _moved(vectors, more, rng)])
    rows = vectors[: count or None].astype(np.float16)
    np.save(path, rows)
    return len(rows)


def _prepared(
    embedder: BuiltinEmbedder, path: Path, seed: int, place: int
) -> list[NDArray[np.generic]]:
    """What the embedder needs of a photograph and of its copies."""
    rng = np.random.default_rng([seed, place])
    with Image.open(path) as file:
        image = file.convert("RGB")
    forms = [image]
    for _ in range(COPIES):
        copy = image
        for edit in rng.choice(len(_EDITS), rng.integers(1, 3), replace=False):
            copy = _EDITS[edit](copy, rng)
        forms.append(copy)
    return [embedder.prepare(form) for form in forms]


def _encode(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(15, 70)))
    return Image.open(file).convert("RGB")


def _resize(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    scale = rng.uniform(0.3, 0.8)
    width, height = (max(32, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    left, top, right, bottom = rng.uniform(0.0, 0.06, 4)
    width, height = image.size
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return image.crop(tuple(round(side) for side in box))


def _brighten(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(rng.uniform(0.6, 1.5))


_EDITS: tuple[Edit, ...] = (_encode, _resize, _crop, _brighten)


def _moved(
    vectors: NDArray[np.float32], count: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    centre = vectors[rng.integers(0, len(vectors), count)]
    noise = rng.standard_normal(centre.shape, dtype=np.float32)
    noise -= (noise * centre).sum(axis=1, keepdims=True) * centre
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    near = rng.uniform(0.80, 0.99, (count, 1)).astype(np.float32)
    return (near * centre + np.sqrt(1 - near**2) * noise).astype(np.float32)
