"""Chinese CLIP, in the form transformers saves it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from stages.contract import ConfigurationError
from stages.embedders.towers import TowerEmbedder, Towers

_LOAD_ERRORS = (RuntimeError, OSError, ValueError, KeyError, TypeError)
#: Tokens of a text that the published models were trained with.
_CONTEXT = 52


class ChineseClipEmbedder(TowerEmbedder):
    """transformers' ``ChineseCLIPModel``.

    Args:
        model: A folder that ``save_pretrained`` wrote for model, tokenizer and image processor,
            or ``OWNER/NAME`` on the hub.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``; see ``TowerEmbedder``.
        compiled: Whether torch compiles the image tower.
    """

    def __init__(self, model: str, precision: str = "auto", *, compiled: bool = False) -> None:
        super().__init__(f"chinese_clip/{model}", precision, compiled=compiled)
        self._model = model

    def check(self) -> None:
        """Find out whether the folder holds such a model; a download is not tried.

        Raises:
            ConfigurationError: If it does not, or transformers is not installed.
        """
        from importlib.util import find_spec

        if find_spec("transformers") is None:
            raise ConfigurationError(f"{self.name} needs transformers: install winnow[vlm]")
        folder = Path(self._model)
        if not folder.is_dir():
            if self._model.count("/") != 1 or self._model.startswith((".", "~", "/")):
                raise ConfigurationError(
                    f"{self._model} is no folder and no OWNER/NAME: correct the path"
                )
            return
        try:
            kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{folder} holds no config.json of a model: {error}"
            ) from error
        if kind != "chinese_clip":
            raise ConfigurationError(f"{folder} holds a model of type {kind!r}, not chinese_clip")

    def _load_towers(self, device: str) -> Towers:
        try:
            model, processor = _load(self._model)
        except _LOAD_ERRORS as error:
            raise ConfigurationError(f"{self.name} cannot be loaded: {error}") from error
        model = model.eval().to(device)

        def encode_image(pixels: Any) -> Any:  # noqa: ANN401 - torch is imported late
            pooled = model.vision_model(pixel_values=pixels).pooler_output
            return model.visual_projection(pooled)

        return Towers(
            image=encode_image,
            text=_TextTower(self.name, self._model, model, device),
            shrink=_shrinking(processor),
            mean=tuple(processor.image_mean),
            std=tuple(processor.image_std),
        )


def _load(name: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoImageProcessor, ChineseCLIPModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    loaded: Any = ChineseCLIPModel.from_pretrained(
        name, output_loading_info=True, dtype=torch.float32
    )
    model, info = loaded
    # transformers fills what is missing with random numbers, and only warns.
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ValueError(f"its weights lack {len(missing)} tensors, such as {missing[0]}")
    return model, AutoImageProcessor.from_pretrained(name)


def _shrinking(processor: Any) -> Callable[[Image.Image], Image.Image]:  # noqa: ANN401
    """What a CLIP image processor does to the size of an image, by Pillow as when trained."""
    size, crop = dict(processor.size), dict(processor.crop_size or {})
    resample = Image.Resampling(processor.resample)

    def shrink(image: Image.Image) -> Image.Image:
        if "shortest_edge" in size:
            scale = size["shortest_edge"] / min(image.size)
            target = tuple(max(1, int(side * scale + 1e-6)) for side in image.size)
        else:
            target = (size["width"], size["height"])
        image = image.resize((target[0], target[1]), resample)
        if not processor.do_center_crop:
            return image
        left = (image.width - crop["width"]) // 2
        top = (image.height - crop["height"]) // 2
        return image.crop((left, top, left + crop["width"], top + crop["height"]))

    return shrink


class _TextTower:
    """Texts to features; the tokenizer is loaded when the first text comes."""

    def __init__(self, shown: str, name: str, model: Any, device: str) -> None:  # noqa: ANN401
        self._shown = shown
        self._name = name
        self._model = model
        self._device = device
        self._tokenizer: Any = None

    def __call__(self, texts: list[str]) -> Any:  # noqa: ANN401 - torch is imported late
        if self._tokenizer is None:
            self._tokenizer = self._load()
        context = min(_CONTEXT, self._model.config.text_config.max_position_embeddings)
        tokens = self._tokenizer(
            texts, padding=True, truncation=True, max_length=context, return_tensors="pt"
        ).to(self._device)
        hidden = self._model.text_model(**tokens).last_hidden_state
        return self._model.text_projection(hidden[:, 0])

    def _load(self) -> Any:  # noqa: ANN401 - a tokenizer of transformers
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(self._name)
        except (*_LOAD_ERRORS, ImportError) as error:
            raise ConfigurationError(
                f"{self._shown}: its tokenizer cannot be loaded: {error}. Put the tokenizer's "
                "files beside the weights"
            ) from error
