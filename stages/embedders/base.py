"""What every embedder can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Embedder(ABC):
    """Turns images into unit vectors whose inner product is their similarity.

    The work is cut in two, so that threads prepare images while a batch is encoded:
    ``prepare`` is safe to call from many threads and gives something small; ``encode``
    is called from one thread.
    """

    name: str
    """The name users configure and reports show."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of a vector; known after ``load``."""

    def check(self) -> None:
        """Find out without loading whether the embedder can be loaded.

        Raises:
            ConfigurationError: For an unknown model or missing weights.
        """

    def load(self, device: str, threads: int) -> None:
        """Load weights; called once per worker, before ``prepare`` and ``encode``.

        Args:
            device: ``cpu`` or ``cuda``.
            threads: CPU threads the embedder may keep busy.

        Raises:
            ConfigurationError: If the weights cannot be loaded.
        """

    @abstractmethod
    def prepare(self, image: Image.Image) -> NDArray[np.generic]:
        """What ``encode`` needs of one RGB image; every call gives the same shape and dtype."""

    @abstractmethod
    def encode(self, prepared: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        """Vectors of prepared images: (n, dim), float32, rows of unit length.

        A row that is not finite marks an image the model fails on; the caller decides.
        """

    def embed(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Vectors of RGB images: (n, dim), float32, rows of unit length."""
        if not images:
            return np.zeros((0, self.dim), dtype=np.float32)
        return self.encode([self.prepare(image) for image in images])
