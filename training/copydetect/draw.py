"""Which photographs take part in a step: some at random, some because they look alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GROUP = 4


class Neighbours:
    """The last embedding of each photograph, for drawing those that are hard to tell apart.

    Args:
        count: Of photographs.
        dim: Length of an embedding.
    """

    def __init__(self, count: int, dim: int) -> None:
        self.vectors = np.zeros((count, dim), dtype=np.float32)

    def update(self, vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        """Keep the mean of the views of each photograph that took part."""
        for row in np.unique(rows):
            self.vectors[row] = vectors[rows == row].mean(axis=0)

    def draw(
        self, weights: NDArray[np.float64], count: int, rng: np.random.Generator, *, mined: bool
    ) -> NDArray[np.int64]:
        """Rows of ``count`` different photographs.

        With ``mined``, half of them come in fours: one at random and three of the twelve that
        are nearest to it.
        """
        rows = rng.choice(len(weights), count, replace=False, p=weights)
        if not mined:
            return rows
        seeds = rows[: count - (count // 2 // _GROUP) * (_GROUP - 1)]
        drawn = list(seeds)
        for seed in seeds[: count // 2 // _GROUP]:
            similar = self.vectors @ self.vectors[seed]
            similar[drawn] = -np.inf
            near = np.argpartition(-similar, 3 * _GROUP)[: 3 * _GROUP]
            drawn += list(rng.choice(near, _GROUP - 1, replace=False))
        return np.array(drawn, dtype=np.int64)
