"""The ``profile`` stage: the signals of each image that need no trained model."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import pyarrow as pa
from PIL import Image
from pydantic import Field

from stages.contract import MapStage, Output, Reads, Resources, StageSettings, split_results
from stages.images import IMAGE_COLUMNS, map_images
from stages.schemas import PROFILE
from stages.signals.encoding import jpeg_quality, reencoded_bytes_per_pixel, size_ratio
from stages.signals.pixels import pixel_signals

#: Columns that only trained models fill; null until weights are configured.
LEARNED_SCORES = ("aesthetic", "nsfw", "aigc", "watermark", "image_text")


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
    version = 1
    reads = (Reads("items", IMAGE_COLUMNS),)

    @property
    def resources(self) -> Resources:
        """One core a thread; decoded images are the memory."""
        return Resources(cpus=self.settings.threads, memory_gb=0.5 + 0.5 * self.settings.threads)

    def process(self, table: pa.Table) -> Output:
        """Profile a partition of items."""
        measure = partial(measure_image, reencode_quality=self.settings.reencode_quality)
        results = map_images(table, self.storage, measure, threads=self.settings.threads)
        return split_results(table, results, PROFILE)


def measure_image(
    image: Image.Image, row: dict[str, Any], *, reencode_quality: int
) -> dict[str, Any]:
    """All signals of one image, by column of ``profile``; learned scores are null.

    Args:
        image: RGB, of any size.
        row: Holds ``data``, the encoded bytes.
        reencode_quality: JPEG quality of ``reencode_bpp``, 1..95.
    """
    data: bytes = row["data"]
    return {
        **pixel_signals(image),
        "size_ratio": size_ratio(len(data), image.width, image.height),
        "jpeg_quality": jpeg_quality(data),
        "reencode_bpp": reencoded_bytes_per_pixel(image, reencode_quality),
        **dict.fromkeys(LEARNED_SCORES),
    }
