"""Unit rows, codes, products and cosines as tensors, to the same numbers as elsewhere.

What has to agree with ``dedup.units`` and ``dedup.cells.codes``, and why it does: float64 and
float32 division, square root and conversion are rounded alike on processors and GPUs; every
operation below is a kernel of its own, so nothing is contracted; and sums run in an order that
depends on the number of dimensions alone, not on the device, the block or the launch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from dedup.cells.codes import padded

#: cuBLAS takes int8 operands of certain sizes only; this many rows suit all its versions.
_MULTIPLE = 32
_ALIGNED = 256
#: Exact float32 sums: as many products of magnitude 127 x 127 as stay below 2^24.
_EXACT = (1 << 24) // (127 * 127)
#: Bytes of float64 products of pairs that are held at once.
_PAIR_BYTES = 1 << 27


@dataclass(frozen=True)
class TensorCodes:
    """Rows as integers; see ``dedup.cells.codes.Codes``.

    Args:
        values: int8 (n, p).
        scale: float32 (n,).
        error: float32 (n,).
    """

    values: Tensor
    scale: Tensor
    error: Tensor

    def __len__(self) -> int:
        return len(self.scale)

    def take(self, rows: Tensor) -> TensorCodes:
        """The codes of some rows, int64 (m,)."""
        return TensorCodes(self.values[rows], self.scale[rows], self.error[rows])


def unit_rows(rows: Tensor) -> Tensor:
    """Rows of length one, float32 (n, d); see ``dedup.units.as_units``.

    Args:
        rows: float16, float32 or float64 (n, d). Rows without a direction become zeros.
    """
    wide = rows.double()
    if rows.dtype == torch.float64:
        # Squares of what float64 can hold may overflow; those of what is left cannot.
        wide = wide / wide.abs().amax(dim=1, keepdim=True)
    norm = _summed(wide * wide).sqrt_()
    units = (wide / norm[:, None]).float().add_(0.0)  # adding zero turns -0.0 into 0.0
    valid = (norm > 0) & (norm < torch.inf)
    return units.masked_fill_(~valid[:, None], 0.0)


def encode(units: Tensor) -> TensorCodes:
    """The codes of unit rows, float32 (n, d); see ``dedup.cells.codes.encode``."""
    largest = units.abs().amax(dim=1)
    # A tensor, not a number: PyTorch divides by numbers through their rounded reciprocal.
    scale = largest / torch.full_like(largest, 127)
    inverse = torch.where(largest > 0, torch.ones_like(scale) / scale, 0.0)
    scaled = units * inverse[:, None]
    half = torch.full((), 0.5, dtype=units.dtype, device=units.device)
    values = scaled.add_(torch.copysign(half, scaled)).to(torch.int8)  # towards zero
    rest = units - scale[:, None] * values.float()
    # Float32 sums lose a few last bits: rounded up, the length stays a bound.
    error = (rest * rest).sum(dim=1).sqrt_() * 1.0001 + 1e-7
    width = units.shape[1]
    return TensorCodes(pad(values, (0, padded(width) - width)), scale, error)


def products(left: Tensor, right: Tensor) -> Tensor:
    """All dot products of two sets of codes, int32 (n, m).

    Args:
        left: int8 (n, p), p a multiple of 16.
        right: int8 (m, p).
    """
    if not _has_int8(left.device):
        return _in_float32(left, right)
    found = torch._int_mm(_whole(left), _whole(right).T)
    return found[: len(left), : len(right)]


def _whole(rows: Tensor) -> Tensor:
    """With rows of zeros up to a multiple, and aligned, as every int8 kernel takes them."""
    spare = -len(rows) % _MULTIPLE
    if spare:
        return pad(rows, (0, 0, 0, spare))
    return rows if rows.data_ptr() % _ALIGNED == 0 else rows.clone()


@cache
def _has_int8(device: torch.device) -> bool:
    """Whether int8 products run here, and are right: not on every generation of GPUs."""
    rows = torch.arange(64 * 64, dtype=torch.int32, device=device).reshape(64, 64) % 255 - 127
    codes = rows.to(torch.int8)
    try:
        found = torch._int_mm(codes, codes.T)
    except RuntimeError:
        return False
    return bool((found == _in_float32(codes, codes)).all())


def _in_float32(left: Tensor, right: Tensor) -> Tensor:
    # TF32, where it is switched on, holds seven bits and their sums as exactly.
    total = torch.zeros(len(left), len(right), dtype=torch.int32, device=left.device)
    for start in range(0, left.shape[1], _EXACT):
        part = slice(start, start + _EXACT)
        total += (left[:, part].float() @ right[:, part].float().T).int()
    return total


def cosines(units: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Cosine similarity of pairs of unit rows; see ``dedup.units.cosine``.

    Args:
        units: float32 (n, d).
        left: Row of one side, int64 (p,).
        right: Row of the other side, int64 (p,).

    Returns:
        float32 (p,), in [-1, 1]: float64 sums, rounded once.
    """
    result = torch.empty(len(left), dtype=torch.float32, device=units.device)
    step = max(1, _PAIR_BYTES // (8 * units.shape[1]))
    for start in range(0, len(left), step):
        part = slice(start, start + step)
        pairs = units[left[part]].double().mul_(units[right[part]])
        result[part] = _summed(pairs).clamp_(-1.0, 1.0)
    return result


def _summed(values: Tensor) -> Tensor:
    """Sums of rows, float64 (n, w), which is overwritten: half added to half, again and again."""
    width = values.shape[1]
    while width > 1:
        rest = width // 2
        values[:, :rest] += values[:, width - rest : width]
        width -= rest
    return values[:, 0].clone()
