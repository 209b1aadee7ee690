"""Embedders: images in, unit vectors out."""

from __future__ import annotations

from stages.contract import ConfigurationError
from stages.embedders.base import Embedder

__all__ = ["Embedder", "create_embedder"]

_OPEN_CLIP = "open_clip/"


def create_embedder(
    model: str,
    *,
    checkpoint: str | None = None,
    model_config_file: str | None = None,
    precision: str = "auto",
) -> Embedder:
    """The embedder a configuration names; nothing is loaded yet.

    Args:
        model: ``builtin``, ``open_clip/NAME/TAG`` (weights published under a tag),
            ``open_clip/NAME`` with ``checkpoint``, ``open_clip/hf-hub:OWNER/NAME`` or
            ``open_clip/local-dir:PATH``.
        checkpoint: File with the weights of an open_clip model.
        model_config_file: JSON file that describes an open_clip architecture of one's own.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.

    Raises:
        ConfigurationError: If no embedder goes by that name, or it takes no checkpoint.
    """
    if model == "builtin":
        if checkpoint or model_config_file:
            raise ConfigurationError(
                "embed.model=builtin has no weights: remove embed.checkpoint and "
                "embed.model_config_file, or set embed.model=open_clip/NAME"
            )
        from stages.embedders.builtin import BuiltinEmbedder

        return BuiltinEmbedder()
    if model.startswith(_OPEN_CLIP):
        from stages.embedders.open_clip import OpenClipEmbedder

        name = model.removeprefix(_OPEN_CLIP)
        return OpenClipEmbedder(name, checkpoint, model_config_file, precision)
    raise ConfigurationError(
        f"embed.model={model!r} is unknown: use builtin, open_clip/NAME/TAG, or "
        "open_clip/NAME with embed.checkpoint"
    )
