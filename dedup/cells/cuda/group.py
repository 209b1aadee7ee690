"""The rows of a group of cells on a GPU: codes of all of them, and cosines of pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from dedup.arrays import Ints
from dedup.cells.codes import Codes, padded
from dedup.cells.cuda.arithmetic import TensorCodes, cosines, encode, unit_rows
from dedup.cells.cuda.lanes import Lane
from dedup.cells.ragged import Ragged
from dedup.cells.shuffle import Gathered

#: Similarities of pairs, float32 (p,), by places in a cell, int64 (p,) each.
Score: TypeAlias = Callable[[Tensor, Tensor], Tensor]


class Group(Protocol):
    """Rows of some cells."""

    def cell(self, chosen: Ints, /) -> tuple[TensorCodes, Score]:
        """Codes of some rows, int64 (n,), and how to score pairs of them."""
        ...


def on_device(way: Lane, rows: Gathered, *, few: bool) -> Group:
    """Bring a group to a device.

    Args:
        way: Where to.
        rows: Of the group.
        few: Whether so few pairs are expected that vectors are better fetched one by one. It
            helps only where codes were stored with the rows.
    """
    if few and rows.codes is not None:
        return _Coded(way, rows.vectors, _stored(way, rows.codes.all()))
    return _Whole(way, rows.vectors.order, *_encoded(way, rows.vectors.parts))


@dataclass(frozen=True)
class _Whole:
    """All unit rows, in the order in which the rows lie in their files."""

    way: Lane
    order: Ints
    units: Tensor
    codes: TensorCodes

    def cell(self, chosen: Ints) -> tuple[TensorCodes, Score]:
        place = self.way.upload(self.order[chosen])

        def score(left: Tensor, right: Tensor) -> Tensor:
            return cosines(self.units, place[left], place[right])

        return self.codes.take(place), score


@dataclass(frozen=True)
class _Coded:
    """Codes of all rows; vectors stay behind until they are needed."""

    way: Lane
    vectors: Ragged
    codes: TensorCodes

    def cell(self, chosen: Ints) -> tuple[TensorCodes, Score]:
        def score(left: Tensor, right: Tensor) -> Tensor:
            wanted, place = torch.unique(torch.cat([left, right]), return_inverse=True)
            vectors = self.vectors.take(chosen[wanted.cpu().numpy()])
            units = torch.empty(vectors.shape, dtype=torch.float32, device=self.way.device)
            for part, rows in self.way.pieces([vectors]):
                units[part] = unit_rows(rows)
            return cosines(units, place[: len(left)], place[len(left) :])

        return self.codes.take(self.way.upload(chosen)), score


def _stored(way: Lane, codes: Codes) -> TensorCodes:
    values = torch.empty(codes.values.shape, dtype=torch.int8, device=way.device)
    for part, rows in way.pieces([codes.values]):
        values[part] = rows
    return TensorCodes(values, way.upload(codes.scale), way.upload(codes.error))


def _encoded(way: Lane, parts: list[np.ndarray]) -> tuple[Tensor, TensorCodes]:
    """Unit rows and their codes, made on the device."""
    count, width = sum(map(len, parts)), parts[0].shape[1]
    units = torch.empty(count, width, dtype=torch.float32, device=way.device)
    codes = TensorCodes(
        torch.empty(count, padded(width), dtype=torch.int8, device=way.device),
        torch.empty(count, dtype=torch.float32, device=way.device),
        torch.empty(count, dtype=torch.float32, device=way.device),
    )
    for part, rows in way.pieces(parts):
        units[part] = unit_rows(rows)
        piece = encode(units[part])
        codes.values[part] = piece.values
        codes.scale[part] = piece.scale
        codes.error[part] = piece.error
    return units, codes
