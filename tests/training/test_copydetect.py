"""Training of the embedded copy detector: the split, the views, the draw, the loss."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training.copydetect import split
from training.copydetect.augment import draw_overlays, make_view
from training.copydetect.draw import Neighbours
from training.copydetect.graphics import draw_graphic
from training.copydetect.loss import copy_loss
from training.copydetect.train import CONFIG, learning_rate


def test_the_split_is_what_its_script_draws(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = split.SPLIT.read_bytes()
    monkeypatch.setattr(split, "SPLIT", tmp_path / "split.csv")
    split.write_split(shared / "data", "winnow-copydetect-1|")
    assert (tmp_path / "split.csv").read_bytes() == kept


def test_no_photograph_and_no_subject_is_on_both_sides(shared: Path) -> None:
    train, test = (set(split.read_split(part)) for part in ("train", "test"))
    assert not train & test
    assert not any("neardup_real" in path for path in train | test)
    folder = shared / "data" / "photos" / "dreambooth_subjects"
    with (folder / "subjects.csv").open(encoding="utf-8", newline="") as file:
        subjects = {row["file"]: row["subject"] for row in csv.DictReader(file)}
    sides = [
        {subjects[path.removeprefix("photos/dreambooth_subjects/")] for path in part}
        for part in (
            {path for path in each if path.startswith("photos/dreambooth_subjects/")}
            for each in (train, test)
        )
    ]
    assert all(sides)
    assert not sides[0] & sides[1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 3.0), st.sampled_from([96, 128]))
def test_a_view_has_the_side_asked_for_and_follows_from_its_seed(
    seed: int, aspect: float, side: int
) -> None:
    source = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    first, second = (
        make_view(source, aspect, side, OVERLAYS, np.random.default_rng(seed)) for _ in range(2)
    )
    assert first.shape == (side, side, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)


OVERLAYS = draw_overlays(4, 0)


def test_the_source_of_a_view_is_left_alone() -> None:
    source = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    before = source.copy()
    rng = np.random.default_rng(1)
    for _ in range(40):
        make_view(source, 1.5, 96, OVERLAYS, rng)
    assert np.array_equal(source, before)


def test_drawn_pictures_of_a_family_are_alike_but_not_the_same() -> None:
    first, again, other = (draw_graphic(3, member, 7) for member in (0, 0, 1))
    assert first.tobytes() == again.tobytes()
    assert first.size == other.size
    assert first.tobytes() != other.tobytes()
    stranger = draw_graphic(4, 0, 7)

    def small(image: Image.Image) -> np.ndarray:
        return np.asarray(image.resize((8, 8)), dtype=float)

    near = np.abs(small(first) - small(other)).mean()
    assert near < np.abs(small(first) - small(stranger)).mean()


def test_mined_pictures_are_different_ones_and_look_alike() -> None:
    rng = np.random.default_rng(0)
    neighbours = Neighbours(400, 16)
    vectors = rng.normal(size=(100, 16)).astype(np.float32).repeat(4, axis=0)
    neighbours.update(vectors, np.arange(400))
    weights = np.full(400, 1 / 400)
    shared = {True: 0, False: 0}
    for mined in shared:
        for _ in range(20):
            rows = neighbours.draw(weights, 32, rng, mined=mined)
            assert len(set(rows.tolist())) == 32
            shared[mined] += 32 - len(set((rows // 4).tolist()))
    assert shared[True] > 1.5 * shared[False]


def loss_of(vectors: torch.Tensor, ids: torch.Tensor) -> float:
    loss, _ = copy_loss(
        torch.nn.functional.normalize(vectors, dim=1),
        ids,
        vectors[:0],
        ids[:0],
        temperature=0.05,
        spread_weight=0.3,
        global_weight=0.5,
    )
    return float(loss)


def test_the_loss_wants_copies_together_and_others_apart() -> None:
    torch.manual_seed(0)
    ids = torch.arange(8).repeat_interleave(3)
    apart = torch.eye(8)[ids] + 0.05 * torch.randn(24, 8)
    mixed = apart[torch.randperm(24)]
    one = torch.ones(24, 8) + 0.01 * torch.randn(24, 8)
    assert loss_of(apart, ids) < loss_of(mixed, ids) - 1
    assert loss_of(apart, ids) < loss_of(one, ids) - 1


def test_the_phases_follow_each_other_and_the_rate_ends_near_zero() -> None:
    phases = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["phases"]
    ends = [phase["until"] for phase in phases]
    assert ends == sorted(set(ends))
    last = phases[-1]
    assert 0 < learning_rate(last["until"] - 1, last, 200) < 0.05 * last["rate"]
