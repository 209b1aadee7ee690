"""Exact search of sampled rows against all rows, and rows that are equal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.peers.base import Ints, unit, unit_blocks

#: How far below the threshold float32 products are looked at again in float64.
_MARGIN = 1e-4


@dataclass(frozen=True)
class Sample:
    """Some rows and all their neighbours.

    Args:
        rows: The sampled rows, int64 (q,), ascending.
        src: A sampled row for each pair, int64 (p,).
        dst: Another row at or above the threshold, int64 (p,). A pair of two sampled rows
            stands twice, once from each side.
        lowest: For all rows, the lowest row with the same bytes, int64 (n,).
    """

    rows: Ints
    src: Ints
    dst: Ints
    lowest: Ints


def exact_sample(
    vectors: NDArray[np.float16], threshold: float, size: int, cache: Path, seed: int = 1
) -> Sample:
    """Search some rows exactly, or read what an earlier call found.

    Args:
        vectors: Rows, float16 (n, d), may be memory-mapped: they are read in blocks.
        threshold: Lowest cosine similarity that counts.
        size: Rows to draw, at most n.
        cache: An .npz file; its name has to tell the vectors and the threshold.
        seed: Of the draw.

    Returns:
        Pairs whose cosine, computed in float64, reaches the threshold.
    """
    if cache.exists():
        with np.load(cache) as saved:
            return Sample(**{name: saved[name] for name in saved.files})
    count = len(vectors)
    drawn = np.random.default_rng(seed).choice(count, min(size, count), replace=False)
    rows = np.sort(drawn).astype(np.int64)
    queries = unit(vectors[rows])
    src: list[Ints] = []
    dst: list[Ints] = []
    for start, block in unit_blocks(vectors, 16_384):
        near = torch.from_numpy(queries) @ torch.from_numpy(block).T >= threshold - _MARGIN
        query, place = (found.numpy() for found in torch.nonzero(near, as_tuple=True))
        true = cosine(vectors, rows[query], start + place) >= np.float64(threshold)
        true &= rows[query] != start + place
        src.append(rows[query[true]])
        dst.append(start + place[true])
    sample = Sample(rows, np.concatenate(src), np.concatenate(dst), _lowest_equal(vectors))
    np.savez(cache, **vars(sample))
    return sample


def cosine(vectors: NDArray[np.float16], left: Ints, right: Ints) -> NDArray[np.float64]:
    """Cosine of pairs of rows, float64 (p,)."""
    result = np.empty(len(left), dtype=np.float64)
    for start in range(0, len(left), 65_536):
        part = slice(start, start + 65_536)
        one, other = (_exact_unit(vectors[rows[part]]) for rows in (left, right))
        result[part] = (one * other).sum(axis=1)
    return result


def _exact_unit(rows: NDArray[np.float16]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def _lowest_equal(vectors: NDArray[np.float16]) -> Ints:
    """The lowest row with the same bytes, by a 64-bit hash: a random sum modulo 2^64."""
    random = np.random.default_rng(2)
    factors = random.integers(1, 2**63, vectors.shape[1], dtype=np.uint64) * np.uint64(2) + 1
    digest = np.empty(len(vectors), dtype=np.uint64)
    for start in range(0, len(vectors), 16_384):
        words = np.ascontiguousarray(vectors[start : start + 16_384]).view(np.uint16)
        digest[start : start + len(words)] = (words.astype(np.uint64) * factors).sum(axis=1)
    _, first, place = np.unique(digest, return_index=True, return_inverse=True)
    return first.astype(np.int64)[place]
