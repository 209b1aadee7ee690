"""A tiny open_clip model of random weights, as settings of an embedder."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

NAME = "winnow-tiny-score"
VISION = {"image_size": 112, "layers": 2, "width": 128, "head_width": 32, "patch_size": 16}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}


def tiny_model(folder: Path, seed: int = 0) -> tuple[dict[str, str], torch.nn.Module]:
    """Settings that name the model, and the model itself; files go into ``folder``."""
    config = folder / f"{NAME}.json"
    config.write_text(json.dumps({"embed_dim": 128, "vision_cfg": VISION, "text_cfg": TEXT}))
    open_clip.add_model_config(config)
    torch.manual_seed(seed)
    model = open_clip.create_model(NAME).eval()
    checkpoint = folder / f"weights-{seed}.safetensors"
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, checkpoint)
    settings = {
        "model": f"open_clip/{NAME}",
        "checkpoint": str(checkpoint),
        "model_config_file": str(config),
    }
    return settings, model
