"""Checkpoints of a training run: whole or not there."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from generator.checkpoints import CheckpointError, load_model, whole_or_error
from generator.s3dit import S3DiT

_PREFIX = "step-"


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Args:
        step: Updates made.
        epoch: The epoch of the next batch.
        batch: Its number in that epoch; it may be one past the last.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0


class StateFolder:
    """The folder of a run: ``step-00001000/`` and so on, and ``losses.jsonl``.

    A checkpoint is written under another name and renamed, so it is whole or not there. The
    last two are kept. Each model inside is a folder that loads by itself.

    Args:
        folder: Made if absent.
        options: What shapes the run, JSON-ready; compared on resuming.
        free: Names of those that may change.
        keep: Checkpoints kept.
    """

    def __init__(
        self, folder: Path, options: Mapping[str, Any], free: Collection[str] = (), keep: int = 2
    ) -> None:
        self._folder = folder
        self._keep = keep
        self._free = free
        self._options = json.loads(json.dumps(options))
        folder.mkdir(parents=True, exist_ok=True)

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return sorted(each for each in self._folder.glob(f"{_PREFIX}*") if each.suffix != ".part")

    def note(self, step: int, loss: float) -> None:
        """Add a line to the losses."""
        with (self._folder / "losses.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "loss": loss}) + "\n")

    def losses(self) -> list[float]:
        """All losses noted, in order of steps."""
        path = self._folder / "losses.jsonl"
        if not path.exists():
            return []
        # A run that was killed may have left half a line.
        lines = [line for line in path.read_text("utf-8").splitlines(keepends=True) if "\n" in line]
        return [json.loads(line)["loss"] for line in lines]

    def save(
        self,
        progress: Progress,
        models: Mapping[str, S3DiT],
        optimisers: Mapping[str, torch.optim.Optimizer],
    ) -> None:
        """Write a checkpoint and remove those that are too many.

        Args:
            progress: Where the run stands.
            models: By the names of their folders.
            optimisers: By the names of the models whose weights they move.
        """
        place = self._folder / f"{_PREFIX}{progress.step:08d}"
        part = place.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        for name, model in models.items():
            model.save_pretrained(part / name)
        for name, optimiser in optimisers.items():
            save_file(_moments(models[name], optimiser), part / _moments_file(name))
        state = {**dataclasses.asdict(progress), "options": self._options}
        (part / "state.json").write_text(json.dumps(state, indent=1) + "\n", "utf-8")
        shutil.rmtree(place, ignore_errors=True)
        part.rename(place)
        for old in self.checkpoints()[: -self._keep]:
            shutil.rmtree(old)

    def resume(
        self, models: Mapping[str, S3DiT], optimisers: Mapping[str, torch.optim.Optimizer]
    ) -> Progress:
        """Load the last checkpoint into what is given, all of it or nothing.

        Args:
            models: As for :meth:`save`.
            optimisers: Likewise.

        Returns:
            Where it stands; the start if there is none.

        Raises:
            ValueError: If it was made with other options.
            CheckpointError: If it is broken.
        """
        found = self.checkpoints()
        if not found:
            self._cut_losses(0)
            return Progress()
        place = found[-1]
        with whole_or_error(place):
            state = json.loads((place / "state.json").read_text("utf-8"))
        self._compare(place, state.pop("options"))
        with whole_or_error(place):
            moments = {name: load_file(place / _moments_file(name)) for name in optimisers}
        loaded = {name: load_model(place / name) for name in models}
        for name, model in models.items():
            if loaded[name].config != model.config:
                raise CheckpointError(f"{place} holds a model of another shape")
        for name, values in moments.items():
            if {key.partition("/")[2] for key in values} != set(_names(models[name])):
                raise CheckpointError(f"{place / _moments_file(name)} is of another model")
        for name, model in models.items():
            model.load_state_dict(loaded[name].state_dict())
        for name, values in moments.items():
            _restore(models[name], optimisers[name], values)
        progress = Progress(**state)
        self._cut_losses(progress.step)
        return progress

    def _compare(self, place: Path, before: dict[str, Any]) -> None:
        changed = [
            f"{name} was {before.get(name)}, is {now}"
            for name, now in self._options.items()
            if name not in self._free and before.get(name) != now
        ]
        if changed:
            raise ValueError(
                f"{place} was made with other options: {'; '.join(changed)}. Go on with the same "
                "ones, or name another folder"
            )

    def _cut_losses(self, step: int) -> None:
        """Forget losses after the checkpoint: they come again."""
        path = self._folder / "losses.jsonl"
        if path.exists():
            lines = [
                json.dumps({"step": number, "loss": loss}) + "\n"
                for number, loss in enumerate(self.losses()[:step])
            ]
            part = path.with_suffix(".part")
            part.write_text("".join(lines), "utf-8")
            part.replace(path)


def _moments_file(name: str) -> str:
    return "optimiser.safetensors" if name == "model" else f"optimiser-{name}.safetensors"


def _names(model: S3DiT) -> list[str]:
    return [name for name, _ in model.named_parameters()]


def _moments(model: S3DiT, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    found = {}
    for name, parameter in model.named_parameters():
        for kind, value in optimiser.state[parameter].items():
            found[f"{kind}/{name}"] = value.detach().cpu().contiguous().clone()
    return found


def _restore(model: S3DiT, optimiser: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    for key, value in moments.items():
        kind, _, name = key.partition("/")
        parameter = parameters[name]
        # The count of updates stays where the optimiser makes it: beside fused weights.
        optimiser.state[parameter][kind] = value.to(parameter.device)
