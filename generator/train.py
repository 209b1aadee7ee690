"""Training by flow matching, on one device; a run that is killed goes on as if it had not been."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from generator.codecs import ImageCodec, to_pixels
from generator.data import DataSet, Picture
from generator.flow import FlowBatch, FlowOptions, flow_losses, make_batch
from generator.runs import Read, Run, RunOptions, make_optimiser
from generator.s3dit import S3DiT
from generator.shares import deal
from generator.text import TextEncoder


@dataclass(frozen=True)
class TrainOptions(RunOptions):
    """How to train: what :class:`generator.runs.RunOptions` has, and this.

    Args:
        flow: How noise is put on.
    """

    flow: FlowOptions = field(default_factory=FlowOptions)


class Trainer(Run):
    """Trains a model; codec and text encoder stay as they are.

    Args:
        model: Float32, on the device to train on; changed in place.
        codec: For images; latents in the data pass it by.
        text: For captions.
        data: The items.
        options: How.
        folder: Where checkpoints and ``losses.jsonl`` go; ``None``: nowhere. If there is a
            checkpoint, the run goes on from it.

    Raises:
        ValueError: If the folder's run was made with other options, or model, codec and text
            encoder do not fit together.
    """

    options: TrainOptions

    def __init__(
        self,
        model: S3DiT,
        codec: ImageCodec,
        text: TextEncoder,
        data: DataSet,
        options: TrainOptions,
        folder: str | Path | None = None,
    ) -> None:
        check_parts(model, codec, text)
        super().__init__(data, codec.factor * model.config.patches[0][0], options)
        self.model = model.train()
        self.average = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
        self._codec, self._text = codec, text
        self._empty = text.encode([""])[0].to(model.device)
        models = {"model": self.model, "average": self.average}
        self._begin(folder, models, {"model": make_optimiser(model, options)})

    def _update(self, batches: Sequence[Read]) -> float:
        count = sum(len(batch.captions) for batch in batches)
        total = 0.0
        for part, batch in enumerate(batches):
            flow = self._noised(batch, part)
            weights = torch.tensor(batch.weights, device=self.model.device) / count
            total += self._learn(flow, weights)
        self._move("model", self.options.rate(self.progress.step))
        self._follow(self.average, self.model)
        return total

    def _noised(self, batch: Read, part: int) -> FlowBatch:
        device = self.model.device
        latents = [each.to(device) for each in self._latents(batch.pictures)]
        captions = [each.to(device) for each in self._text.encode(batch.captions)]
        options, draw = self.options.flow, self._generator(part)
        return make_batch(latents, captions, self._empty, self.model.config, options, draw)

    def _learn(self, flow: FlowBatch, weights: Tensor) -> float:
        """Add the gradients of a batch, items weighted; gives its loss."""

        def loss_of(items: list[int]) -> Tensor:
            some = flow.some(items)
            with self._precision(self.model.device):
                velocities = self.model(some.noised, some.times, some.captions)
            return flow_losses(velocities, some.targets) @ weights[items]

        shares = deal(flow.lengths(self.model.config), self._threads)
        return self._gradients(self.model, [partial(loss_of, share) for share in shares])

    def _latents(self, pictures: list[Picture]) -> list[Tensor]:
        found = [each if isinstance(each, Tensor) else None for each in pictures]
        pixels = [to_pixels(each) for each in pictures if not isinstance(each, Tensor)]
        made = iter(self._codec.encode(pixels) if pixels else [])
        return [next(made) if each is None else each.float() for each in found]


def check_parts(model: S3DiT, codec: ImageCodec, text: TextEncoder) -> None:
    """Refuse parts that do not fit together.

    Raises:
        ValueError: If they do not.
    """
    if text.width != model.config.cap_feat_dim or codec.channels != model.config.in_channels:
        raise ValueError(
            f"text width {text.width} and {codec.channels} channels do not fit a model with "
            f"cap_feat_dim {model.config.cap_feat_dim} and {model.config.in_channels} channels"
        )
