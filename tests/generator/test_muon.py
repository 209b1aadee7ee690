"""Muon: directions that are orthogonal, rates that are kept, and runs that go on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn import Parameter

from generator.muon import Muon, orthogonalised
from generator.train import TrainOptions
from tests.generator.toys import OPTIONS, make_trainer


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 24), (2, 24, 8)])
def test_singular_values_become_alike(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape) * torch.logspace(-3, 2, shape[0])[:, None, None]
    found = orthogonalised(matrices)
    assert found.shape == matrices.shape
    # The smallest may be short of it: five steps raise a value by at most 3.44 each.
    values = torch.linalg.svdvals(found)
    assert float(values[:, 0].min()) > 0.6
    assert float(values.max()) < 1.3
    assert float(values.median()) > 0.6
    for before, after in zip(matrices, found, strict=True):
        left, _, right = torch.linalg.svd(before, full_matrices=False)
        turned = left.T @ after @ right.T
        assert float((turned - turned.diagonal().diag()).abs().max()) < 1e-2


def test_a_matrix_moves_by_the_rate_and_the_rest_by_adamw() -> None:
    torch.manual_seed(0)
    inner, other = Parameter(torch.randn(24, 8)), Parameter(torch.randn(5))
    alone = Parameter(other.detach().clone())
    groups = [{"params": [other]}, {"params": [inner], "weight_decay": 0.0, "muon": 10.0}]
    mixed = Muon(groups, lr=0.01, betas=(0.9, 0.99), fused=True)
    plain = torch.optim.AdamW([alone], lr=0.01, betas=(0.9, 0.99), fused=True)
    before = inner.detach().clone()
    inner.grad = torch.randn(24, 8)
    other.grad = alone.grad = torch.randn(5)
    mixed.step()
    plain.step()
    assert torch.equal(other, alone)
    moved = torch.linalg.matrix_norm((inner - before).detach(), 2)
    assert float(moved) == pytest.approx(0.1 * 3**0.5, rel=0.3)
    assert len(mixed.param_groups) == 2


def test_a_run_goes_on_with_its_momentum(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    options = dataclasses.replace(OPTIONS, muon=0.04, save_every=0, steps=8)
    want = make_trainer(options=options).run()
    assert want != make_trainer(options=dataclasses.replace(options, muon=0.0)).run()
    got = make_trainer(str(tmp_path), options).run(until=3)
    got += make_trainer(str(tmp_path), options).run()
    assert got == want


def test_a_rate_below_0_is_refused() -> None:
    with pytest.raises(ValueError, match="muon must be 0 or more"):
        TrainOptions(muon=-0.1)
