"""Checkpoints: to and from diffusers, fused files, and all the ways they can be broken."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from generator import S3DiT
from generator.checkpoints import CheckpointError
from tests.generator.twins import TINY, distance, draw, make_twins, randomise

FILE = "diffusion_pytorch_model.safetensors"
INDEX = f"{FILE}.index.json"
INPUT = draw([(8, 12), (8, 8)], [5, 40])


def made(seed: int = 0) -> S3DiT:
    model = S3DiT(TINY).eval()
    randomise(model, seed)
    return model


def same(one: S3DiT, other: S3DiT) -> bool:
    return all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def fuse(state: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """The layout that ComfyUI reads."""
    fused: dict[str, Tensor] = {}
    for name, tensor in state.items():
        key = name.replace("all_x_embedder.2-1.", "x_embedder.")
        key = key.replace("all_final_layer.2-1.", "final_layer.")
        key = key.replace(".attention.to_out.0.", ".attention.out.")
        key = key.replace(".norm_q.", ".q_norm.").replace(".norm_k.", ".k_norm.")
        if ".attention.to_q." in key:
            parts = [state[name.replace("to_q", f"to_{part}")] for part in "qkv"]
            fused[prefix + key.replace("to_q", "qkv")] = torch.cat(parts)
        elif ".attention.to_k." not in key and ".attention.to_v." not in key:
            fused[prefix + key] = tensor.clone()
    return fused


@pytest.mark.parametrize("limit", [10**9, 300_000], ids=["one file", "shards"])
def test_diffusers_loads_ours_and_we_load_theirs(tmp_path: Path, limit: int) -> None:
    ours, theirs = make_twins()
    ours.save_pretrained(tmp_path / "ours", max_shard_bytes=limit)
    assert (tmp_path / "ours" / INDEX).exists() == (limit < 10**9)
    loaded, notes = type(theirs).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(notes.values())
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size=limit)
    again = S3DiT.from_pretrained(tmp_path / "theirs")
    assert again.config == TINY
    assert same(again, ours)
    with torch.no_grad():
        want = ours(*INPUT)
        assert distance(loaded.eval()(*INPUT, return_dict=False)[0], want) < 1e-5


def test_config_is_written_as_diffusers_writes_it(tmp_path: Path) -> None:
    ours, theirs = make_twins()
    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    one, other = (
        json.loads((tmp_path / n / "config.json").read_text()) for n in ("ours", "theirs")
    )
    assert one.pop("_diffusers_version")
    assert other.pop("_diffusers_version")
    assert one == other


def test_a_folder_with_a_transformer_inside_loads(tmp_path: Path) -> None:
    model = made()
    model.save_pretrained(tmp_path / "transformer", dtype=torch.bfloat16)
    loaded = S3DiT.from_pretrained(tmp_path)
    assert loaded.dtype == torch.bfloat16
    assert same(loaded, made().to(torch.bfloat16))
    assert same(S3DiT.from_pretrained(tmp_path, dtype=torch.float32).bfloat16(), loaded)
    assert all(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_fused_file_loads(tmp_path: Path, prefix: str) -> None:
    state = fuse(made().state_dict(), prefix)
    assert len(state) == len(made().state_dict()) - 2 * 7
    state[f"{prefix}x_pad_token"] = state[f"{prefix}x_pad_token"][0].clone()
    state[f"{prefix}norm_final.weight"] = torch.ones(64)
    save_file(state, tmp_path / "fused.safetensors")
    assert same(S3DiT.from_pretrained(tmp_path / "fused.safetensors", config=TINY), made())


def test_our_fused_reading_is_diffusers(tmp_path: Path) -> None:
    from tests.generator.twins import diffusers_model

    theirs = type(diffusers_model(TINY))
    made().save_pretrained(tmp_path)
    save_file(fuse(made().state_dict()), tmp_path / "fused.safetensors")
    loaded = theirs.from_single_file(tmp_path / "fused.safetensors", config=str(tmp_path))
    ours = S3DiT.from_pretrained(tmp_path / "fused.safetensors")
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, ours.state_dict()[name]), name


def test_fewer_shards_leave_nothing_of_the_many(tmp_path: Path) -> None:
    made(1).save_pretrained(tmp_path, max_shard_bytes=300_000)
    made(2).save_pretrained(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["config.json", FILE]
    assert same(S3DiT.from_pretrained(tmp_path), made(2))


def change_state(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        state = load_file(folder / FILE)
        change(state)
        save_file(state, folder / FILE)

    return act


def change_config(**values: object) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return act


def truncate(folder: Path) -> None:
    data = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(data[:-100])


def pickled(folder: Path) -> None:
    (folder / FILE).unlink()
    torch.save(made().state_dict(), folder / "diffusion_pytorch_model.bin")


def disguised(folder: Path) -> None:
    (folder / FILE).write_bytes(pickle.dumps({"a": 1}))


WIDER = torch.zeros(65, 64)
BROKEN = {
    "missing": (
        change_state(lambda state: state.pop("cap_pad_token")),
        "nothing was loaded. Tensors 1 missing: cap_pad_token",
    ),
    "unexpected": (
        change_state(lambda state: state.update({"layers.3.extra": torch.zeros(1)})),
        "1 unexpected: layers.3.extra",
    ),
    "wrong shape": (
        change_state(lambda state: state.update({"layers.0.attention.to_q.weight": WIDER})),
        r"layers.0.attention.to_q.weight is \(65, 64\), must be \(64, 64\)",
    ),
    "quantised": (
        change_state(lambda s: s.update({"x_pad_token": torch.zeros(1, 64, dtype=torch.int8)})),
        "x_pad_token as torch.int8: quantised",
    ),
    "truncated": (truncate, "not a whole safetensors file"),
    "empty": (lambda folder: (folder / FILE).write_bytes(b""), "not a whole safetensors file"),
    "pickle": (pickled, "is a pickle"),
    "pickle by another name": (disguised, "not a whole safetensors file"),
    "no weights": (lambda folder: (folder / FILE).unlink(), "holds neither"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "broken config": (
        lambda folder: (folder / "config.json").write_text("{"),
        "config.json is not JSON",
    ),
    "another model": (
        change_config(_class_name="FluxTransformer2DModel"),
        "configuration of FluxTransformer2DModel",
    ),
    "unknown field": (change_config(depth=3), "unknown field of an S3-DiT configuration: depth"),
    "other shape": (change_config(n_layers=4), "15 missing: layers.3"),
    "nonsense": (change_config(axes_dims=[8, 8, 8]), "axes_dims must be even and add up"),
    "wrong type": (change_config(dim="wide"), "config.json: "),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_checkpoint_is_refused(tmp_path: Path, case: str) -> None:
    act, message = BROKEN[case]
    made().save_pretrained(tmp_path)
    act(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        S3DiT.from_pretrained(tmp_path)


def test_broken_shards_are_refused(tmp_path: Path) -> None:
    def refused(change: Callable[[dict], object], message: str) -> None:
        made().save_pretrained(tmp_path, max_shard_bytes=300_000)
        index = json.loads((tmp_path / INDEX).read_text())
        change(index)
        (tmp_path / INDEX).write_text(json.dumps(index))
        with pytest.raises(CheckpointError, match=message):
            S3DiT.from_pretrained(tmp_path)

    def lose(index: dict) -> None:
        (tmp_path / sorted(set(index["weight_map"].values()))[0]).unlink()

    refused(lose, "is missing")
    refused(lambda index: index["weight_map"].pop("x_pad_token"), "which the index does not say")
    refused(lambda index: index.update(weight_map=[]), "no weight_map")
    refused(
        lambda index: index["weight_map"].update(x_pad_token="../a.safetensors"),
        "outside its folder",
    )
    shard = sorted(tmp_path.glob("*.safetensors"))[0].name
    refused(lambda index: index["weight_map"].update(more=shard), "no shard holds: more")


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        S3DiT.from_pretrained(tmp_path / "absent")
    torch.save({}, tmp_path / "weights.ckpt")
    with pytest.raises(CheckpointError, match="is a pickle"):
        S3DiT.from_pretrained(tmp_path / "weights.ckpt")
    with pytest.raises(ValueError, match="max_shard_bytes must be at least 1, got 0"):
        made().save_pretrained(tmp_path, max_shard_bytes=0)
