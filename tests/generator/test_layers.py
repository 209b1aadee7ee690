"""The norm's gradient in closed form is that of the norm."""

from __future__ import annotations

import pytest
import torch

from generator.s3dit.layers import RMSNorm


@pytest.mark.parametrize("scale", [None, (6, 1, 8), (6, 5, 8)], ids=str)
def test_the_gradient_is_what_autograd_derives(scale: tuple[int, ...] | None) -> None:
    torch.manual_seed(0)
    norm = RMSNorm(8, 1e-3)
    torch.nn.init.normal_(norm.weight)
    values = torch.randn(6, 5, 8, requires_grad=True)
    factor = norm.weight if scale is None else torch.randn(scale, requires_grad=True)
    upstream = torch.randn(6, 5, 8)
    got = norm(values, None if scale is None else factor)
    want = values / (values.square().mean(-1, keepdim=True) + 1e-3).sqrt() * factor
    assert torch.allclose(got, want, atol=1e-6)
    ours, theirs = (torch.autograd.grad(each, [values, factor], upstream) for each in (got, want))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
