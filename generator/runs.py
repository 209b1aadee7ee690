"""What all training runs share: options, order of the data, the loop, checkpoints.

Nothing random is kept between steps: what a step draws comes from the seed and its number, and
which items it sees from the seed and the epoch. A checkpoint is therefore the weights, their
average, the optimisers' moments and a place in the data.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from generator.data import BatchOptions, BatchPlan, DataSet, Picture, Planned, fit
from generator.muon import Muon
from generator.s3dit import S3DiT
from generator.shares import add_gradients
from generator.states import Progress, StateFolder

#: Options that may differ between the two halves of a run.
_FREE = ("save_every", "gradient_checkpointing", "compile")


@dataclass(frozen=True)
class RunOptions:
    """How to run.

    Args:
        steps: Updates of the weights, at least 1.
        learning_rate: The highest, above 0.
        warmup: Updates over which the rate rises to it.
        decay: Share of the updates, at the end, over which it falls to 0, in [0, 1].
        weight_decay: Of AdamW, on matrices alone.
        muon: 0: AdamW for all weights. Above: matrices inside the blocks move by Muon, by so
            much in spectral norm where the rate is highest; about 0.04.
        clip: The gradient's norm is kept within this, above 0.
        accumulation: Batches that make one update, at least 1.
        shares: Threads that share a batch's items, on the CPU alone, at least 1. More than the
            cores is no gain; each number has its own rounding, whatever the cores.
        precision: ``bf16`` works in bfloat16 and keeps weights and their average in float32.
        ema: Decay of the average of the weights, in [0, 1).
        seed: Of all that is random.
        save_every: Updates between checkpoints; 0: only the last is kept.
        gradient_checkpointing: Less memory for more work.
        compile: Compile the blocks.
        batches: How items become batches.
    """

    steps: int = 1000
    learning_rate: float = 1e-3
    warmup: int = 50
    decay: float = 0.0
    weight_decay: float = 0.0
    muon: float = 0.0
    clip: float = 1.0
    accumulation: int = 1
    shares: int = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    ema: float = 0.999
    seed: int = 0
    save_every: int = 0
    gradient_checkpointing: bool = False
    compile: bool = False
    batches: BatchOptions = field(default_factory=BatchOptions)

    def __post_init__(self) -> None:
        for name in ("steps", "accumulation", "shares"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "clip"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("warmup", "save_every", "weight_decay", "muon"):
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


@dataclass(frozen=True)
class Read:
    """A batch that has been read, and its place.

    Args:
        epoch: Its epoch.
        number: Its number in the epoch.
        size: Height and width in pixels of every item.
        pictures: Images or latents.
        captions: Their captions.
        weights: Factors of their losses.
    """

    epoch: int
    number: int
    size: tuple[int, int]
    pictures: list[Picture]
    captions: list[str]
    weights: list[float]

    def some(self, items: Sequence[int]) -> Read:
        """The items of these numbers."""
        return dataclasses.replace(
            self,
            pictures=[self.pictures[item] for item in items],
            captions=[self.captions[item] for item in items],
            weights=[self.weights[item] for item in items],
        )

    def after(self, step: int) -> Progress:
        """Where the run stands once this batch is done."""
        return Progress(step=step, epoch=self.epoch, batch=self.number + 1)


class Run(ABC):
    """A run of updates that goes on after a kill as if there had been none.

    What is made of a batch is up to :meth:`_update`.

    Args:
        data: The items.
        step: Pixels along the side of a patch.
        options: How.
    """

    def __init__(self, data: DataSet, step: int, options: RunOptions) -> None:
        self.options = options
        self.progress = Progress()
        self._data = data
        self._plan = BatchPlan(data, step, options.batches, options.seed)
        self._states: StateFolder | None = None
        self._models: Mapping[str, S3DiT] = {}
        self._optimisers: Mapping[str, torch.optim.Optimizer] = {}

    def _begin(
        self,
        folder: str | Path | None,
        models: Mapping[str, S3DiT],
        optimisers: Mapping[str, torch.optim.Optimizer],
        shape: Mapping[str, object] | None = None,
    ) -> None:
        """Go on from a folder's last checkpoint, if there is one.

        Args:
            folder: ``None``: nothing is kept.
            models: All that a checkpoint holds, by name.
            optimisers: By the name of the model whose weights they move.
            shape: What shapes the run beside its options and the data.

        Raises:
            ValueError: If the folder's run was made with other options.
            CheckpointError: If its checkpoint is broken.
        """
        self._models, self._optimisers = models, optimisers
        if folder is not None:
            # Without a decay, a run may be made longer.
            free = {*_FREE, *([] if self.options.decay else ["steps"])}
            whole = {**dataclasses.asdict(self.options), "data": self._plan.fingerprint()}
            self._states = StateFolder(Path(folder), {**whole, **(shape or {})}, free)
        for name in optimisers:
            models[name].gradient_checkpointing = self.options.gradient_checkpointing
        if self._states is not None:
            self.progress = self._states.resume(models, optimisers)
        if self.options.compile:
            for name in optimisers:
                models[name].compile_blocks()

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
                read = [next(batches) for _ in range(self.options.accumulation)]
                loss = self._update(read)
                self.progress = read[-1].after(step + 1)
                losses.append(loss)
                self._keep(loss, is_last=self.progress.step == stop)
                if on_step is not None:
                    on_step(step, loss)
            batches.close()
        return losses

    @abstractmethod
    def _update(self, batches: Sequence[Read]) -> float:
        """Make one update of the weights and return its loss."""

    @property
    def _threads(self) -> int:
        """Among which the items of a batch are shared out."""
        on_cpu = all(model.device.type == "cpu" for model in self._models.values())
        return self.options.shares if on_cpu else 1

    def _gradients(
        self, model: S3DiT, losses: Sequence[Callable[[], Tensor]], what: str = "loss"
    ) -> float:
        """Add the gradients of losses, as many side by side as there are shares.

        Raises:
            FloatingPointError: If a loss is not finite.
        """
        if self._threads == 1:
            return sum(self._backward(loss_of(), what) for loss_of in losses)
        found = add_gradients(losses, list(model.parameters()), self._threads)
        return self._finite(found, what)

    def _backward(self, loss: Tensor, what: str = "loss") -> float:
        """Add a loss's gradients.

        Raises:
            FloatingPointError: If it is not finite.
        """
        value = self._finite(float(loss.detach()), what)
        loss.backward()
        return value

    def _finite(self, value: float, what: str = "loss") -> float:
        if not math.isfinite(value):
            raise FloatingPointError(
                f"the {what} of update {self.progress.step} is {value}: lower the learning rate"
            )
        return value

    def _move(self, name: str, rate: float) -> None:
        """One step of a model's optimiser, on the gradients that are there."""
        optimiser = self._optimisers[name]
        for group in optimiser.param_groups:
            group["lr"] = rate
        torch.nn.utils.clip_grad_norm_(self._models[name].parameters(), self.options.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _follow(self, average: S3DiT, model: S3DiT) -> None:
        """Move an average of weights; at the start, where it would lag, faster."""
        step = self.progress.step
        decay = min(self.options.ema, (1 + step) / (10 + step))
        for kept, weight in zip(average.parameters(), model.parameters(), strict=True):
            kept.lerp_(weight, 1 - decay)

    def _precision(self, device: torch.device) -> AbstractContextManager[object]:
        if self.options.precision == "fp32":
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16)

    def _generator(self, *numbers: int) -> torch.Generator:
        """What is drawn in this update, on the CPU; the numbers tell its uses apart."""
        seed = mix(self.options.seed, self.progress.step, *numbers)
        return torch.Generator().manual_seed(seed)

    def _keep(self, loss: float, is_last: bool) -> None:
        if self._states is None:
            return
        self._states.note(self.progress.step - 1, loss)
        every = self.options.save_every
        if is_last or (every and self.progress.step % every == 0):
            self._states.save(self.progress, self._models, self._optimisers)

    def _read_ahead(self, ahead: ThreadPoolExecutor) -> Generator[Read, None, None]:
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

    def _read(self, epoch: int, number: int, planned: Planned) -> Read:
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
        return Read(epoch, number, planned.size, pictures, captions, weights)


def make_optimiser(model: S3DiT, options: RunOptions) -> torch.optim.AdamW:
    """AdamW over a model's weights, where only matrices decay; or Muon, see ``muon``."""
    fused = model.device.type in ("cpu", "cuda")
    inner = _inner_matrices(model) if options.muon else []
    is_inner = {id(each) for each in inner}
    matrices = [each for each in model.parameters() if each.ndim > 1 and id(each) not in is_inner]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": [each for each in model.parameters() if each.ndim <= 1], "weight_decay": 0.0},
    ]
    rate, betas = options.learning_rate, (0.9, 0.99)
    if not inner:
        return torch.optim.AdamW(groups, lr=rate, betas=betas, fused=fused)
    # The schedule sets one rate for all groups: Muon's is so many times as much.
    muon = {"params": inner, "weight_decay": options.weight_decay, "muon": options.muon / rate}
    return Muon([*groups, muon], lr=rate, betas=betas, fused=fused)


def _inner_matrices(model: S3DiT) -> list[Parameter]:
    """Matrices of attention and feed-forward; modulation and embeddings are not among them."""
    return [
        weight
        for block in model.blocks()
        for part in (block.attention, block.feed_forward)
        for weight in part.parameters()
        if weight.ndim == 2
    ]


def mix(*numbers: int) -> int:
    """One seed from several."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
