"""``--measure``: rates of this machine, from about half a minute of real work."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.config import Config
from pipeline.plan.machine import Machine, own_gpus, scratch_place
from pipeline.plan.operations import disk, gpu_products, joining, products, searching
from pipeline.plan.rates import Images, Rate
from pipeline.plan.trial import try_stages
from stages.storage import Storage

_COMMAND = "winnow plan --measure"


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Args:
        rates: Per core, per GPU, or of the disk.
        images: What the stages ran on; ``None`` where none did.
        notes: What could not be measured, and why.
    """

    rates: list[Rate]
    images: Images | None
    notes: list[str]


def measure(config: Config, dim: int, machine: Machine) -> Measured:
    """Measure this machine for a run.

    The stages run on a few dozen images, the operations of dedup for a moment each, the disk is
    that of the corpus. Nothing stays behind, and no endpoint or object store is asked.

    Args:
        config: The run.
        dim: Width of the vectors.
        machine: This machine.
    """
    notes: list[str] = []
    with _workplace(config, notes) as folder:
        trial = try_stages(config, folder)
        found = {**trial.rates, **disk(folder)}
    found |= products(dim) | joining()
    found |= searching(dim, found)
    if own_gpus():
        found |= gpu_products(dim)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    note = f"stages on {trial.images.what}" if trial.images else ""
    rates = [
        Rate(operation, float(f"{value:.4g}"), "measured", today, machine.name, _COMMAND, note)
        for operation, value in found.items()
    ]
    return Measured(rates, trial.images, [*notes, *trial.notes])


@contextmanager
def _workplace(config: Config, notes: list[str]) -> Iterator[Path]:
    """A folder on the disk of a local corpus; elsewhere where it cannot be written."""
    place: Path | None = scratch_place(Storage(config.storage), config.corpus)
    if not os.access(str(place), os.W_OK):
        notes.append(f"{place} cannot be written: the disk of {tempfile.gettempdir()} was measured")
        place = None
    with tempfile.TemporaryDirectory(prefix="winnow-plan-", dir=place) as folder:
        yield Path(folder)
