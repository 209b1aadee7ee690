"""Rates: how much of an operation one core, one GPU or one disk does in a second.

A rate is either measured on this machine (``pipeline.plan.measure``) or recorded: shipped in
``recorded.yaml`` with its date, its machine and the command that gave it. Which one a prediction
used is always said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from pipeline.plan.model import TableBytes

#: Operations of dedup and of the machine, and what their rates count; the map stages, whose
#: keys are stage or stage/backend, count images.
UNITS = {
    "start_run": "start",
    "start_pool": "pools",
    "partition": "partitions",
    "filter_open": "partitions",
    "decode": "images",
    "shard": "bytes",
    "disk_write": "bytes",
    "disk_read": "bytes",
    "exact": "items",
    "products": "mul-adds",
    "scan": "products",
    "handle": "numbers",
    "components": "edges",
    "solve": "items",
}
_GPU = "@gpu"


@dataclass(frozen=True)
class Rate:
    """What one core, GPU or disk does of an operation in a second.

    Args:
        operation: Its key, such as ``profile``, ``embed/builtin`` or ``products@gpu``.
        value: Per second, above 0.
        source: ``measured`` or ``recorded``.
        date: ISO date.
        machine: Where, in words.
        command: What gave it.
        note: On what, such as the images' size.
    """

    operation: str
    value: float
    source: str
    date: str
    machine: str
    command: str
    note: str = ""

    def __post_init__(self) -> None:
        if not self.value > 0:
            raise ValueError(f"rate of {self.operation} must be above 0, got {self.value}")

    @property
    def unit(self) -> str:
        """What it counts."""
        return unit_of(self.operation)


@dataclass(frozen=True)
class Images:
    """The images that rates were taken from.

    Args:
        what: In words.
        bytes: Mean size of the encoded image.
        pixels: Mean width x height.
    """

    what: str
    bytes: float
    pixels: float


@dataclass(frozen=True)
class Rates:
    """All rates at hand.

    Args:
        rates: By operation.
        tables: Size on disk by table.
        sample_bytes: What a sample takes in the shards besides its image: JSON, tar, index.
        images: The images behind the rates of the stages.
    """

    rates: dict[str, Rate]
    tables: dict[str, TableBytes]
    sample_bytes: float
    images: Images

    def get(self, operation: str) -> Rate | None:
        """The rate of an operation; ``None`` where there is none."""
        return self.rates.get(operation)

    def updated(self, measured: Iterable[Rate], images: Images | None) -> Rates:
        """The same with measured rates in place of recorded ones."""
        rates = self.rates | {rate.operation: rate for rate in measured}
        return Rates(rates, self.tables, self.sample_bytes, images or self.images)


def unit_of(operation: str) -> str:
    """What the rate of an operation counts per second."""
    return UNITS.get(operation.removesuffix(_GPU), "images")


@cache
def recorded() -> Rates:
    """The rates that come with the package."""
    text = (files("pipeline.plan") / "recorded.yaml").read_text(encoding="utf-8")
    return parse_rates(yaml.safe_load(text))


def parse_rates(raw: dict[str, Any]) -> Rates:
    """Rates from the mapping of ``recorded.yaml``.

    Raises:
        ValueError: If an operation is recorded twice, or a rate is not above 0.
    """
    rates: dict[str, Rate] = {}
    for record in raw["records"]:
        for operation, value in record["rates"].items():
            if operation in rates:
                raise ValueError(f"recorded.yaml records {operation} twice: remove one")
            rates[operation] = Rate(
                operation=operation,
                value=float(value),
                source="recorded",
                date=str(record["date"]),
                machine=record["machine"],
                command=record["command"],
                note=record.get("note", ""),
            )
    tables = {name: TableBytes(**sizes) for name, sizes in raw["tables"].items()}
    return Rates(rates, tables, float(raw["sample_bytes"]), Images(**raw["images"]))
