"""The ``profile`` stage: the signals of each image that need no trained model."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import pyarrow as pa
from PIL import Image
from pydantic import Field

from stages.contract import MapStage, Output, Reads, Resources, StageSettings, split_results
from stages.images import IMAGE_COLUMNS, ImageReader, decode_and_look, map_bytes
from stages.schemas import PROFILE


class ProfileSettings(StageSettings):
    """Settings of the ``profile`` stage."""

    execution_only: ClassVar[frozenset[str]] = frozenset({"threads"})

    reencode_quality: int = Field(default=75, ge=1, le=95)
    """JPEG quality, on libjpeg's scale, at which ``reencode_bpp`` is measured."""
    threads: int = Field(default=1, ge=1, le=256)
    """Images read and measured at once by one worker; also its CPU cores."""


class ProfileStage(MapStage):
    """Measures every image once; see ``stages.signals`` for units and formulas."""

    name = "profile"
    version = 4
    reads = (Reads("items", (*IMAGE_COLUMNS, "format", "frames")),)

    @property
    def resources(self) -> Resources:
        """One core a thread; decoded images are the memory."""
        return Resources(cpus=self.settings.threads, memory_gb=0.5 + 0.5 * self.settings.threads)

    def process(self, table: pa.Table) -> Output:
        """Profile a partition of items."""
        measure = partial(measure_image, reencode_quality=self.settings.reencode_quality)
        with ImageReader(self.storage) as reader:
            results = map_bytes(table, reader, measure, threads=self.settings.threads)
        return split_results(table, results, PROFILE)


def measure_image(data: bytes, row: dict[str, Any], *, reencode_quality: int) -> dict[str, Any]:
    """All signals of one image, by column of ``profile``.

    Args:
        data: The encoded image.
        row: Of ``items``; ``format`` and ``frames`` say whether the image moves.
        reencode_quality: JPEG quality of ``reencode_bpp``, 1..95.

    Raises:
        ItemError: If the image cannot be decoded.
    """
    # Compiled loops take half a second to load: not for whoever only wants the settings.
    from stages.signals.encoding import alpha_share, animated
    from stages.signals.measure import encoding_signals, pixel_signals

    def look(image: Image.Image) -> tuple[float, dict[int, list[int]] | None]:
        return alpha_share(image), getattr(image, "quantization", None)

    image, (transparent, tables) = decode_and_look(data, look)
    return {
        **pixel_signals(image, reencode_quality),
        **encoding_signals(len(data), image.width, image.height, tables),
        "alpha_share": transparent,
        "animated": animated(row.get("frames"), row.get("format")),
    }
