"""Vectors with planted structure, and truths computed the slow way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Array = NDArray[Any]


def unit(vectors: Array) -> Array:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def near(rng: np.random.Generator, centre: Array, similarity: float) -> Array:
    """A unit vector at exactly this cosine from ``centre``."""
    noise = rng.normal(size=len(centre))
    noise -= noise @ centre * centre
    noise /= np.linalg.norm(noise)
    return similarity * centre + np.sqrt(1 - similarity**2) * noise


def groups_and_chains(
    rng: np.random.Generator, groups: int = 12, chains: int = 8, singles: int = 20, width: int = 32
) -> Array:
    """Groups around centres (members at 0.85..0.995), chains of steps at 0.92, and noise."""
    rows = list(rng.normal(size=(singles, width)))
    for _ in range(groups):
        centre = unit(rng.normal(size=(1, width)))[0].astype(np.float64)
        rows.append(centre)
        rows += [near(rng, centre, rng.uniform(0.85, 0.995)) for _ in range(rng.geometric(0.3))]
    for _ in range(chains):
        link = unit(rng.normal(size=(1, width)))[0].astype(np.float64)
        for _ in range(rng.integers(3, 9)):
            rows.append(link)
            link = near(rng, link, 0.92)
    return unit(np.array(rows))[rng.permutation(len(rows))]


def true_pairs(vectors: Array, floor: float) -> set[tuple[int, int]]:
    """All pairs with cosine >= floor, from a float64 matrix product."""
    exact = vectors.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    similarity = exact @ exact.T
    src, dst = np.nonzero(np.triu(similarity >= floor, 1))
    return set(zip(src.tolist(), dst.tolist(), strict=True))


def items_table(
    rng: np.random.Generator, count: int, first_id: int = 0, **columns: Any
) -> pa.Table:
    """Items with distinct sha256 and random sizes."""
    data = {
        "item_id": first_id + np.arange(count, dtype=np.int64),
        "sha256": [f"{at:064x}" for at in range(count)],
        "width": rng.integers(64, 70, count).astype(np.int32),
        "height": rng.integers(64, 70, count).astype(np.int32),
        "bytes": rng.integers(1000, 1010, count),
    }
    return pa.table({**data, **columns})
