"""What every embedder can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.contract import ConfigurationError


class Embedder(ABC):
    """Turns images into unit vectors whose inner product is their similarity.

    The work is cut in two, so that threads prepare images while a batch is encoded:
    ``prepare`` is safe to call from many threads and gives something small; ``encode``
    takes many at once. Embedders with a text tower put words into the same space.
    """

    name: str
    """The name users configure and reports show."""

    reentrant: ClassVar[bool] = False
    """Whether ``encode`` may be called from several threads at once. On the CPU such an
    embedder is loaded with one thread, and as many batches are encoded side by side as the
    worker has threads: none of them waits for the others, nor for what is being decoded."""

    has_text: ClassVar[bool] = False
    """Whether there is a text tower."""

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
            threads: CPU threads that one call of ``encode`` may keep busy.

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

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts in the space of the images: (n, dim), float32, unit length.

        Their inner product with an image's vector says how well the two match, in [-1, 1].
        Long texts are cut where the model's context ends.

        Raises:
            ConfigurationError: If the embedder has no text tower, or its tokenizer is not
                there.
        """
        raise ConfigurationError(
            f"{self.name} has no text tower, so it cannot place {len(texts)} texts: name an "
            "open_clip or chinese_clip model"
        )
