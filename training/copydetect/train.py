"""Train the ``builtin`` embedder: ``python -m training.copydetect.train --work FOLDER``.

Processes of one thread each draw their own photographs and average gradients after every step.
The schedule counts steps, so that a run may be stopped, continued or suspended at any time.
Same configuration, seed, processes and libraries give the same weights.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.multiprocessing as mp
import yaml
from torch import Tensor, distributed

from stages.embedders.copynet import DIM, CopyNet
from training.copydetect.augment import Overlays, draw_overlays, make_view
from training.copydetect.data import DRAWN, Photos, load_photos
from training.copydetect.draw import Neighbours
from training.copydetect.loss import copy_loss
from training.copydetect.split import read_split

CONFIG = Path(__file__).with_name("config.yaml")
_SAVE_EVERY = 100
_LOG_EVERY = 25


class Trainer:
    """One process of the run.

    Args:
        config: From config.yaml.
        rank: Number of the process, from 0.
        photos: To train on.
        work: Folder of the checkpoint and the log.
    """

    def __init__(self, config: dict[str, Any], rank: int, photos: Photos, work: Path) -> None:
        self.config, self.rank, self.photos, self.work = config, rank, photos, work
        torch.manual_seed(config["seed"])
        self.net = CopyNet().to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.net)
        self.optimizer = torch.optim.AdamW(_groups(self.net, config["weight_decay"]), fused=True)
        self.neighbours = Neighbours(len(photos.paths), DIM)
        self.overlays: Overlays = draw_overlays(config["overlays"], config["seed"])
        self.step = 0
        if self._checkpoint.exists():
            self._resume()

    @property
    def _checkpoint(self) -> Path:
        return self.work / "checkpoint.pt"

    def run(self) -> None:
        """Train from where the checkpoint is to the end."""
        started, logged = time.perf_counter(), self.step
        steps = self.config["phases"][-1]["until"]
        while self.step < steps:
            parts = self.train_step()
            self.step += 1
            if self.rank:
                continue
            if self.step % _LOG_EVERY == 0:
                now = time.perf_counter()
                parts["seconds_per_step"] = (now - started) / (self.step - logged)
                started, logged = now, self.step
                self._log(parts)
            if self.step % _SAVE_EVERY == 0 or self.step == steps:
                self._save()

    @property
    def phase(self) -> dict[str, Any]:
        """The phase that the step belongs to."""
        return next(phase for phase in self.config["phases"] if self.step < phase["until"])

    def train_step(self) -> dict[str, float]:
        """One step; what the log shows of it."""
        rate = learning_rate(self.step, self.phase, self.config["warmup_steps"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        images, ids = self._batch()
        vectors = torch.nn.functional.normalize(self.net(images), dim=1)
        others, other_ids = self._exchange(vectors.detach(), ids)
        loss, parts = copy_loss(
            vectors,
            ids,
            others,
            other_ids,
            temperature=self.config["temperature"],
            spread_weight=self.config["spread_weight"],
            global_weight=self.config["global_weight"],
        )
        self.optimizer.zero_grad()
        loss.backward()
        self._share()
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimizer.step()
        self._follow()
        return {"loss": loss.item(), **parts, "gradient": float(norm), "rate": rate}

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Views (n, 3, side, side), channels last, 0..255, and the photograph of each."""
        config, phase = self.config, self.phase
        side = phase["side"]
        rng = np.random.default_rng([config["seed"], self.step, self.rank])
        weights = self.photos.weights({**config["weights"], "drawn": phase["drawn"]})
        count = config["sources_per_step"]
        rows = self.neighbours.draw(weights, count, rng, mined=phase["mined"])
        rows = rows.repeat(config["views"])
        views = np.empty((len(rows), side, side, 3), dtype=np.uint8)
        for place, row in enumerate(rows):
            source, aspect = self.photos.pixels[row], self.photos.aspects[row]
            views[place] = make_view(source, aspect, side, self.overlays, rng)
        return torch.from_numpy(views).permute(0, 3, 1, 2).float(), torch.from_numpy(rows)

    def _exchange(self, vectors: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings and photographs of the other processes, without gradients."""
        every, every_id = [vectors], [ids]
        if self.config["processes"] > 1:
            every = [torch.empty_like(vectors) for _ in range(self.config["processes"])]
            every_id = [torch.empty_like(ids) for _ in every]
            distributed.all_gather(every, vectors)
            distributed.all_gather(every_id, ids)
        self.neighbours.update(torch.cat(every).numpy(), torch.cat(every_id).numpy())
        others = [part for rank, part in enumerate(every) if rank != self.rank]
        other_ids = [part for rank, part in enumerate(every_id) if rank != self.rank]
        return torch.cat([vectors[:0], *others]), torch.cat([ids[:0], *other_ids])

    def _share(self) -> None:
        """Average the gradients of all processes."""
        count = self.config["processes"]
        if count == 1:
            return
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        distributed.all_reduce(flat)
        flat /= count
        parts = flat.split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(self.phase["average"], (1 + self.step) / (10 + self.step))
        own, averaged = self.net.state_dict(), self.average.state_dict()
        floats = [name for name in own if own[name].is_floating_point()]
        torch._foreach_lerp_([averaged[n] for n in floats], [own[n] for n in floats], 1 - keep)

    def _log(self, parts: dict[str, float]) -> None:
        line = {"step": self.step, **{name: round(value, 5) for name, value in parts.items()}}
        with (self.work / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _save(self) -> None:
        state = {
            "step": self.step,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "neighbours": torch.from_numpy(self.neighbours.vectors),
        }
        part = self._checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self._checkpoint)

    def _resume(self) -> None:
        state = torch.load(self._checkpoint)
        self.step = state["step"]
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if "neighbours" in state:
            known = state["neighbours"].numpy()
            self.neighbours.vectors[: len(known)] = known


def learning_rate(step: int, phase: dict[str, Any], warmup_steps: int) -> float:
    """Rises over the warm-up; falls to a hundredth along the phase's cosine."""
    warm = min(1.0, (step + 1) / warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * step / phase["cosine"]))
    return float(phase["rate"] * warm * (0.01 + 0.99 * cosine))


def _groups(net: CopyNet, decay: float) -> list[dict[str, Any]]:
    """Filters decay; biases and norms do not."""
    filters = [p for p in net.parameters() if p.ndim > 1]
    rest = [p for p in net.parameters() if p.ndim <= 1]
    return [
        {"params": filters, "weight_decay": decay},
        {"params": rest, "weight_decay": 0.0},
    ]


def sources(config: dict[str, Any]) -> list[str]:
    """What is trained on: the photographs of the split, then drawn pictures."""
    drawn = [
        f"{DRAWN}{family}/{member}/{config['seed']}"
        for family in range(config["drawn_families"])
        for member in range(config["drawn_members"])
    ]
    return read_split("train") + drawn


def _work(rank: int, config: dict[str, Any], data: Path, work: Path) -> None:
    # Schedulers that share time out by session would count all processes as one.
    os.setsid()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    count = config["processes"]
    if count > 1:
        # A suspended run must not run into the time limit.
        distributed.init_process_group(
            "gloo",
            init_method=f"file://{(work / 'meeting').absolute()}",
            rank=rank,
            world_size=count,
            timeout=timedelta(hours=6),
        )
    paths = sources(config)
    photos = load_photos(data, paths, work / "cache")
    Trainer(config, rank, photos, work).run()
    if count > 1:
        distributed.destroy_process_group()


def main() -> None:
    """Train, or go on where the checkpoint in ``--work`` is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True, help="checkpoint, log, cache")
    parser.add_argument("--config", type=Path, default=CONFIG)
    options = parser.parse_args()
    config = yaml.safe_load(options.config.read_text(encoding="utf-8"))
    options.work.mkdir(parents=True, exist_ok=True)
    (options.work / "meeting").unlink(missing_ok=True)
    load_photos(options.data, sources(config), options.work / "cache")
    arguments = (config, options.data, options.work)
    mp.start_processes(_work, arguments, config["processes"], start_method="spawn")


if __name__ == "__main__":
    main()
