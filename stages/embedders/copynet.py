"""The network behind the ``builtin`` embedder, in torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

DIM = 256
_POOL_FLOOR = 1e-4


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside a short cut (He et al. 2016, basic block)."""

    def __init__(self, width_in: int, width: int, stride: int, *, folded: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(width_in, width, 3, stride, 1, bias=folded)
        self.first_norm = _norm(width, folded=folded)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=folded)
        self.second_norm = _norm(width, folded=folded)
        same = width_in == width and stride == 1
        self.short = nn.Identity() if same else nn.Conv2d(width_in, width, 1, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, width_in, h, w) to (n, width, h / stride, w / stride)."""
        inner = functional.relu(self.first_norm(self.first(maps)))
        return functional.relu(self.second_norm(self.second(inner)) + self.short(maps))


class CopyNet(nn.Module):
    """A small residual network whose maps at strides 16 and 32 are pooled and projected.

    Pooling is the generalised mean of power 3 (Radenović et al. 2018), as in SSCD
    (Pizzi et al. 2022), whose training this follows.

    Args:
        folded: Without norms, each being part of the convolution before it: for inference.
    """

    widths = (32, 80, 160, 256)
    blocks = (1, 2, 2, 1)

    def __init__(self, *, folded: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, self.widths[0], 7, 4, 3, bias=folded)
        self.stem_norm = _norm(self.widths[0], folded=folded)
        self.levels = nn.ModuleList()
        width_in = self.widths[0]
        for level, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True)):
            strides = [2 if level else 1] + [1] * (blocks - 1)
            parts = [
                Residual(width if i else width_in, width, stride, folded=folded)
                for i, stride in enumerate(strides)
            ]
            self.levels.append(nn.Sequential(*parts))
            width_in = width
        self.project = nn.Linear(sum(self.widths[-2:]), DIM)

    def forward(self, images: Tensor) -> Tensor:
        """Vectors before they are scaled to unit length.

        Args:
            images: (n, 3, h, w), RGB in 0..255 as floats, h and w multiples of 32.

        Returns:
            (n, 256).
        """
        maps = functional.relu(self.stem_norm(self.stem((images - 118.0) / 64.0)))
        pooled = []
        for level, part in enumerate(self.levels):
            maps = part(maps)
            if level >= len(self.levels) - 2:
                cubes = maps.clamp(min=_POOL_FLOOR).pow(3).mean((2, 3))
                pooled.append(cubes.pow(1 / 3))
        vectors: Tensor = self.project(torch.cat(pooled, dim=1))
        return vectors

    def folded(self) -> CopyNet:
        """A copy without norms that gives the same in evaluation."""
        with torch.no_grad():
            result = CopyNet(folded=True).eval()
            weights = {k: v for k, v in self.state_dict().items() if "norm" not in k}
            names = [
                name for name, part in self.named_modules() if isinstance(part, nn.BatchNorm2d)
            ]
            for name in names:
                norm = self.get_submodule(name)
                assert isinstance(norm, nn.BatchNorm2d)  # noqa: S101 - by the line above
                assert norm.running_var is not None and norm.running_mean is not None  # noqa: S101, PT018
                scale = norm.weight / (norm.running_var + norm.eps).sqrt()
                conv = name.removesuffix("_norm")
                weights[f"{conv}.weight"] = weights[f"{conv}.weight"] * scale[:, None, None, None]
                weights[f"{conv}.bias"] = norm.bias - norm.running_mean * scale
            result.load_state_dict(weights)
        return result


def _norm(width: int, *, folded: bool) -> nn.Module:
    return nn.Identity() if folded else nn.BatchNorm2d(width)
