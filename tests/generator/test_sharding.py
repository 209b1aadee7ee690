"""FSDP2 over one process: the same outcome and the same names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from generator.s3dit import S3DiT
from generator.s3dit.sharding import shard
from tests.generator.twins import TINY, distance, draw, randomise

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    store = f"file://{tmp_path / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_sharded_gives_the_same_and_keeps_names() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy

    latents, times, captions = draw([(8, 12), (8, 8)], [5, 40])
    plain = S3DiT(TINY)
    randomise(plain)
    want = plain(latents, times, captions)
    sum(each.square().sum() for each in want).backward()
    sharded, halved = S3DiT(TINY), S3DiT(TINY)
    mesh = init_device_mesh("cpu", (1,))
    for model in (sharded, halved):
        randomise(model)
    shard(sharded, mesh=mesh)
    got = sharded(latents, times, sharded.encode_captions(captions))
    sum(each.square().sum() for each in got).backward()
    assert distance(got, want) < 1e-6
    assert list(sharded.state_dict()) == list(plain.state_dict())
    grads = {name: each.grad.full_tensor() for name, each in sharded.named_parameters()}
    for name, parameter in plain.named_parameters():
        assert distance([grads[name]], [parameter.grad]) < 1e-4 * parameter.grad.abs().max()
    shard(halved, mesh=mesh, mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16))
    rough = halved(latents, times, captions)
    assert {each.dtype for each in rough} == {torch.bfloat16}
    difference = (rough[0].float() - want[0]).detach()
    assert float(difference.norm() / want[0].detach().norm()) < 0.05
