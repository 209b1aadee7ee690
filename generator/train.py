"""Training by flow matching, on one device; a run that is killed goes on as if it had not been.

Nothing random is kept between steps: what a step draws comes from the seed and its number, and
which items it sees from the seed and the epoch. A checkpoint is therefore the weights, their
average, the optimiser's moments and a place in the data.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from generator.codecs import ImageCodec, to_pixels
from generator.data import BatchOptions, BatchPlan, DataSet, Picture, Planned, fit
from generator.flow import FlowOptions, flow_losses, make_batch
from generator.s3dit import S3DiT
from generator.states import Progress, StateFolder
from generator.text import TextEncoder

#: Options that may differ between the two halves of a run.
_FREE = ("save_every", "gradient_checkpointing", "compile")


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Args:
        steps: Updates of the weights, at least 1.
        learning_rate: The highest, above 0.
        warmup: Updates over which the rate rises to it.
        decay: Share of the updates, at the end, over which it falls to 0, in [0, 1].
        weight_decay: Of AdamW, on matrices alone.
        clip: The gradient's norm is kept within this, above 0.
        accumulation: Batches that make one update, at least 1.
        precision: ``bf16`` works in bfloat16 and keeps weights and their average in float32.
        ema: Decay of the average of the weights, in [0, 1).
        seed: Of all that is random.
        save_every: Updates between checkpoints; 0: only the last is kept.
        gradient_checkpointing: Less memory for more work.
        compile: Compile the blocks.
        flow: How noise is put on.
        batches: How items become batches.
    """

    steps: int = 1000
    learning_rate: float = 1e-3
    warmup: int = 50
    decay: float = 0.0
    weight_decay: float = 0.0
    clip: float = 1.0
    accumulation: int = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    ema: float = 0.999
    seed: int = 0
    save_every: int = 0
    gradient_checkpointing: bool = False
    compile: bool = False
    flow: FlowOptions = field(default_factory=FlowOptions)
    batches: BatchOptions = field(default_factory=BatchOptions)

    def __post_init__(self) -> None:
        for name in ("steps", "accumulation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "clip"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("warmup", "save_every", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must be in [0, 1], got {self.decay}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be in [0, 1), got {self.ema}")
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"precision must be fp32 or bf16, got {self.precision!r}")

    def rate(self, step: int) -> float:
        """The learning rate of an update, counted from 0."""
        rising = min(1.0, (step + 1) / max(self.warmup, 1))
        falling = (self.steps - step) / max(self.decay * self.steps, 1.0)
        return self.learning_rate * min(rising, falling if self.decay else 1.0)


class Trainer:
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

    def __init__(
        self,
        model: S3DiT,
        codec: ImageCodec,
        text: TextEncoder,
        data: DataSet,
        options: TrainOptions,
        folder: str | Path | None = None,
    ) -> None:
        if text.width != model.config.cap_feat_dim or codec.channels != model.config.in_channels:
            raise ValueError(
                f"text width {text.width} and {codec.channels} channels do not fit a model with "
                f"cap_feat_dim {model.config.cap_feat_dim} and {model.config.in_channels} channels"
            )
        self.model = model.train()
        self.average = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
        self.options = options
        self._codec, self._text, self._data = codec, text, data
        step = codec.factor * model.config.patches[0][0]
        self._plan = BatchPlan(data, step, options.batches, options.seed)
        self._empty = text.encode([""])[0].to(model.device)
        self._optimiser = _optimiser(model, options)
        self.progress = Progress()
        self._states = None
        if folder is not None:
            # Without a decay, a run may be made longer.
            free = {*_FREE, *([] if options.decay else ["steps"])}
            shape = {**dataclasses.asdict(options), "data": self._plan.fingerprint()}
            self._states = StateFolder(Path(folder), shape, free)
        model.gradient_checkpointing = options.gradient_checkpointing
        if self._states is not None:
            self.progress = self._states.resume(model, self.average, self._optimiser)
        if options.compile:
            model.compile_blocks()

    def run(
        self, until: int | None = None, on_step: Callable[[int, float], None] | None = None
    ) -> list[float]:
        """Train.

        Args:
            until: Stop before this update; ``None``: at the end.
            on_step: Called after each update with its number, from 0, and its loss.

        Returns:
            The losses of the updates made now, weighted means over items.

        Raises:
            FloatingPointError: If a loss is not finite; the last checkpoint stays.
        """
        stop = min(self.options.steps, until or self.options.steps)
        losses: list[float] = []
        with ThreadPoolExecutor(1) as ahead:
            batches = self._read_ahead(ahead)
            while self.progress.step < stop:
                step = self.progress.step
                loss = self._update([next(batches) for _ in range(self.options.accumulation)])
                losses.append(loss)
                self._keep(loss, is_last=self.progress.step == stop)
                if on_step is not None:
                    on_step(step, loss)
            batches.close()
        return losses

    def _update(self, batches: list[_Read]) -> float:
        options, step = self.options, self.progress.step
        for group in self._optimiser.param_groups:
            group["lr"] = options.rate(step)
        count = sum(len(batch.captions) for batch in batches)
        total = 0.0
        for part, batch in enumerate(batches):
            loss = self._losses(batch, part).sum() / count
            if not math.isfinite(loss.item()):
                raise FloatingPointError(
                    f"the loss of update {step} is {loss.item()}: lower the learning rate"
                )
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), options.clip)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._follow(step)
        self.progress = batches[-1].after(step + 1)
        return total

    def _losses(self, batch: _Read, part: int) -> Tensor:
        """Weighted losses of the items of a batch, (batch,)."""
        device = self.model.device
        draw = torch.Generator().manual_seed(_mix(self.options.seed, self.progress.step, part))
        latents = [each.to(device) for each in self._latents(batch.pictures)]
        captions = [each.to(device) for each in self._text.encode(batch.captions)]
        flow = make_batch(
            latents, captions, self._empty, self.model.config, self.options.flow, draw
        )
        with self._precision():
            velocities = self.model(flow.noised, flow.times, flow.captions)
        losses = flow_losses(velocities, flow.targets)
        return losses * torch.tensor(batch.weights, dtype=torch.float32, device=device)

    def _latents(self, pictures: list[Picture]) -> list[Tensor]:
        found = [each if isinstance(each, Tensor) else None for each in pictures]
        pixels = [to_pixels(each) for each in pictures if not isinstance(each, Tensor)]
        made = iter(self._codec.encode(pixels) if pixels else [])
        return [next(made) if each is None else each.float() for each in found]

    def _precision(self) -> AbstractContextManager[object]:
        if self.options.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.model.device.type, torch.bfloat16)

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        """Move the average; at the start, where it would lag, faster."""
        decay = min(self.options.ema, (1 + step) / (10 + step))
        weights = self.model.parameters()
        for average, weight in zip(self.average.parameters(), weights, strict=True):
            average.lerp_(weight, 1 - decay)

    def _keep(self, loss: float, is_last: bool) -> None:
        if self._states is None:
            return
        self._states.note(self.progress.step - 1, loss)
        every = self.options.save_every
        if is_last or (every and self.progress.step % every == 0):
            self._states.save(self.progress, self.model, self.average, self._optimiser)

    def _read_ahead(self, ahead: ThreadPoolExecutor) -> Generator[_Read, None, None]:
        """Batches from the current place on; the next is read while one is worked on."""
        places = self._places()
        waiting = ahead.submit(self._read, *next(places))
        for place in places:
            ready = waiting.result()
            waiting = ahead.submit(self._read, *place)
            yield ready

    def _places(self) -> Iterator[tuple[int, int, Planned]]:
        epoch, first = self.progress.epoch, self.progress.batch
        while True:
            for number, planned in enumerate(self._plan.epoch(epoch)):
                if number >= first:
                    yield epoch, number, planned
            epoch, first = epoch + 1, 0

    def _read(self, epoch: int, number: int, planned: Planned) -> _Read:
        pictures: list[Picture] = []
        captions: list[str] = []
        for item, place in zip(planned.items, planned.draws, strict=True):
            draw = np.random.default_rng((self.options.seed, place, 0x54584E))
            picture, caption = self._data.load(item, draw)
            if not isinstance(picture, Tensor):
                picture = fit(picture, planned.size)
            pictures.append(picture)
            captions.append(caption)
        weights = [1.0] * len(captions)
        if self.options.batches.weighting == "loss":
            weights = self._plan.weights[planned.items].tolist()
        return _Read(epoch, number, pictures, captions, weights)


@dataclass(frozen=True)
class _Read:
    """A batch that has been read, and its place."""

    epoch: int
    number: int
    pictures: list[Picture]
    captions: list[str]
    weights: list[float]

    def after(self, step: int) -> Progress:
        """Where the run stands once this batch is done."""
        return Progress(step=step, epoch=self.epoch, batch=self.number + 1)


def _optimiser(model: S3DiT, options: TrainOptions) -> torch.optim.AdamW:
    matrices = [each for each in model.parameters() if each.ndim > 1]
    others = [each for each in model.parameters() if each.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    fused = model.device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.99), fused=fused)


def _mix(*numbers: int) -> int:
    """One seed from several."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
