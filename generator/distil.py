"""Few-step distillation: decoupled DMD, a student that needs few steps and no guidance.

The student starts as the teacher and is sampled as it will be used, in a few Euler steps. What a
step holds to be the clean latent gets noise again, and two terms say where it should move:

- CFG augmentation (CA), the engine: guidance times the teacher's difference between the caption
  and the empty one. Guidance is baked in, and with it the need for many steps falls.
- Distribution matching (DM), the regulariser: the teacher's clean latent against that of a third
  model, the fake, which learns by flow matching what the student draws.

Each term has re-noising times of its own: CA those later than the step's own time, since what is
earlier is settled; DM all of them, since flaws of any size are to be mended. Source: arXiv
2511.22677, equation 8 and algorithm 1.

DMD (arXiv 2311.18828, equation 8) divides by the length of the teacher's own correction. That is
not done here: where captions leave little open, that length goes to 0 and guidance does not.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from generator.codecs import ImageCodec
from generator.data import DataSet
from generator.flow import flow_losses
from generator.runs import Read, Run, RunOptions, make_optimiser
from generator.s3dit import Captions, S3DiT
from generator.s3dit.packing import padding
from generator.sampler import TURBO, SamplerOptions
from generator.shares import deal, side_by_side
from generator.text import TextEncoder
from generator.train import check_parts

#: Which re-noising times CA and DM have, at a step of time t: ``hybrid``: later than t, and all;
#: ``constrained``: later than t, both; ``full``: all, both; ``shared``: all, and the same ones
#: for both, which is DMD as it was before.
Schedule = Literal["hybrid", "constrained", "full", "shared"]

#: What is nearly clean or nearly noise says little: re-noising times keep off the ends.
_MARGIN = 0.02


@dataclass(frozen=True)
class DistilOptions(RunOptions):
    """How to distil: what :class:`generator.runs.RunOptions` has, and this.

    Args:
        learning_rate: Of the student, and of the fake times ``fake_rate``.
        sampler: How the student will be sampled; without guidance.
        guidance: The teacher's that is to be baked in, as samplers count it; 0: none is.
        schedule: Re-noising times of the two terms, see :data:`Schedule`.
        fake_updates: Updates of the fake for one of the student, at least 1.
        fake_rate: Factor of its learning rate, above 0.
    """

    steps: int = 100
    learning_rate: float = 3e-5
    warmup: int = 10
    ema: float = 0.95
    sampler: SamplerOptions = TURBO
    guidance: float = 4.0
    schedule: Schedule = "hybrid"
    fake_updates: int = 2
    fake_rate: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.guidance < 0:
            raise ValueError(f"guidance must be 0 or more, got {self.guidance}")
        if self.sampler.guidance:
            raise ValueError(
                f"the student's sampler must have no guidance, got {self.sampler.guidance:g}: "
                "what is to be baked in is the option guidance"
            )
        if self.schedule not in get_args(Schedule):
            raise ValueError(
                f"schedule must be one of {', '.join(get_args(Schedule))}, got {self.schedule!r}"
            )
        if self.fake_updates < 1:
            raise ValueError(f"fake_updates must be at least 1, got {self.fake_updates}")
        if self.fake_rate <= 0:
            raise ValueError(f"fake_rate must be above 0, got {self.fake_rate}")


@dataclass(frozen=True)
class _Path:
    """The student's sampling of a batch, without gradients.

    Args:
        batch: What was asked for.
        captions: Its captions' features, one for each item.
        inputs: What each step begins with, (steps, items, C, F, h, w).
        outputs: What each step holds to be clean, likewise.
        times: The steps' times, (steps,).
    """

    batch: Read
    captions: list[Tensor]
    inputs: Tensor
    outputs: Tensor
    times: Tensor

    def draw(self, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """For each item, a step drawn by lot: (items,), and the items' numbers."""
        steps, items = self.inputs.shape[:2]
        chosen = torch.randint(steps, (items,), generator=draw)
        return chosen.to(self.inputs.device), torch.arange(items, device=self.inputs.device)


class Distiller(Run):
    """Distils a teacher; the data gives captions and sizes, its images are not looked at.

    Args:
        teacher: Trained with caption dropout, in any type. Its weights stay as they are, and no
            longer ask for gradients.
        codec: For the sizes of latents.
        text: For captions.
        data: The items.
        options: How.
        folder: Where checkpoints and ``losses.jsonl`` go; ``None``: nowhere. If there is a
            checkpoint, the run goes on from it.

    Attributes:
        model: The student, float32.
        average: The average of its weights: what to sample with.
        fake: The model of what the student draws.

    Raises:
        ValueError: If the folder's run was made with other options or another teacher, or
            teacher, codec and text encoder do not fit together.
    """

    options: DistilOptions

    def __init__(
        self,
        teacher: S3DiT,
        codec: ImageCodec,
        text: TextEncoder,
        data: DataSet,
        options: DistilOptions,
        folder: str | Path | None = None,
    ) -> None:
        check_parts(teacher, codec, text)
        self._patch = teacher.config.patches[0]
        super().__init__(data, codec.factor * self._patch[0], options)
        self.teacher = teacher.eval().requires_grad_(requires_grad=False)
        self.model, self.fake = (
            copy.deepcopy(teacher).float().train().requires_grad_(requires_grad=True)
            for _ in range(2)
        )
        self.average = copy.deepcopy(self.model).eval().requires_grad_(requires_grad=False)
        self._codec, self._text = codec, text
        self._empty = text.encode([""])[0].to(teacher.device)
        self._levels = options.sampler.schedule().tolist()
        models = {"model": self.model, "average": self.average, "fake": self.fake}
        optimisers = {name: make_optimiser(models[name], options) for name in ("model", "fake")}
        self._begin(folder, models, optimisers, {"teacher": _fingerprint(teacher)})

    def _update(self, batches: Sequence[Read]) -> float:
        rate = self.options.rate(self.progress.step)
        parts = [part for batch in batches for part in self._parts(batch)]
        works = [partial(self._sample, *given, part) for part, given in enumerate(parts)]
        paths = side_by_side(works, self._threads)
        for turn in range(self.options.fake_updates):
            self._learn(self.fake, paths, (1, turn))
            self._move("fake", rate * self.options.fake_rate)
        loss = self._learn(self.model, paths, (2,))
        self._move("model", rate)
        self._follow(self.average, self.model)
        return loss

    def _parts(self, batch: Read) -> list[tuple[Read, list[Tensor]]]:
        """The shares of a batch and their captions' features.

        What a share draws by lot goes by its number in the update.
        """
        features = [each.to(self.model.device) for each in self._text.encode(batch.captions)]
        shares = deal([len(each) + padding(len(each)) for each in features], self._threads)
        return [(batch.some(share), [features[item] for item in share]) for share in shares]

    def _learn(self, model: S3DiT, paths: Sequence[_Path], lot: tuple[int, ...]) -> float:
        """Add the gradients of all paths to the student or the fake; gives the loss."""
        count = sum(len(path.captions) for path in paths)
        losses_of = self._fake_losses if model is self.fake else self._losses

        def loss_of(part: int) -> Tensor:
            return losses_of(paths[part], self._generator(part, *lot)).sum() / count

        what = "fake's loss" if model is self.fake else "loss"
        return self._gradients(model, [partial(loss_of, part) for part in range(len(paths))], what)

    @torch.no_grad()
    def _sample(self, batch: Read, features: list[Tensor], part: int) -> _Path:
        """Go the student's way from noise, and keep what it goes through."""
        device = self.model.device
        sides = [side // self._codec.factor for side in batch.size]
        shape = (len(batch.captions), self._codec.channels, self._patch[1], *sides)
        latents = torch.randn(shape, generator=self._generator(part, 0)).to(device)
        inputs, outputs = [], []
        with self._precision(device):
            captions = self.model.encode_captions(features)
        for level, following in pairwise(self._levels):
            times = torch.full((len(features),), 1 - level, device=device)
            velocities = self._velocities(self.model, latents, times, captions)
            inputs.append(latents)
            outputs.append(latents + level * velocities)
            latents = latents + (level - following) * velocities
        steps = 1 - torch.tensor(self._levels[:-1], device=device)
        return _Path(batch, features, torch.stack(inputs), torch.stack(outputs), steps)

    def _fake_losses(self, path: _Path, draw: torch.Generator) -> Tensor:
        """Flow matching on what the student draws, (items,)."""
        steps, items = path.draw(draw)
        drawn = path.outputs[steps, items]
        noise = torch.randn(drawn.shape, generator=draw).to(drawn.device)
        times = torch.rand(len(items), generator=draw).to(drawn.device)
        noised = torch.lerp(noise, drawn, _wide(times))
        velocities = self._velocities(self.fake, noised, times, path.captions)
        return flow_losses(list(velocities), list(drawn - noise))

    def _losses(self, path: _Path, draw: torch.Generator) -> Tensor:
        """Half the squared length of the way to go, whose gradient is that way, (items,)."""
        steps, items = path.draw(draw)
        times = path.times[steps]
        inputs = path.inputs[steps, items]
        velocities = self._velocities(self.model, inputs, times, path.captions)
        drawn = inputs + _wide(1 - times) * velocities
        wanted = drawn.detach() + self._direction(drawn.detach(), times, path.captions, draw)
        weights = torch.tensor(path.batch.weights, dtype=torch.float32, device=drawn.device)
        return 0.5 * (drawn - wanted).square().flatten(1).mean(1) * weights

    @torch.no_grad()
    def _direction(
        self, drawn: Tensor, times: Tensor, captions: list[Tensor], draw: torch.Generator
    ) -> Tensor:
        """Where clean latents drawn at such times should move: DM + guidance x CA."""
        late, matched = self._times(times, draw)
        noise = torch.randn((2, *drawn.shape), generator=draw).to(drawn.device)
        if self.options.schedule == "shared":
            noise[1] = noise[0]
        matching = torch.lerp(noise[0], drawn, _wide(matched))
        augmenting = torch.lerp(noise[1], drawn, _wide(late))
        empty = [self._empty] * len(captions)
        asked = torch.cat([matching, augmenting, augmenting])
        at = torch.cat([matched, late, late])
        found = self._velocities(self.teacher, asked, at, [*captions, *captions, *empty])
        real, positive, negative = found.chunk(3)
        fake = self._velocities(self.fake, matching, matched, captions)
        # Clean latents differ by what velocities differ by, times the noise level.
        dm = _wide(1 - matched) * (real - fake)
        ca = _wide(1 - late) * (positive - negative)
        return dm + self.options.guidance * ca

    def _times(self, times: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Re-noising times of CA and of DM, (items,) each."""
        schedule = self.options.schedule
        drawn = torch.rand((2, len(times)), generator=draw).to(times.device)
        later = times.clamp(_MARGIN, 1 - _MARGIN)
        whole = torch.full_like(times, _MARGIN)
        late = later if schedule in ("hybrid", "constrained") else whole
        matched = later if schedule == "constrained" else whole
        found = [
            start + (1 - _MARGIN - start) * lot
            for start, lot in zip((late, matched), drawn, strict=True)
        ]
        return (found[1] if schedule == "shared" else found[0]), found[1]

    def _velocities(
        self, model: S3DiT, latents: Tensor, times: Tensor, captions: list[Tensor] | Captions
    ) -> Tensor:
        with self._precision(model.device):
            found = model(list(latents), times, captions)
        return torch.stack(found).float()


def _wide(times: Tensor) -> Tensor:
    """One for each latent, to be multiplied with it."""
    return times.view(-1, 1, 1, 1, 1)


def _fingerprint(model: S3DiT) -> str:
    """Of a model's weights: some of each, for the published ones have 12 GB."""
    digest = hashlib.sha256()
    for name, weight in model.state_dict().items():
        flat = weight.detach().flatten()
        some = flat[:: max(1, len(flat) // 64)].float().cpu()
        digest.update(f"{name} {tuple(weight.shape)}".encode() + some.numpy().tobytes())
    return digest.hexdigest()[:16]
