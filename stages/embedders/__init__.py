"""Embedders: images, and where there is a text tower texts, in; unit vectors out."""

from __future__ import annotations

from stages.contract import ConfigurationError
from stages.embedders.base import Embedder

__all__ = ["Embedder", "create_embedder"]

_OPEN_CLIP = "open_clip/"
_CHINESE_CLIP = "chinese_clip/"


def create_embedder(
    model: str,
    *,
    checkpoint: str | None = None,
    model_config_file: str | None = None,
    precision: str = "auto",
    compiled: bool = False,
) -> Embedder:
    """The embedder a configuration names; nothing is loaded yet.

    Args:
        model: ``builtin``, ``open_clip/NAME/TAG`` (weights published under a tag),
            ``open_clip/NAME`` with ``checkpoint``, ``open_clip/hf-hub:OWNER/NAME``,
            ``open_clip/local-dir:PATH``, ``chinese_clip/PATH`` or ``chinese_clip/OWNER/NAME``.
        checkpoint: File with the weights of an open_clip model.
        model_config_file: JSON file that describes an open_clip architecture of one's own.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.
        compiled: Whether torch compiles the image tower.

    Raises:
        ConfigurationError: If no embedder goes by that name, or it takes no checkpoint.
    """
    if model == "builtin":
        if checkpoint or model_config_file or compiled:
            raise ConfigurationError(
                "model=builtin brings its own weights: remove checkpoint, model_config_file and "
                "compile, or set model to open_clip/NAME"
            )
        from stages.embedders.builtin import BuiltinEmbedder

        return BuiltinEmbedder()
    if model.startswith(_OPEN_CLIP):
        from stages.embedders.open_clip import OpenClipEmbedder

        name = model.removeprefix(_OPEN_CLIP)
        return OpenClipEmbedder(name, checkpoint, model_config_file, precision, compiled=compiled)
    if model.startswith(_CHINESE_CLIP):
        if checkpoint or model_config_file:
            raise ConfigurationError(
                f"model={model} names its own weights and architecture: remove checkpoint and "
                "model_config_file"
            )
        from stages.embedders.chinese_clip import ChineseClipEmbedder

        name = model.removeprefix(_CHINESE_CLIP)
        return ChineseClipEmbedder(name, precision, compiled=compiled)
    raise ConfigurationError(
        f"model={model!r} is unknown: use builtin, open_clip/NAME/TAG, open_clip/NAME with "
        "checkpoint, or chinese_clip/PATH"
    )
