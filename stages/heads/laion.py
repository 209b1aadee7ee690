"""LAION's aesthetic heads over CLIP ViT-L/14: their files as published."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from stages.contract import ConfigurationError
from stages.heads.head import Embedder, Head, layers_of
from stages.heads.network import Layer, Network

#: Models of open_clip whose vectors the heads were trained on, and their tag.
_MODELS = ("ViT-L-14", "ViT-L-14-quickgelu")
_TAG = "openai"


def load_laion(path: Path) -> Head:
    """Read an aesthetic head as LAION publishes it.

    Two layouts are known: ``aesthetic-predictor`` (``sa_0_4_vit_l_14_linear.pth``: one linear
    layer, ``weight`` and ``bias``) and ``improved-aesthetic-predictor``
    (``layers.0.weight``, ...: five linear layers with nothing but dropout between them). Both
    take unit vectors and give about 1 to 10; high is pleasing.

    Raises:
        ConfigurationError: If the file cannot be read, or has another layout.
    """
    tensors = _tensors(path)
    try:
        if set(tensors) == {"weight", "bias"}:
            layers: tuple[Layer, ...] = layers_of({f"layers.0.{k}": v for k, v in tensors.items()})
        else:
            layers = layers_of(tensors)
        network = Network(layers, "identity", "identity")
    except (KeyError, ValueError) as error:
        names = ", ".join(sorted(tensors)[:6])
        raise ConfigurationError(
            f"{path} has no layout of LAION's aesthetic heads ({error}); its tensors: {names}"
        ) from error
    return Head(network, "aesthetic", label="1 to 10, as people rated pictures; high is pleasing")


def check_laion_embedder(embedder: Embedder, where: str) -> None:
    """Refuse vectors of which it is known that LAION's heads were not trained on them.

    Raises:
        ConfigurationError: For the builtin embedder and for published models other than OpenAI's
            ViT-L/14. What a file of your own holds is not known, and taken on trust.
    """
    family, _, rest = str(embedder.get("model", "")).partition("/")
    name, _, tag = rest.partition("/")
    unknown = embedder.get("checkpoint") or rest.startswith(("hf-hub:", "local-dir:"))
    if family == "open_clip" and (unknown or (name in _MODELS and tag == _TAG)):
        return
    raise ConfigurationError(
        f"{where}: LAION's aesthetic heads take vectors of open_clip/{_MODELS[1]}/{_TAG}, but the "
        f"table holds those of {embedder.get('model')}: add that embedder and name its table"
    )


def _tensors(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return dict(load_file(path))
        import torch

        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.numpy() for name, tensor in state.items()}
    except (OSError, RuntimeError, ValueError, AttributeError, pickle.UnpicklingError) as error:
        raise ConfigurationError(f"{path} cannot be read as weights: {error}") from error
