"""FSDP2: the parameters of every block on many devices."""

from __future__ import annotations

import dataclasses
from typing import Any

from generator.s3dit.model import S3DiT


def shard(model: S3DiT, **options: Any) -> S3DiT:  # noqa: ANN401 - of fully_shard
    """Shard a model in place with ``torch.distributed.fsdp.fully_shard``, block by block.

    Args:
        model: On the meta device, or whole on every rank.
        **options: ``mesh``, ``mp_policy`` and the others of ``fully_shard``. A policy may cast
            inputs: rotary tables are complex and stay as they are.

    Returns:
        The same model.

    Raises:
        RuntimeError: If torch.distributed is not initialised and no mesh is given.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    for block in model.blocks():
        fully_shard(block, **options)
    if "mp_policy" in options:
        # Times are scaled by a thousand: rounded to half precision they mean something else.
        options["mp_policy"] = dataclasses.replace(options["mp_policy"], cast_forward_inputs=False)
    fully_shard(model, **options)
    register_fsdp_forward_method(model, "encode_captions")
    return model
