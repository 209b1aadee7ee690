"""Checkpoints on disk: read whole or not at all, from safetensors alone.

Three layouts are read: a folder as diffusers writes it (``config.json``, one
``diffusion_pytorch_model.safetensors`` or shards with their index), a whole model folder with
such a one as ``transformer/``, and a single file with fused attention as ComfyUI passes them
round. Names and shapes are checked against the headers before a single weight is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from generator.s3dit import S3DiT, S3DiTConfig

_STEM = "diffusion_pytorch_model"
_WHOLE = f"{_STEM}.safetensors"
_INDEX = f"{_STEM}.safetensors.index.json"
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
_CLASSES = {"ZImageTransformer2DModel", "S3DiT"}
#: What the layout of this file was taken from; diffusers looks at it for its own migrations.
_DIFFUSERS_VERSION = "0.36.0"

_FUSED_PREFIX = "model.diffusion_model."
#: A weight that fused files may carry and that no code reads.
_FUSED_UNUSED = {"norm_final.weight"}
_PAD_TOKENS = {"x_pad_token", "cap_pad_token", "siglip_pad_token"}


class CheckpointError(ValueError):
    """A checkpoint that cannot be loaded; the message says what is wrong and where."""


@dataclass(frozen=True)
class _Entry:
    """One tensor of a file.

    Args:
        file: Where it is.
        key: Its name there.
        shape: Its shape, after taking the part.
        part: Which third of the first axis is meant; ``None``: all of it.
    """

    file: Path
    key: str
    shape: tuple[int, ...]
    part: int | None = None


def load_model(
    place: str | Path,
    *,
    config: S3DiTConfig | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
) -> S3DiT:
    """Load an S3-DiT.

    Args:
        place: A folder with ``config.json`` and weights, a folder with such a one as
            ``transformer``, or a ``.safetensors`` file with fused attention.
        config: The model's shape, where there is no ``config.json``; ``None``: the published one.
        dtype: Type of the parameters; ``None``: as stored (float32 where types are mixed).
        device: Where the parameters go.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointError: If the folder, the configuration or any file is not whole, a tensor is
            missing, unexpected or of another shape, or the weights are pickled.
    """
    place = Path(place)
    if place.is_dir() and not (place / "config.json").exists():
        place = place / "transformer" if (place / "transformer").is_dir() else place
    config = config or _read_config(place)
    with torch.device("meta"):
        model = S3DiT(config)
    entries = _entries(place, config)
    wanted = {name: tuple(each.shape) for name, each in model.state_dict().items()}
    _check(place, wanted, entries)
    model.load_state_dict(_read(entries, dtype, torch.device(device)), strict=True, assign=True)
    return model.eval()


def save_model(
    model: S3DiT,
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = 10_000_000_000,
) -> None:
    """Write ``config.json`` and weights as diffusers does; whatever weights are there go.

    Args:
        model: Sharded over devices or not; all ranks of a sharded one must call.
        folder: Made if absent.
        dtype: Type to store; ``None``: the model's.
        max_shard_bytes: A file is started anew before it grows past this.

    Raises:
        ValueError: If max_shard_bytes is below 1.
    """
    if max_shard_bytes < 1:
        raise ValueError(f"max_shard_bytes must be at least 1, got {max_shard_bytes}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: _whole(each, dtype) for name, each in model.state_dict().items()}
    shards = _cut(state, max_shard_bytes)
    names = [_WHOLE]
    if len(shards) > 1:
        count = len(shards)
        names = [f"{_STEM}-{n:05d}-of-{count:05d}.safetensors" for n in range(1, count + 1)]
    for name, shard in zip(names, shards, strict=True):
        save_file(shard, folder / f"{name}.part", metadata={"format": "pt"})
    _clear(folder)
    for name in names:
        (folder / f"{name}.part").replace(folder / name)
    values = {"_class_name": "ZImageTransformer2DModel", "_diffusers_version": _DIFFUSERS_VERSION}
    _write_json(folder / "config.json", {**values, **model.config.to_dict()})
    if len(shards) > 1:
        # The index last: without it the folder holds no checkpoint.
        weight_map = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
        size = sum(each.numel() * each.element_size() for each in state.values())
        _write_json(folder / _INDEX, {"metadata": {"total_size": size}, "weight_map": weight_map})


@contextmanager
def whole_or_error(place: str | Path) -> Iterator[None]:
    """Turn what other libraries raise about a broken folder into a :class:`CheckpointError`."""
    try:
        yield
    except (SafetensorError, OSError, RuntimeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{place} cannot be loaded: {error}") from error


def refuse_partial(
    place: str | Path, notes: Mapping[str, Any], kinds: Iterable[str] = ("missing_keys",)
) -> None:
    """Refuse what diffusers and transformers would load with a warning.

    Args:
        place: Where it came from.
        notes: Their loading info.
        kinds: Entries of it that must be empty, beside ``mismatched_keys``.

    Raises:
        CheckpointError: If one is not.
    """
    for kind in (*kinds, "mismatched_keys"):
        names = sorted(map(str, notes.get(kind) or ()))
        if names:
            raise CheckpointError(f"{place}: {kind.replace('_', ' ')}: {_some(names)}")


def _whole(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    full = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full.detach().to("cpu", dtype or full.dtype).contiguous()


def _cut(state: Mapping[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in state.items():
        grown = tensor.numel() * tensor.element_size()
        if shards[-1] and size + grown > limit:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += grown
    return shards


def _clear(folder: Path) -> None:
    """Remove earlier weights, the index first: a kill leaves no mixture that would load."""
    (folder / _INDEX).unlink(missing_ok=True)
    for file in folder.glob(f"{_STEM}*.safetensors"):
        file.unlink()


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")
    part.replace(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}. Fetch it again") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a JSON object")
    return values


def _read_config(place: Path) -> S3DiTConfig:
    if not place.exists():
        raise CheckpointError(f"{place} does not exist")
    if place.is_file() and not (place.parent / "config.json").exists():
        return S3DiTConfig()
    path = (place.parent if place.is_file() else place) / "config.json"
    values = _read_json(path)
    if values.get("_class_name", "S3DiT") not in _CLASSES:
        raise CheckpointError(
            f"{path} is the configuration of {values['_class_name']}, not of an S3-DiT "
            "(ZImageTransformer2DModel). Name the transformer's folder"
        )
    try:
        return S3DiTConfig.from_dict(values)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from None


def _entries(place: Path, config: S3DiTConfig) -> dict[str, _Entry]:
    """Every tensor on disk by its name in the model."""
    if place.is_file():
        stored = _scan(place)
    elif (place / _INDEX).exists():
        stored = _scan_shards(place)
    elif (place / _WHOLE).exists():
        stored = _scan(place / _WHOLE)
    else:
        raise CheckpointError(_nothing_found(place))
    return _unfuse(place, stored, config) if _is_fused(stored) else stored


def _nothing_found(folder: Path) -> str:
    pickles = sorted(each.name for each in folder.iterdir() if each.suffix in _PICKLES)
    if pickles:
        return f"{_pickle_text(folder / pickles[0])}"
    return f"{folder} holds neither {_WHOLE} nor {_INDEX}"


def _pickle_text(path: Path) -> str:
    return (
        f"{path} is a pickle, which can run code when it is read. Only safetensors are loaded: "
        "convert it where it can be trusted"
    )


def _scan_shards(folder: Path) -> dict[str, _Entry]:
    index = _read_json(folder / _INDEX)
    places = index.get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(each, str) for each in places.values()):
        raise CheckpointError(f"{folder / _INDEX} has no weight_map of names")
    found: dict[str, _Entry] = {}
    for name in sorted(set(places.values())):
        if Path(name).name != name:
            raise CheckpointError(f"{folder / _INDEX} names a file outside its folder: {name}")
        for key, entry in _scan(folder / name).items():
            if places.get(key) != name:
                raise CheckpointError(f"{folder / name} holds {key}, which the index does not say")
            found[key] = entry
    lost = sorted(set(places) - set(found))
    if lost:
        raise CheckpointError(
            f"{folder}: the index names tensors that no shard holds: {_some(lost)}"
        )
    return found


def _scan(path: Path) -> dict[str, _Entry]:
    """The header of one file; safetensors checks it against the file's length."""
    if path.suffix in _PICKLES:
        raise CheckpointError(_pickle_text(path))
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    entries = {}
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - not a mapping
                entries[key] = _Entry(path, key, tuple(file.get_slice(key).get_shape()))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file: {error}. Fetch it again"
        ) from None
    return entries


def _is_fused(stored: Iterable[str]) -> bool:
    plain = [key.removeprefix(_FUSED_PREFIX) for key in stored]
    return any(".attention.qkv." in key or key.startswith("x_embedder.") for key in plain)


def _unfuse(place: Path, stored: Mapping[str, _Entry], config: S3DiTConfig) -> dict[str, _Entry]:
    side, frames = config.patches[0]
    renamed: dict[str, _Entry] = {}
    for old, entry in stored.items():
        key = old.removeprefix(_FUSED_PREFIX)
        if key in _FUSED_UNUSED:
            continue
        for short, long in (
            ("x_embedder.", f"all_x_embedder.{side}-{frames}."),
            ("final_layer.", f"all_final_layer.{side}-{frames}."),
        ):
            key = long + key.removeprefix(short) if key.startswith(short) else key
        key = key.replace(".attention.out.", ".attention.to_out.0.")
        key = key.replace(".attention.q_norm.", ".attention.norm_q.")
        key = key.replace(".attention.k_norm.", ".attention.norm_k.")
        for name, part in _parts(key, entry):
            if name in renamed:
                raise CheckpointError(f"{place} holds {name} twice")
            renamed[name] = part
    return renamed


def _parts(key: str, entry: _Entry) -> list[tuple[str, _Entry]]:
    """Three entries for fused queries, keys and values; else the one."""
    if key in _PAD_TOKENS and len(entry.shape) == 1:
        return [(key, _Entry(entry.file, entry.key, (1, *entry.shape)))]
    if ".attention.qkv." not in key or entry.shape[0] % 3:
        return [(key, entry)]
    shape = (entry.shape[0] // 3, *entry.shape[1:])
    return [
        (key.replace(".qkv.", f".to_{name}."), _Entry(entry.file, entry.key, shape, part))
        for part, name in enumerate("qkv")
    ]


def _check(
    place: Path, wanted: Mapping[str, tuple[int, ...]], entries: Mapping[str, _Entry]
) -> None:
    faults = []
    missing, unexpected = sorted(set(wanted) - set(entries)), sorted(set(entries) - set(wanted))
    if missing:
        faults.append(f"{len(missing)} missing: {_some(missing)}")
    if unexpected:
        faults.append(f"{len(unexpected)} unexpected: {_some(unexpected)}")
    wrong = [
        f"{name} is {entries[name].shape}, must be {shape}"
        for name, shape in wanted.items()
        if name in entries and entries[name].shape != shape
    ]
    if wrong:
        faults.append(f"{len(wrong)} of another shape: {_some(wrong)}")
    if faults:
        raise CheckpointError(
            f"{place} does not fit its configuration; nothing was loaded. Tensors "
            + "; ".join(faults)
        )


def _some(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _read(
    entries: Mapping[str, _Entry], dtype: torch.dtype | None, device: torch.device
) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for file in sorted({entry.file for entry in entries.values()}):
        with safe_open(file, framework="pt") as stored:
            for name, entry in entries.items():
                if entry.file == file:
                    state[name] = _take(stored.get_tensor(entry.key), entry, dtype, device)
    types = {tensor.dtype for tensor in state.values()}
    if len(types) > 1:
        state = {name: tensor.float() for name, tensor in state.items()}
    return state


def _take(tensor: Tensor, entry: _Entry, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    if not tensor.is_floating_point():
        raise CheckpointError(
            f"{entry.file} holds {entry.key} as {tensor.dtype}: quantised weights are not read"
        )
    if entry.part is not None:
        tensor = tensor.chunk(3)[entry.part].clone()
    return tensor.reshape(entry.shape).to(device, dtype or tensor.dtype)
