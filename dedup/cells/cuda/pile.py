"""The best pairs of each row, on a GPU; see ``dedup.cells.pile``."""

from __future__ import annotations

import torch
from torch import Tensor

from dedup.cells.pile import Pairs

#: Pairs per row that may pile up, as a multiple of what a row may list in the end.
_ROOM = 2
_LEAST = 1 << 20


class TensorPile:
    """Collects pairs; a pair stays if it is among the ``most`` best of either row.

    Args:
        ids: Of the rows, int64 (n,); of equal similarities the lower id is better.
        most: Neighbours listed per row at most.
    """

    def __init__(self, ids: Tensor, most: int) -> None:
        self._ids = ids
        self._most = most
        self._room = max(_LEAST, _ROOM * most * len(ids))
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []
        self._count = 0
        self._busiest = torch.zeros((), dtype=torch.int64, device=ids.device)
        self._full = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    def add(self, left: Tensor, right: Tensor, similarity: Tensor) -> None:
        """Add pairs of rows, int64 (p,) and float32 (p,); no pair may be added twice."""
        self._parts.append((left, right, similarity))
        self._count += len(left)
        if self._count > self._room:
            self._cut()

    def result(self) -> Pairs:
        """What stays of all that was added."""
        kth = self._cut()
        full = torch.nonzero(self._full).flatten()
        left, right, similarity, rows, reach = (
            each.cpu().numpy() for each in (*self._parts[0], full, kth[full])
        )
        return Pairs(left, right, similarity, rows, reach, int(self._busiest))

    def _cut(self) -> Tensor:
        """Drop the pairs that neither row has among its best; as ``Pile._cut``."""
        left, right, similarity = self._joined()
        degree = torch.bincount(left, minlength=len(self._ids))
        degree += torch.bincount(right, minlength=len(self._ids))
        self._full |= degree > self._most
        if len(degree):
            self._busiest = torch.maximum(self._busiest, degree.max())
        kth = torch.full_like(self._full, torch.nan, dtype=torch.float32)
        if self._full.any():
            listed = self._listed(left, right, similarity, kth)
            left, right, similarity = left[listed], right[listed], similarity[listed]
        self._parts = [(left, right, similarity)]
        self._count = len(left)
        return kth

    def _joined(self) -> tuple[Tensor, Tensor, Tensor]:
        if not self._parts:
            nothing = self._ids[:0]
            return nothing, nothing, nothing.float()
        lefts, rights, similarities = zip(*self._parts, strict=True)
        return torch.cat(lefts), torch.cat(rights), torch.cat(similarities)

    def _listed(self, left: Tensor, right: Tensor, similarity: Tensor, kth: Tensor) -> Tensor:
        """Which pairs one of their rows lists; notes where the lists of full rows end."""
        rows, others = torch.cat([left, right]), torch.cat([right, left])
        pairs = torch.nonzero(self._full[rows]).flatten()
        alike = similarity[pairs % max(len(left), 1)]
        # Stable sorts from the last key to the first: by row, by similarity, by id.
        order = torch.argsort(self._ids[others[pairs]], stable=True)
        order = order[torch.argsort(alike[order], descending=True, stable=True)]
        order = order[torch.argsort(rows[pairs[order]], stable=True)]
        row = rows[pairs[order]]
        place = torch.arange(len(row), device=row.device) - torch.searchsorted(row, row)
        last = place == self._most - 1
        kth[row[last]] = alike[order][last]
        listed = ~self._full[rows]
        listed[pairs[order[place < self._most]]] = True
        return listed[: len(left)] | listed[len(left) :]
