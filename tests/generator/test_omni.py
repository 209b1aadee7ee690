"""Reference images: parity with diffusers, and what the quirks do."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from generator.s3dit import Reference, S3DiT, S3DiTConfig
from generator.s3dit.omni import flatten_features, text_strip
from tests.generator.twins import TINY, distance, make_twins, randomise

OMNI = dataclasses.replace(TINY, siglip_feat_dim=24)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def compare(
    config: S3DiTConfig,
    targets: list[Tensor],
    segments: list[list[Tensor]],
    references: list[list[Reference]],
) -> float:
    ours, theirs = make_twins(config)
    times = torch.linspace(0.2, 0.9, len(targets))
    shows = any(each.features is not None for item in references for each in item)
    with torch.no_grad():
        got = ours(targets, times, segments, references)
        want = theirs(
            [
                [*(each.latent for each in item), x]
                for item, x in zip(references, targets, strict=True)
            ],
            times,
            segments,
            return_dict=False,
            siglip_feats=[
                [*(each.features for each in item), None] if shows else None for item in references
            ],
            image_noise_mask=[[*(0 for _ in item), 1] for item in references],
        )[0]
    return distance(got, want)


def test_one_and_two_references_equal_diffusers() -> None:
    one = Reference(draw(16, 1, 8, 12), draw(5, 7, 24))
    two = Reference(draw(16, 1, 16, 16), draw(8, 8, 24))
    error = compare(
        OMNI,
        [draw(16, 1, 8, 8), draw(16, 1, 12, 8)],
        [[draw(n, 48) for n in (5, 41, 3)], [draw(n, 48) for n in (5, 33, 70, 2)]],
        [[one], [two, one]],
    )
    assert error < 1e-5


def test_without_features_equals_diffusers() -> None:
    error = compare(
        TINY,
        [draw(16, 1, 8, 8), draw(16, 1, 12, 8)],
        [[draw(n, 48) for n in (5, 41, 3)], [draw(7, 48)]],
        [[Reference(draw(16, 1, 8, 12))], []],
    )
    assert error < 1e-5


def test_features_without_a_latent_equal_diffusers() -> None:
    error = compare(
        OMNI,
        [draw(16, 1, 8, 8)],
        [[draw(n, 48) for n in (5, 41, 3)]],
        [[Reference(features=draw(5, 7, 24))]],
    )
    assert error < 1e-5


def test_without_quirks_positions_run_on() -> None:
    (with_quirk, ends), (without, same) = (
        text_strip([5, 40], 2, quirks) for quirks in (True, False)
    )
    assert ends == same == [6, 48]
    assert without.points[32, 0] == 8
    assert with_quirk.points[32, 0] == 0
    assert (
        without.length == with_quirk.length == len(without.points) == len(with_quirk.points) == 96
    )


def test_without_quirks_features_keep_their_places() -> None:
    features = draw(3, 4, 24)
    assert torch.equal(flatten_features(features, quirks=False)[5], features[1, 1])
    assert not torch.equal(flatten_features(features, quirks=True)[5], features[1, 1])


def test_the_switch_changes_the_outcome_and_is_kept() -> None:
    plain = dataclasses.replace(OMNI, omni_quirks=False)
    assert S3DiTConfig.from_dict(plain.to_dict()) == plain
    assert "omni_quirks" not in OMNI.to_dict()
    outcome = []
    for config in (OMNI, plain):
        model = S3DiT(config)
        randomise(model)
        with torch.no_grad():
            outcome += model(
                [draw(16, 1, 8, 8)],
                torch.tensor([0.3]),
                [[draw(n, 48) for n in (5, 41, 3)]],
                [[Reference(draw(16, 1, 8, 12), draw(5, 7, 24))]],
            )
    assert distance(outcome[:1], outcome[1:]) > 1e-3


def test_what_does_not_fit_is_refused() -> None:
    model, target, text = S3DiT(TINY), [draw(16, 1, 8, 8)], [[draw(5, 48), draw(6, 48)]]
    half = torch.tensor([0.5])
    with pytest.raises(ValueError, match="siglip_feat_dim = None takes no SigLIP features"):
        model(target, half, text, [[Reference(features=draw(5, 7, 24))]])
    with pytest.raises(ValueError, match="one list for each item"):
        model(target, half, text, [])
    with pytest.raises(ValueError, match="as many text segments"):
        model(target, half, text, [[Reference(draw(16, 1, 8, 8))] * 2])
    with pytest.raises(ValueError, match="lists of segments"):
        model(target, half, model.encode_captions(text[0][:1]), [[]])
