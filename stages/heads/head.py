"""A head and its file: a network, the embedder it was trained on, and what its score means."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stages.contract import ConfigurationError
from stages.heads.network import Layer, Network

FORMAT = 1
_KEY = "winnow_head"

#: What tells one embedder from another: names and hashes of files, by field.
Embedder = dict[str, Any]


@dataclass(frozen=True)
class Head:
    """A trained head.

    Args:
        network: From vector to score.
        name: What it scores, such as ``watermark``.
        table: The table of vectors it was trained on.
        embedder: What made them, see ``stages.score.embedder_of``; ``None`` where the file does
            not say.
        label: What a score of 1 means, for people.
        training: How it was trained and how well it does on held-out images; JSON values.
    """

    network: Network
    name: str
    table: str = "embed"
    embedder: Embedder | None = None
    label: str = ""
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Length of the vectors it takes."""
        return self.network.width

    def check_embedder(self, embedder: Embedder, where: str) -> None:
        """Whether vectors of an embedder are what the head was trained on.

        Args:
            embedder: What makes the vectors.
            where: The setting that names the head, for the message.

        Raises:
            ConfigurationError: If not.
        """
        if self.embedder is not None and self.embedder != embedder:
            raise ConfigurationError(
                f"{where}: the head was trained on vectors of {_described(self.embedder)}, but "
                f"the table holds those of {_described(embedder)}: train it again with "
                "winnow train-head, or name the table it was trained on"
            )


def save_head(head: Head) -> bytes:
    """A head as a safetensors file: ``layers.N.weight``, ``layers.N.bias``, and metadata.

    The metadata has one key, ``winnow_head``, which holds JSON. Equal heads give equal bytes.
    """
    from safetensors.numpy import save

    network = head.network
    tensors = {}
    for number, layer in enumerate(network.layers):
        tensors[f"layers.{number}.weight"] = layer.weight.astype(np.float32)
        tensors[f"layers.{number}.bias"] = layer.bias.astype(np.float32)
    about = {
        "format": FORMAT,
        "name": head.name,
        "table": head.table,
        "embedder": head.embedder,
        "width": head.width,
        "activation": network.activation,
        "output": network.output,
        "calibration": {"kind": "platt", "slope": network.slope, "offset": network.offset},
        "label": head.label,
        "training": head.training,
    }
    text = json.dumps(about, sort_keys=True, ensure_ascii=False, allow_nan=False)
    data: bytes = save(tensors, metadata={_KEY: text})
    return data


def load_head(path: Path) -> Head:
    """Read a head that ``save_head`` wrote.

    Raises:
        ConfigurationError: If the file is missing, damaged, or no head of ours.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _head(about, tensors)
    except KeyError as error:
        raise ConfigurationError(
            f"{path} is no head that winnow wrote, it lacks {error}: for a head of LAION set "
            "layout: laion"
        ) from error
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise ConfigurationError(f"{path} cannot be read as a head: {error}") from error


def _head(about: dict[str, Any], tensors: dict[str, np.ndarray]) -> Head:
    if about["format"] != FORMAT:
        raise ValueError(f"it has format {about['format']}, this version reads {FORMAT}")
    calibration = about["calibration"]
    network = Network(
        layers_of(tensors),
        about["activation"],
        about["output"],
        float(calibration["slope"]),
        float(calibration["offset"]),
    )
    if network.width != about["width"]:
        raise ValueError(f"it says width {about['width']}, its first layer takes {network.width}")
    rest = {key: about[key] for key in ("name", "table", "embedder", "label", "training")}
    return Head(network, **rest)


def layers_of(tensors: dict[str, np.ndarray], prefix: str = "layers.") -> tuple[Layer, ...]:
    """Layers from tensors named ``PREFIX N.weight`` and ``PREFIX N.bias``, by ascending N."""
    numbers = sorted({int(name.removeprefix(prefix).split(".")[0]) for name in tensors})
    return tuple(
        Layer(
            np.asarray(tensors[f"{prefix}{number}.weight"], dtype=np.float64),
            np.asarray(tensors[f"{prefix}{number}.bias"], dtype=np.float64),
        )
        for number in numbers
    )


def _described(embedder: Embedder) -> str:
    model = str(embedder.get("model", "an unknown model"))
    rest = [f"{key} {value}" for key, value in sorted(embedder.items()) if key != "model" and value]
    return f"{model} ({', '.join(rest)})" if rest else model
