"""Muon: momentum whose singular values are evened out, for matrices inside a network.

B <- m B + g, and the weights move along the nearest semi-orthogonal matrix to g + m B, by
max(1, rows / columns)^1/2 in spectral norm. Source: K. Jordan, "Muon" (2024), with its five
Newton-Schulz steps. ``torch.optim.Muon`` works in bfloat16, which most processors have to
emulate; here it is float32, and matrices of one shape are worked on together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5
_MOMENTUM = 0.95


def orthogonalised(matrices: Tensor) -> Tensor:
    """Nearly semi-orthogonal matrices with the singular vectors of those given.

    Args:
        matrices: Float (count, rows, columns).

    Returns:
        The same shape; singular values about in [0.7, 1.2], but where they were almost 0.
    """
    a, b, c = _COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    found = matrices.mT if is_tall else matrices
    found = found / torch.linalg.matrix_norm(found, keepdim=True).clamp(min=1e-7)
    for _ in range(_STEPS):
        gram = found @ found.mT
        # a X + (b G + c G G) X, without a pass over memory for each sign.
        change = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        found = torch.baddbmm(found, change, found, beta=a)
    return found.mT if is_tall else found


class Muon(torch.optim.AdamW):
    """Muon for some matrices, AdamW for the other parameters, in one optimiser.

    Args:
        groups: As of ``AdamW``. A group with ``muon`` holds matrices alone; its rate is so many
            times ``lr``.
        lr: Learning rate.
        betas: Of AdamW.
        fused: Of AdamW.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float],
        fused: bool,
    ) -> None:
        super().__init__(list(groups), lr=lr, betas=betas, fused=fused)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        groups = self.param_groups
        for group in groups:
            if "muon" in group:
                self._orthogonal_step(group)
        self.param_groups = [group for group in groups if "muon" not in group]
        try:
            super().step(closure)
        finally:
            self.param_groups = groups

    def _orthogonal_step(self, group: dict[str, Any]) -> None:
        rate = group["lr"] * group["muon"]
        shapes: dict[tuple[int, ...], list[tuple[Parameter, Tensor]]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is not None:
                way = self._followed(parameter, parameter.grad)
                shapes[tuple(parameter.shape)].append((parameter, way))
        for (rows, columns), moved in shapes.items():
            ways = orthogonalised(torch.stack([way for _, way in moved]))
            for (parameter, _), way in zip(moved, ways, strict=True):
                parameter.mul_(1 - rate * group["weight_decay"])
                parameter.add_(way, alpha=-rate * max(1.0, rows / columns) ** 0.5)

    def _followed(self, parameter: Parameter, gradient: Tensor) -> Tensor:
        """Gradient plus momentum, after the momentum took the gradient in."""
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        return gradient + _MOMENTUM * state["momentum"].mul_(_MOMENTUM).add_(gradient)
