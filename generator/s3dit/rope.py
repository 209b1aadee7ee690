"""Unified rotary positions: one (time, row, column) for every token, text or image.

Per axis of width d, angle = position / theta ** (2 i / d) for i < d / 2, in float64, rounded to
float32; the three axes' angles stand side by side and turn adjacent pairs of channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from generator.s3dit.config import S3DiTConfig


class Rope:
    """Tables of turns for grids of positions.

    A table is complex64 (tokens, head_dim / 2), all of modulus 1; being complex, it is left in
    full precision by whatever casts the inputs of a module. Only the axes are computed and then
    spread over the grid, so nothing need be kept between calls.

    Args:
        config: Gives axes_dims, axes_lens and rope_theta.
    """

    def __init__(self, config: S3DiTConfig) -> None:
        self._theta = config.rope_theta
        self._dims = config.axes_dims
        self._lens = config.axes_lens

    def grid(
        self, start: int, size: tuple[int, int, int], device: torch.device, still: int = 0
    ) -> Tensor:
        """Positions of an image: times from ``start``, rows and columns from 0.

        Args:
            start: Time of the first frame.
            size: Frames, rows and columns, in tokens.
            device: Where the table goes.
            still: Tokens added at position (0, 0, 0), for the padding.

        Returns:
            The table, (frames * rows * columns + still, head_dim / 2).

        Raises:
            ValueError: If a position does not stay below its entry of axes_lens.
        """
        positions = [
            self._range(begin, begin + count, axis)
            for axis, (begin, count) in enumerate(zip((start, 0, 0), size, strict=True))
        ]
        parts = []
        for axis, position in enumerate(positions):
            turns = self._turns(position, axis, device)
            shape = [1, 1, 1, turns.shape[1]]
            shape[axis] = turns.shape[0]
            parts.append(turns.view(shape).expand(*size, -1))
        table = torch.cat(parts, dim=3).flatten(0, 2)
        return torch.cat([table, self.still(still, device)]) if still else table

    def points(self, points: Tensor) -> Tensor:
        """Any positions.

        Args:
            points: (tokens, 3), integers: time, row, column.

        Returns:
            The table, (tokens, head_dim / 2).

        Raises:
            ValueError: As :meth:`grid`.
        """
        for axis, limit in enumerate(self._lens):
            highest = int(points[:, axis].max())
            if highest >= limit:
                raise ValueError(_too_far(axis, highest, limit))
        parts = [self._turns(points[:, axis], axis, points.device) for axis in range(3)]
        return torch.cat(parts, dim=1)

    def still(self, count: int, device: torch.device) -> Tensor:
        """The table of ``count`` tokens at (0, 0, 0): nothing turns."""
        return torch.ones(count, sum(self._dims) // 2, dtype=torch.complex64, device=device)

    def _range(self, begin: int, end: int, axis: int) -> Tensor:
        if end > self._lens[axis]:
            raise ValueError(_too_far(axis, end - 1, self._lens[axis]))
        return torch.arange(begin, end)

    def _turns(self, positions: Tensor, axis: int, device: torch.device) -> Tensor:
        width = self._dims[axis]
        # On the CPU: not every accelerator has float64, and there are few numbers.
        exponents = torch.arange(0, width, 2, dtype=torch.float64) / width
        angles = torch.outer(positions.cpu().double(), self._theta**-exponents).float()
        return torch.polar(torch.ones_like(angles), angles).to(device)


def rotate(values: Tensor, table: Tensor) -> Tensor:
    """Turn adjacent pairs of channels.

    Args:
        values: (batch, tokens, heads, head_dim), any float type; the arithmetic is float32.
        table: (1 or batch, tokens, head_dim / 2) of a :class:`Rope`.

    Returns:
        As ``values``.
    """
    pairs = values.float().unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():
        # Compilers fuse real arithmetic and leave complex alone.
        cosine, sine = torch.view_as_real(table).unsqueeze(2).unbind(-1)
        one, other = pairs.unbind(-1)
        turned = torch.stack([one * cosine - other * sine, one * sine + other * cosine], dim=-1)
    else:
        turned = torch.view_as_real(torch.view_as_complex(pairs) * table.unsqueeze(2))
    return turned.flatten(-2).type_as(values)


def _too_far(axis: int, highest: int, limit: int) -> str:
    name = ("time", "row", "column")[axis]
    return f"{name} positions must stay below axes_lens[{axis}] = {limit}, got {highest}"
