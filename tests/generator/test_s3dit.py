"""The model: parity with diffusers, names of its parameters, and what must not matter."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from generator import S3DiT, S3DiTConfig
from tests.generator.twins import TINY, diffusers_model, distance, draw, make_twins, randomise

CASES = {
    "whole multiples": ([(16, 16)], [32]),
    "both padded": ([(16, 12)], [7]),
    "one row of text": ([(2, 2)], [1]),
    "batch of one size": ([(16, 16), (16, 16)], [21, 30]),
    "same lengths, other shapes": ([(16, 8), (8, 16)], [9, 9]),
    "mixed": ([(16, 12), (8, 8), (20, 4), (8, 8)], [5, 70, 32, 33]),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_diffusers(case: str) -> None:
    ours, theirs = make_twins()
    latents, times, captions = draw(*CASES[case])
    with torch.no_grad():
        got = ours(latents, times, captions)
        want = theirs(latents, times, captions, return_dict=False)[0]
    assert distance(got, want) < 1e-5
    assert float(want[0].abs().mean()) > 0.1


@pytest.mark.parametrize(
    "change",
    [
        {"qk_norm": False},
        {"all_patch_size": (2, 4), "all_f_patch_size": (1, 1)},
        {"in_channels": 4, "n_refiner_layers": 1, "norm_eps": 1e-3, "t_scale": 500.0},
        {"dim": 128, "n_heads": 4, "rope_theta": 10.0, "n_layers": 1},
        {"dim": 384, "n_heads": 12, "n_layers": 1},
    ],
    ids=str,
)
def test_equals_diffusers_in_other_shapes(change: dict) -> None:
    config = dataclasses.replace(TINY, **change)
    ours, theirs = make_twins(config)
    latents, times, captions = draw([(16, 12), (8, 8)], [5, 40], config)
    for side, frames in config.patches:
        with torch.no_grad():
            got = ours(latents, times, captions, patch=(side, frames))
            want = theirs(latents, times, captions, False, patch_size=side, f_patch_size=frames)[0]
        assert distance(got, want) < 1e-5


def test_equals_diffusers_on_frames() -> None:
    config = dataclasses.replace(TINY, all_f_patch_size=(2,))
    ours, theirs = make_twins(config)
    latents, times, captions = draw([(8, 8)], [5], config, frames=4)
    with torch.no_grad():
        got = ours(latents, times, captions)
        want = theirs(latents, times, captions, False, f_patch_size=2)[0]
    assert distance(got, want) < 1e-5


def test_gradients_equal_diffusers() -> None:
    ours, theirs = make_twins()
    latents, times, captions = draw(*CASES["mixed"])
    sum(each.square().sum() for each in ours(latents, times, captions)).backward()
    sum(each.square().sum() for each in theirs(latents, times, captions, False)[0]).backward()
    wanted = {name: each.grad for name, each in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        scale = float(wanted[name].abs().max())
        assert float((parameter.grad - wanted[name]).abs().max()) < 1e-4 * scale, name


def test_state_loads_both_ways_strictly() -> None:
    theirs = diffusers_model(TINY)
    randomise(theirs, seed=3)
    ours = S3DiT(TINY)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    diffusers_model(TINY).load_state_dict(ours.state_dict(), strict=True)
    latents, times, captions = draw(*CASES["mixed"])
    with torch.no_grad():
        want = theirs(latents, times, captions, False)[0]
        assert distance(ours(latents, times, captions), want) < 1e-5


def test_published_size() -> None:
    with torch.device("meta"):
        ours, theirs = S3DiT(S3DiTConfig()), diffusers_model(S3DiTConfig())
    assert sum(each.numel() for each in ours.parameters()) == 6_154_908_736
    shapes = {name: tuple(each.shape) for name, each in ours.state_dict().items()}
    assert len(shapes) == 521
    assert shapes == {name: tuple(each.shape) for name, each in theirs.state_dict().items()}
    assert shapes["layers.29.feed_forward.w1.weight"] == (10240, 3840)
    assert not list(ours.buffers())


def test_published_size_with_references() -> None:
    with torch.device("meta"):
        model = S3DiT(S3DiTConfig(siglip_feat_dim=1152))
    assert sum(each.numel() for each in model.parameters()) == 6_513_266_880


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 50)), min_size=1, max_size=4
    )
)
def test_an_item_does_not_see_its_batch(items: list[tuple[int, int, int]]) -> None:
    model = S3DiT(dataclasses.replace(TINY, n_layers=1, n_refiner_layers=1)).eval()
    randomise(model)
    latents, times, captions = draw([(2 * h, 2 * w) for h, w, _ in items], [n for *_, n in items])
    with torch.no_grad():
        together = model(latents, times, captions)
        for number, velocity in enumerate(together):
            one = slice(number, number + 1)
            alone = model(latents[one], times[one], captions[one])[0]
            assert distance([velocity], [alone]) < 1e-5


def test_captions_encoded_once_give_the_same() -> None:
    ours, _ = make_twins()
    latents, times, captions = draw(*CASES["mixed"])
    with torch.no_grad():
        encoded = ours.encode_captions(captions)
        assert distance(ours(latents, times, encoded), ours(latents, times, captions)) == 0


def test_checkpointing_changes_no_gradient() -> None:
    ours, _ = make_twins()
    latents, times, captions = draw(*CASES["mixed"])
    grads = []
    for switch in (False, True):
        ours.gradient_checkpointing = switch
        ours.zero_grad()
        sum(each.square().sum() for each in ours(latents, times, captions)).backward()
        grads.append([each.grad for each in ours.parameters()])
    assert distance(*grads) == 0


def test_bfloat16_follows_float32() -> None:
    ours, _ = make_twins()
    latents, times, captions = draw(*CASES["mixed"])
    with torch.no_grad():
        exact = ours(latents, times, captions)
        rounded = ours.to(torch.bfloat16)(latents, times, captions)
    assert {each.dtype for each in rounded} == {torch.bfloat16}
    error = [(a - b.float()).norm() / a.norm() for a, b in zip(exact, rounded, strict=True)]
    assert max(error) < 0.05


def test_autocast_keeps_the_stream_in_float32() -> None:
    ours, _ = make_twins()
    latents, times, captions = draw(*CASES["mixed"])
    with torch.no_grad():
        exact = ours(latents, times, captions)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = ours(latents, times, captions)
    error = [(a - b.float()).norm() / a.norm() for a, b in zip(exact, rounded, strict=True)]
    assert 0 < max(error) < 0.05


SMALL = dataclasses.replace(TINY, n_layers=1, n_refiner_layers=1)


@pytest.mark.slow
def test_traced_whole_without_a_break() -> None:
    ours = S3DiT(SMALL).eval()
    randomise(ours)
    traced = torch.compile(ours, backend="eager", fullgraph=True)
    for case in ("batch of one size", "mixed"):
        latents, times, captions = draw(*CASES[case])
        with torch.no_grad():
            want = ours(latents, times, captions)
            assert distance(traced(latents, times, captions), want) < 1e-5


@pytest.mark.slow
def test_blocks_compile_in_place() -> None:
    ours = S3DiT(SMALL).eval()
    randomise(ours)
    names = list(ours.state_dict())
    latents, times, captions = draw(*CASES["batch of one size"])
    with torch.no_grad():
        want = ours(latents, times, captions)
        ours.compile_blocks(backend="aot_eager")
        assert distance(ours(latents, times, captions), want) < 1e-5
    assert list(ours.state_dict()) == names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 65}, "multiple of n_heads"),
        ({"axes_dims": (8, 12, 10)}, r"add up to dim / n_heads = 32"),
        ({"axes_dims": (7, 13, 12)}, "even"),
        ({"axes_lens": (8, 8)}, "3 entries"),
        ({"all_patch_size": (2, 4)}, "same length"),
        ({"n_layers": -1}, "0 or more, got -1"),
        ({"in_channels": 0}, "above 0, got 0"),
    ],
)
def test_wrong_shapes_of_a_model_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)


def test_config_goes_there_and_back() -> None:
    config = dataclasses.replace(TINY, siglip_feat_dim=24)
    values = {**config.to_dict(), "_class_name": "ZImageTransformer2DModel"}
    assert S3DiTConfig.from_dict(values) == config
    with pytest.raises(ValueError, match="unknown field of an S3-DiT configuration: depth"):
        S3DiTConfig.from_dict({"depth": 3})


def test_wrong_input_is_refused() -> None:
    model = S3DiT(TINY)
    latents, times, captions = draw([(8, 8), (8, 8)], [5, 5])
    cases = [
        ((latents[:1], times, captions), "one entry for each item"),
        (([], times[:0], []), "at least one item"),
        (([latents[0][:3], latents[1]], times, captions), r"shape \(16, F, H, W\)"),
        (([each[..., :7] for each in latents], times, captions), "not made of patches"),
        ((latents, times, [captions[0], captions[1][:, :9]]), r"shape \(L, 48\)"),
        ((latents, times, [captions[0], captions[1][:0]]), "L at least 1"),
        (draw([(8, 8)], [256]), r"axes_lens\[0\] = 256"),
        (draw([(8, 130)], [5]), r"axes_lens\[2\] = 64, got 64"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            model(*arguments)
    with pytest.raises(ValueError, match="patch must be one of"):
        model(latents, times, captions, patch=(4, 1))
