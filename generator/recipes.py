"""What the embedded generator is made of, how it begins, and how it is trained.

A caption of the procedural world decides its picture, so what is to be learnt is which words go
with which group and what that group looks like. That is settled where there is much noise; times
are drawn towards it. The run is short, so the model begins where little is to be unlearnt: see
:meth:`Recipe.new_model`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from generator.codecs import BlockDct
from generator.data import BatchOptions
from generator.flow import FlowOptions
from generator.s3dit import S3DiT, S3DiTConfig
from generator.s3dit.layers import FinalLayer, RMSNorm
from generator.sampler import SamplerOptions
from generator.text import HashedWords
from generator.text_to_image import TextToImage
from generator.train import TrainOptions

#: Gates of a new model's blocks, before tanh.
_GATE = 0.2


@dataclass(frozen=True)
class Recipe:
    """A generator before it is trained.

    Args:
        config: Shape of the model.
        codec: Fixed.
        text: Fixed.
        size: Height and width in pixels of what it draws; images are brought to about that area.
        options: How it is trained.
        sampler: How it is sampled.
    """

    config: S3DiTConfig
    codec: BlockDct
    text: HashedWords
    size: tuple[int, int]
    options: TrainOptions
    sampler: SamplerOptions

    def new_model(self, seed: int = 0) -> S3DiT:
        """A model with weights by lot, on the CPU, that begins well.

        The published modules say nothing of how they begin. Here gates begin small, so that a
        block adds little until it has learnt something. Patches are embedded with a bias that
        is as strong as they are: tokens of noise alone then have something in common, which
        attention can turn by their places. The last layer begins as the inverse of the first:
        the velocity is the noise taken off, and only the data is to be learnt.

        Args:
            seed: Of the weights.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = S3DiT(self.config)
            with torch.no_grad():
                _begin(model)
        return model

    def whole(self, model: S3DiT) -> TextToImage:
        """A model with what goes with it."""
        return TextToImage(model, self.codec, self.text, self.sampler, self.size)


def embedded(steps: int | None = None, seed: int = 0) -> Recipe:
    """The embedded generator: 32 pixels.

    Args:
        steps: Updates; ``None``: as many as it was measured with.
        seed: Of the run.
    """
    # Half of the coefficients: the oracle of the procedural world reads every drawing after it.
    codec = BlockDct(4, 24)
    text = HashedWords(256, context=0.85)
    config = S3DiTConfig(
        all_patch_size=(1,),
        in_channels=codec.channels,
        dim=120,
        n_layers=4,
        n_refiner_layers=1,
        n_heads=5,
        n_kv_heads=5,
        cap_feat_dim=text.width,
        # In step with times in [0, 1]: 1000 would make most of their features noise.
        t_scale=30.0,
        axes_dims=(8, 8, 8),
        axes_lens=(512, 64, 64),
    )
    options = TrainOptions(
        steps=1200,
        shares=2,
        learning_rate=1.5e-3,
        muon=0.04,
        warmup=30,
        decay=0.4,
        ema=0.98,
        seed=seed,
        flow=FlowOptions(mean=1.3, std=1.2, shift=1.0),
        batches=BatchOptions(tokens=10**6, most=32, areas=(32 * 32,)),
    )
    if steps is not None:
        options = dataclasses.replace(options, steps=steps)
    # Where captions say all there is nothing to be guided to, and guidance makes it worse.
    sampler = SamplerOptions(steps=20, shift=3.0)
    return Recipe(config, codec, text, (32, 32), options, sampler)


def _begin(model: S3DiT) -> None:
    width = model.config.dim
    blocks = [block for block in model.blocks() if block.modulation]
    for block in model.blocks():
        for norm in (block.attention.norm_q, block.attention.norm_k):
            if isinstance(norm, RMSNorm):
                norm.weight.fill_(1.3)
    for block in blocks:
        change = _linear(block.adaLN_modulation[0])
        change.weight.mul_(0.1)
        change.bias.zero_()
        change.bias[width : 2 * width] = _GATE
        change.bias[3 * width :] = _GATE
    # What the blocks add to a token's mean square: each branch its gate's square.
    added = 2 * len(blocks) * math.tanh(_GATE) ** 2
    for name, embedder in model.all_x_embedder.items():
        _mirror(_linear(embedder), cast("FinalLayer", model.all_final_layer[name]), added)


def _mirror(first: nn.Linear, last: FinalLayer, added: float) -> None:
    """Let the last layer undo the first, whatever the time."""
    # Orthogonal, so that its inverse makes no more of what the blocks add.
    nn.init.orthogonal_(first.weight, (first.out_features / first.in_features) ** 0.5)
    first.bias.normal_()
    length = first(torch.randn(512, first.in_features)).std(dim=1).square().mean() + added
    inverse = torch.linalg.pinv(first.weight)
    last.linear.weight.copy_(-inverse * length.sqrt())
    last.linear.bias.copy_(inverse @ first.bias)
    change = _linear(last.adaLN_modulation[1])
    change.weight.mul_(0.1)
    change.bias.zero_()


def _linear(module: nn.Module) -> nn.Linear:
    return cast("nn.Linear", module)
