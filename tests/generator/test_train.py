"""The trainer: it learns, it resumes to the bit, and it says what is wrong."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from generator import S3DiT
from generator.checkpoints import CheckpointError
from generator.codecs import BlockDct
from generator.data import BatchOptions, Listed
from generator.flow import FlowOptions
from generator.sampler import SamplerOptions
from generator.states import StateFolder
from generator.text import HashedWords
from generator.text_to_image import TextToImage
from generator.train import Trainer, TrainOptions
from tests.generator.toys import COLOURS, OPTIONS, TOY, make_trainer
from tests.generator.twins import distance

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def state(trainer: Trainer) -> list[Tensor]:
    return [
        *trainer.model.state_dict().values(),
        *trainer.average.state_dict().values(),
    ]


@pytest.mark.slow
def test_it_learns_what_the_captions_say() -> None:
    options = dataclasses.replace(
        OPTIONS,
        steps=150,
        warmup=10,
        accumulation=1,
        ema=0.97,
        decay=0.3,
        batches=BatchOptions(tokens=10**6, most=16),
    )
    trainer = make_trainer(options=options, count=48)
    losses = trainer.run()
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    drawing = TextToImage(
        trainer.average, BlockDct(), HashedWords(48), SamplerOptions(steps=12, shift=1.0)
    )
    names = [*COLOURS] * 4
    drawn = drawing.generate([f"a {name} picture" for name in names], size=(16, 16))
    right = sum(named(picture) == name for picture, name in zip(drawn, names, strict=True))
    # Chance is 4 of 12; 11 were right when this was written.
    assert right >= 9


def named(picture: Tensor) -> str:
    """The colour nearest to a picture's mean."""
    seen = (picture.mean(dim=(1, 2)) + 1) * 127.5
    return min(COLOURS, key=lambda name: float((seen - torch.tensor(COLOURS[name])).norm()))


def test_a_killed_run_goes_on_with_the_same_losses(tmp_path: Path) -> None:
    undisturbed = make_trainer(str(tmp_path / "whole"))
    want = undisturbed.run()
    place = str(tmp_path / "killed")
    command = [sys.executable, "-m", "tests.generator.toys", place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 6:
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert len(StateFolder(Path(place), {}).losses()) >= 7
    again = make_trainer(place)
    assert again.progress.step == 4
    assert again.run() == want[4:]
    assert StateFolder(Path(place), {}).losses() == want
    assert distance(state(again), state(undisturbed)) == 0


def test_stopping_and_going_on_across_epochs(tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, save_every=0)
    want = make_trainer(options=options, count=6).run()
    got = []
    for until in (1, 5, 12):
        got += make_trainer(str(tmp_path), options, count=6).run(until)
    assert got == want
    assert make_trainer(str(tmp_path), options, count=6).run() == []
    longer = dataclasses.replace(options, steps=14)
    assert len(make_trainer(str(tmp_path), longer, count=6).run()) == 2


def test_what_is_saved_loads_by_itself(tmp_path: Path) -> None:
    trainer = make_trainer(str(tmp_path))
    trainer.run(until=9)
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == ["losses.jsonl", "step-00000008", "step-00000009"]
    place = tmp_path / "step-00000009"
    for name, model in (("model", trainer.model), ("average", trainer.average)):
        loaded = S3DiT.from_pretrained(place / name)
        assert distance([*loaded.state_dict().values()], [*model.state_dict().values()]) == 0


def test_accumulated_batches_are_one_large_one() -> None:
    batches = BatchOptions(tokens=10**6, most=24)
    flow = FlowOptions(shift=1.0, caption_dropout=0.0)
    options = TrainOptions(steps=1, flow=flow, batches=batches, learning_rate=1e-3)
    together = make_trainer(options=options)
    parts = make_trainer(options=dataclasses.replace(options, accumulation=3))
    losses = [float(together.run()[0]), float(parts.run()[0])]
    assert losses[0] == pytest.approx(losses[1], rel=0.2)
    assert parts.progress.batch + 10 * parts.progress.epoch > together.progress.batch


def test_weights_multiply_losses() -> None:
    flat = torch.zeros(16, 1, 4, 4)
    loud = torch.full((16, 1, 4, 4), 30.0)
    options = TrainOptions(
        steps=1,
        flow=FlowOptions(shift=1.0),
        batches=BatchOptions(weighting="loss"),
    )

    def loss(weight: float) -> float:
        data = Listed([(flat, "a", 1.0), (loud, "b", weight)], factor=4)
        torch.manual_seed(0)
        trainer = Trainer(S3DiT(TOY), BlockDct(), HashedWords(48), data, options)
        return trainer.run()[0]

    assert loss(0.0) < 10 < loss(1.0) < 0.7 * loss(9.0)


@pytest.mark.parametrize(
    "change",
    [{"precision": "bf16"}, {"gradient_checkpointing": True}],
    ids=["bf16", "checkpointing"],
)
def test_other_ways_give_much_the_same(change: dict) -> None:
    plain = make_trainer().run(until=3)
    other = make_trainer(options=dataclasses.replace(OPTIONS, **change)).run(until=3)
    assert other == pytest.approx(plain, rel=0.02)
    if "gradient_checkpointing" in change:
        assert other == plain


def test_rates_rise_and_fall() -> None:
    options = TrainOptions(steps=100, learning_rate=1.0, warmup=10, decay=0.2)
    rates = [options.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[79] == 1.0
    assert rates[99] == pytest.approx(0.05)


def test_other_options_or_data_are_refused(tmp_path: Path) -> None:
    make_trainer(str(tmp_path)).run(until=4)
    changed = dataclasses.replace(OPTIONS, learning_rate=1e-4, save_every=1)
    with pytest.raises(ValueError, match="learning_rate was 0.002, is 0.0001"):
        make_trainer(str(tmp_path), changed)
    with pytest.raises(ValueError, match="other options: data was"):
        make_trainer(str(tmp_path), count=9)


def test_a_broken_state_is_refused(tmp_path: Path) -> None:
    make_trainer(str(tmp_path)).run(until=4)
    file = tmp_path / "step-00000004" / "optimiser.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="step-00000004 cannot be loaded"):
        make_trainer(str(tmp_path))


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    bad = torch.full((16, 1, 4, 4), float("nan"))
    data = Listed([(bad, "a", 1.0)], factor=4)
    trainer = Trainer(S3DiT(TOY), BlockDct(), HashedWords(48), data, TrainOptions(steps=2))
    with pytest.raises(FloatingPointError, match="loss of update 0 is nan"):
        trainer.run()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"warmup": -1}, "warmup must be 0 or more, got -1"),
        ({"ema": 1.0}, r"ema must be in \[0, 1\), got 1"),
        ({"decay": 2.0}, r"decay must be in \[0, 1\], got 2"),
        ({"precision": "fp8"}, "fp32 or bf16, got 'fp8'"),
    ],
)
def test_wrong_options_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainOptions(**values)


def test_parts_must_fit() -> None:
    data = Listed([(torch.zeros(16, 1, 4, 4), "a", 1.0)], factor=4)
    with pytest.raises(ValueError, match="text width 64 and 16 channels do not fit"):
        Trainer(S3DiT(TOY), BlockDct(), HashedWords(64), data, TrainOptions())
