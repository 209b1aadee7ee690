"""Image towers of open_clip models, with weights that are never random."""

from __future__ import annotations

import difflib
import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.contract import ConfigurationError
from stages.embedders.base import Embedder

_LOCAL_DIR = "local-dir:"
_SCHEMES = (_LOCAL_DIR, "hf-hub:")
_LOAD_ERRORS = (RuntimeError, OSError, ValueError, KeyError, EOFError, pickle.UnpicklingError)
_WEIGHT_SUFFIXES = {".safetensors", ".bin", ".pt", ".pth"}


class _Source(NamedTuple):
    """Where architecture, weights and preprocessing come from."""

    name: str
    tag: str | None


class OpenClipEmbedder(Embedder):
    """The image tower of an open_clip model.

    Args:
        model: ``NAME/TAG``; ``NAME`` with a checkpoint; ``NAME/TAG`` with a checkpoint, for the
            file's weights and the tag's preprocessing; ``hf-hub:OWNER/NAME``;
            ``local-dir:PATH``, a folder of ``open_clip_config.json`` and weights.
        checkpoint: File with weights, as safetensors or saved by torch.
        model_config_file: JSON file in open_clip's format; its stem is the ``NAME``.
        precision: ``fp32``; ``bf16`` or ``fp16`` under autocast; ``auto`` is fp32 on the CPU
            and bf16 on CUDA (fp16 where the device has no bf16).
    """

    def __init__(
        self,
        model: str,
        checkpoint: str | None = None,
        model_config_file: str | None = None,
        precision: str = "auto",
    ) -> None:
        self.name = f"open_clip/{model}"
        self._source = _parse(model)
        self._checkpoint = checkpoint
        self._config_file = model_config_file
        self._precision = precision
        self._model: Any = None
        self._preprocess: Callable[[Image.Image], Any] | None = None
        self._device = "cpu"
        self._dim = 0

    @property
    def dim(self) -> int:
        """Width of the tower's output; 0 before ``load``."""
        return self._dim

    def check(self) -> None:
        """Find out whether name, tag and files exist; a tag's download is not tried.

        Raises:
            ConfigurationError: With the nearest known name, or what to add.
        """
        if self._checkpoint and not Path(self._checkpoint).is_file():
            raise ConfigurationError(
                f"embed.checkpoint={self._checkpoint!r} is not a file: correct the path"
            )
        if self._source.name.startswith(_SCHEMES):
            self._check_scheme()
            return
        self._register_config()
        _check_name(self._source, has_checkpoint=self._checkpoint is not None)

    def _check_scheme(self) -> None:
        name = self._source.name
        if self._checkpoint or self._config_file:
            raise ConfigurationError(
                f"embed.model=open_clip/{name} names its own weights and architecture: remove "
                "embed.checkpoint and embed.model_config_file"
            )
        if not name.startswith(_LOCAL_DIR):
            return
        folder = Path(name.removeprefix(_LOCAL_DIR))
        if not (folder / "open_clip_config.json").is_file():
            raise ConfigurationError(f"{folder} holds no open_clip_config.json: correct the path")
        if not any(path.suffix in _WEIGHT_SUFFIXES for path in folder.iterdir()):
            raise ConfigurationError(
                f"{folder} holds no weights: add open_clip_model.safetensors to it"
            )

    def _register_config(self) -> None:
        if self._config_file is None:
            return
        import open_clip

        path = Path(self._config_file)
        try:
            keys = set(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"embed.model_config_file={self._config_file!r} cannot be read as JSON: {error}"
            ) from error
        if missing := sorted({"embed_dim", "vision_cfg", "text_cfg"} - keys):
            raise ConfigurationError(f"{path} lacks {', '.join(missing)}: see open_clip's configs")
        if path.stem != self._source.name:
            raise ConfigurationError(
                f"{path} describes the model {path.stem!r}, but embed.model names "
                f"{self._source.name!r}: make file name and model name the same"
            )
        open_clip.add_model_config(path)

    def load(self, device: str, threads: int) -> None:
        """Load the tower onto the device and set torch's threads.

        Raises:
            ConfigurationError: If weights are missing or do not fit, or CUDA is not there.
        """
        import torch
        from safetensors import SafetensorError

        self.check()
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigurationError("embed.device=cuda, but torch sees no CUDA device: set cpu")
        torch.set_num_threads(threads)
        try:
            model, self._preprocess = self._create(device)
        except (*_LOAD_ERRORS, SafetensorError) as error:
            weights = f" with {self._checkpoint}" if self._checkpoint else ""
            raise ConfigurationError(f"{self.name}{weights} cannot be loaded: {error}") from error
        self._model = model.eval()
        self._device = device
        self._dim = self._measure_dim()

    def _create(self, device: str) -> tuple[Any, Callable[[Image.Image], Any]]:
        import open_clip

        name, tag = self._source
        of_tag = open_clip.get_pretrained_cfg(name, tag) if tag and self._checkpoint else {}
        model, _, preprocess = open_clip.create_model_and_transforms(
            name,
            pretrained=self._checkpoint or tag,
            device=device,
            image_mean=of_tag.get("mean"),
            image_std=of_tag.get("std"),
            image_interpolation=of_tag.get("interpolation"),
            image_resize_mode=of_tag.get("resize_mode"),
            # Without it open_clip gives a model with random weights, and only a warning.
            require_pretrained=True,
        )
        return model, preprocess

    def _measure_dim(self) -> int:
        blank = self.prepare(Image.new("RGB", (64, 64), (128, 128, 128)))
        return int(self.encode([blank]).shape[1])

    def prepare(self, image: Image.Image) -> NDArray[np.float32]:
        """Resize, crop and normalise as the model wants it: (3, height, width)."""
        if self._preprocess is None:
            raise RuntimeError("load() comes before prepare()")
        tensor: NDArray[np.float32] = self._preprocess(image).numpy()
        return tensor

    def encode(self, prepared: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        """Vectors of one batch: (n, dim), float32, rows of unit length.

        A row is NaN where the tower gives zeros or overflows.
        """
        import torch

        images = torch.from_numpy(np.stack(prepared)).to(self._device)
        half = self._autocast_dtype()
        with (
            torch.inference_mode(),
            torch.autocast(self._device, dtype=half, enabled=half is not None),
        ):
            features = self._model.encode_image(images).float()
        vectors: NDArray[np.float32] = (features / features.norm(dim=1, keepdim=True)).cpu().numpy()
        return vectors

    def _autocast_dtype(self) -> Any:  # noqa: ANN401 - torch is imported late
        import torch

        if self._precision == "auto":
            if self._device == "cpu":
                return None
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[self._precision]


def _parse(model: str) -> _Source:
    if model.startswith(_SCHEMES):
        return _Source(model, None)
    name, _, tag = model.partition("/")
    return _Source(name, tag or None)


def _check_name(source: _Source, *, has_checkpoint: bool) -> None:
    import open_clip

    name, tag = source
    names = open_clip.list_models()
    if name not in names:
        raise ConfigurationError(
            f"open_clip has no model {name!r}{_nearest(name, names)}; an architecture of your own "
            "needs embed.model_config_file"
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag is not None and tag not in tags:
        raise ConfigurationError(
            f"open_clip has no weights {tag!r} for {name}{_nearest(tag, tags)}; it has: "
            f"{', '.join(tags) or 'none, so set embed.checkpoint'}"
        )
    if tag is None and not has_checkpoint:
        example = f"open_clip/{name}/{tags[0]}" if tags else "a file with its weights"
        raise ConfigurationError(
            f"embed.model=open_clip/{name} names no weights: set embed.checkpoint to a file"
            + (f", or a tag as in {example}" if tags else "")
        )


def _nearest(wrong: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
