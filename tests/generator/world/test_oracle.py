"""The oracle reads every drawing, withstands what a generator does, and refuses the rest."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from generator.world import (
    Group,
    Scene,
    all_scenes,
    draw,
    look,
    matches,
    measure_chance,
    read,
    sample_scenes,
    score,
)

Picture = NDArray[np.uint8]

SCENES = list(all_scenes(1)) + list(all_scenes(2))[::11]
FEW = sample_scenes(40, 2)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SCENES))
def test_every_drawing_is_read(scene: Scene) -> None:
    reading = look(draw(scene))
    assert reading.scene == scene
    assert reading.is_sure
    assert min(reading.margins.values()) > 0.9
    assert reading.left_over < 0.02


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(SCENES), st.integers(32, 96))
def test_at_any_side(scene: Scene, side: int) -> None:
    image = draw(scene, side)
    assert (image.shape, image.dtype) == ((side, side, 3), np.uint8)
    assert read(image) == scene


@pytest.mark.parametrize("side", [32, 64])
def test_however_drawn(side: int) -> None:
    for number, scene in enumerate(FEW):
        assert read(draw(scene, side, antialias=False)) == scene
        assert read(draw(scene, side, seed=number)) == scene
    first, same, other = (draw(FEW[0], side, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def _noise(deviation: float) -> Callable[[Picture], Picture]:
    chance = np.random.default_rng(3)

    def add(image: Picture) -> Picture:
        noisy = image + chance.normal(0, deviation, image.shape)
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)

    return add


def _blur(radius: float) -> Callable[[Picture], Picture]:
    return lambda image: np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def _shift(*levels: int) -> Callable[[Picture], Picture]:
    return lambda image: np.clip(image.astype(int) + levels, 0, 255).astype(np.uint8)


def _jpeg(quality: int) -> Callable[[Picture], Picture]:
    def through(image: Picture) -> Picture:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
        return np.asarray(Image.open(buffer).convert("RGB"))

    return through


@pytest.mark.parametrize(
    ("spoil", "share"),
    [
        (_noise(20), 1.0),
        (_noise(30), 0.95),
        (_blur(1.0), 1.0),
        (_shift(25, 25, 25), 1.0),
        (_shift(-30, 0, 20), 0.95),
        (_jpeg(50), 0.95),
    ],
)
def test_moderate_damage_is_read_through(spoil: Callable[[Picture], Picture], share: float) -> None:
    read_as = [read(spoil(draw(scene))) for scene in FEW]
    right = sum(found == scene for found, scene in zip(read_as, FEW, strict=True))
    assert right >= share * len(FEW)
    assert all(found in (scene, None) for found, scene in zip(read_as, FEW, strict=True))


def _uniform(chance: np.random.Generator) -> Picture:
    return chance.integers(0, 256, (32, 32, 3)).astype(np.uint8)


def _flat(chance: np.random.Generator) -> Picture:
    return np.broadcast_to(chance.integers(0, 256, 3).astype(np.uint8), (32, 32, 3))


def _blobs(chance: np.random.Generator) -> Picture:
    coarse = Image.fromarray(chance.integers(0, 256, (4, 4, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((32, 32), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("make", [_uniform, _flat, _blobs])
def test_what_is_no_scene_is_refused(make: Callable[[np.random.Generator], Picture]) -> None:
    chance = np.random.default_rng(4)
    assert [read(make(chance)) for _ in range(40)] == [None] * 40


def test_bare_backgrounds_are_refused() -> None:
    for background in ("white", "black", "grey", "brown"):
        corner = draw(Scene((Group("star", "red", 1, "left", "small"),), background))[0, 0]
        assert read(np.broadcast_to(corner, (32, 32, 3))) is None


def _blends() -> Iterable[Picture]:
    for one, other in pairwise(FEW):
        if one.background == other.background:
            continue
        yield np.rint(draw(one) * 0.5 + draw(other) * 0.5).astype(np.uint8)


def test_blends_of_two_scenes_are_refused() -> None:
    read_as = [read(blend) for blend in _blends()]
    assert len(read_as) > 20
    assert sum(scene is not None for scene in read_as) <= 1


def test_halfway_between_two_values_neither_is_read() -> None:
    group = Group("circle", "red", 1, "centre", "large")
    for change in ({"place": "left"}, {"colour": "blue"}, {"size": "small"}):
        other = replace(group, **change)
        drawings = [draw(Scene((each,), "white")).astype(float) for each in (group, other)]
        blend = np.rint(sum(drawings) / 2).astype(np.uint8)
        assert read(blend) is None, change


def test_a_wrong_object_count_is_refused_or_counted() -> None:
    scene = Scene((Group("square", "blue", 3, "top", "small"),), "white")
    image = draw(scene).copy()
    image[:, 22:] = image[-1, -1]
    assert read(image) != scene
    centre = draw(Scene((Group("circle", "red", 1, "centre", "small"),), "white"))
    extra = np.where(np.all(centre == centre[0, 0], axis=2)[..., None], draw(scene), centre)
    assert read(extra) is None
    # What is asked for is there, and is scored as such.
    assert score(extra, scene) > 0.9


def test_the_score_counts_what_is_right() -> None:
    scene = Scene((Group("square", "blue", 1, "top", "large"),), "white")
    assert score(draw(scene), scene) == 1
    other = Scene((Group("square", "red", 1, "top", "large"),), "white")
    assert not matches(draw(other), scene)
    assert score(draw(other), scene) == pytest.approx(5 / 6)
    assert score(_flat(np.random.default_rng(0)), scene) < 0.5


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((32, 32, 3)),
        np.zeros((32, 32), np.uint8),
        np.zeros((31, 31, 3), np.uint8),
        np.zeros((32, 48, 3), np.uint8),
    ],
)
def test_what_is_no_image_is_told(image: Picture) -> None:
    with pytest.raises(ValueError, match="an image must be uint8"):
        read(image)


def test_a_side_out_of_range_is_told() -> None:
    with pytest.raises(ValueError, match=r"side must be in \[32, 1024\], got 16"):
        draw(FEW[0], 16)


def test_chance_is_low_and_repeats() -> None:
    chance = measure_chance(FEW)
    assert chance == measure_chance(FEW)
    assert chance.strict <= 0.05
    assert 0.15 < chance.attributes < 0.45
    with pytest.raises(ValueError, match="at least one"):
        measure_chance([])
