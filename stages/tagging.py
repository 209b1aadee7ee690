"""Zero-shot tags: what an image seems to show, by an embedder with a text tower."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from captioning.caption import Tag
from stages.contract import ConfigurationError, StageSettings
from stages.corpus import digest
from stages.embed import EmbedderSettings
from stages.embedders import Embedder
from stages.score import unit_vectors

#: Texts that go through the text tower at once.
_TEXTS = 64


class TagSettings(StageSettings):
    """What the composer may say that an image seems to show."""

    execution_only: ClassVar[frozenset[str]] = frozenset()

    table: str = "embed"
    """The table of image vectors; its model must have a text tower."""
    vocabulary: str | None = None
    """File of what there is to see: English as it stands in a sentence (``a dog``, ``snow``), a
    tab, Chinese; null: about 130 everyday things in the package."""
    threshold: float = Field(default=0.25, ge=-1.0, le=1.0)
    """Least cosine of image and text. Models differ: calibrate it on your own images."""
    most: int = Field(default=5, ge=1, le=50)
    """Most tags of an image."""
    template: str = "a photo of {}"
    """What the model is asked; ``{}`` stands for the English."""

    def fingerprint_fields(self) -> dict[str, Any]:
        """The settings that shape the tags; the vocabulary counts by content."""
        return {**super().fingerprint_fields(), "vocabulary": digest(self.read_vocabulary())}

    def read_vocabulary(self) -> list[tuple[str, str]]:
        """English and Chinese of all there is to see.

        Raises:
            ConfigurationError: If the file cannot be read, or holds nothing.
        """
        name = self.vocabulary
        try:
            text = (
                (files("captioning") / "vocabulary.txt").read_text("utf-8")
                if name is None
                else Path(name).read_text("utf-8")
            )
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"caption.tags.vocabulary {name}: {error}") from error
        rows = [line.split("\t") for line in text.splitlines() if line.strip()]
        found = [(row[0].strip(), row[1].strip() if row[1:] else "") for row in rows]
        found = [each for each in found if each[0] and not each[0].startswith("#")]
        if not found:
            raise ConfigurationError(f"caption.tags.vocabulary {name} holds no tags")
        return found


class Tagger:
    """Compares vectors of images with those of a vocabulary.

    Args:
        settings: Which vocabulary, and from which cosine on.
        embedders: Settings of the embedders by table of vectors.

    Raises:
        ConfigurationError: If the table is none, or its model has no text tower.
    """

    def __init__(self, settings: TagSettings, embedders: dict[str, EmbedderSettings]) -> None:
        if settings.table not in embedders:
            raise ConfigurationError(
                f"caption.tags.table={settings.table!r} is no table of vectors; there are "
                f"{', '.join(embedders)}: add the embedder under embed.more"
            )
        self._settings = settings
        self._own = embedders[settings.table]
        self._vocabulary = settings.read_vocabulary()
        self._embedder: Embedder = self._own.create_embedder()
        if not self._embedder.has_text:
            raise ConfigurationError(
                f"caption.tags.table={settings.table!r}: {self._own.model} has no text tower; "
                "name the table of a CLIP model, see embed.more"
            )
        self._embedder.check()
        self._texts: NDArray[np.float32] | None = None

    def load(self) -> None:
        """Embed the vocabulary; the model is not needed any more after it."""
        self._embedder.load(self._own.resolved_device(), 1)
        asked = [self._settings.template.replace("{}", name) for name, _ in self._vocabulary]
        batches = [
            self._embedder.encode_text(asked[start : start + _TEXTS])
            for start in range(0, len(asked), _TEXTS)
        ]
        self._texts = np.concatenate(batches)

    def tags(self, vectors: pa.ChunkedArray) -> list[list[Tag]]:
        """The tags of images, surest first; none where there is no vector.

        Args:
            vectors: Lists of numbers, with nulls.
        """
        assert self._texts is not None  # noqa: S101 - load() comes first
        known, images = unit_vectors(vectors)
        found: list[list[Tag]] = [[] for _ in known]
        if not known.any():
            return found
        if images.shape[1] != self._texts.shape[1]:
            raise ConfigurationError(
                f"caption.tags.table={self._settings.table!r} holds vectors of "
                f"{images.shape[1]} dimensions, the text tower gives {self._texts.shape[1]}"
            )
        cosines = images @ self._texts.T.astype(np.float64)
        for place, row in zip(np.flatnonzero(known), cosines, strict=True):
            found[place] = self._best(row)
        return found

    def _best(self, cosines: NDArray[np.float64]) -> list[Tag]:
        order = np.argsort(-cosines, kind="stable")[: self._settings.most]
        return [
            Tag(self._vocabulary[i][0], float(cosines[i]), self._vocabulary[i][1])
            for i in order
            if cosines[i] >= self._settings.threshold
        ]
