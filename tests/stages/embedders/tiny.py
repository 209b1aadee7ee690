"""Tiny models with random weights, made where a test wants them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

TEXTS = ["a red circle", "two green squares", "一只猫", "a"]
_WORDS = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "</s>", "<s>", "<pad>", "<unk>", "<mask>"]


def pictures(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(int(w), int(h)) for w, h in rng.integers(20, 200, (count, 2))]
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3)).astype(np.uint8)) for w, h in sizes]


def save(module: torch.nn.Module, target: Path) -> None:
    tensors = {name: value.contiguous().clone() for name, value in module.state_dict().items()}
    save_file(tensors, target)


def words() -> list[str]:
    letters = sorted({letter for text in TEXTS for letter in text if letter != " "})
    return [*_WORDS, *letters, *(f"##{letter}" for letter in letters if letter.isascii())]


def save_tokenizer(folder: Path) -> None:
    """A word-piece tokenizer of single letters, as transformers saves it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(words())}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]"
    ).save_pretrained(folder)


def save_siglip(folder: Path) -> torch.nn.Module:
    """A local-dir of a SigLIP architecture: a timm tower, squashed images, its own tokenizer."""
    vision = {
        "image_size": 224,
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
    }
    text = {
        "context_length": 12,
        "vocab_size": len(words()),
        "width": 192,
        "heads": 2,
        "layers": 1,
        "hf_tokenizer_name": "in this folder",
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "tokenizer_kwargs": {"clean": "canonicalize"},
    }
    model = {
        "embed_dim": 192,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": vision,
        "text_cfg": text,
    }
    half = [0.5, 0.5, 0.5]
    shown = {"mean": half, "std": half, "interpolation": "bicubic", "resize_mode": "squash"}
    return _save_local_dir(folder, model, shown)


def save_multilingual(folder: Path) -> torch.nn.Module:
    """A local-dir with an XLM-R text tower, whose configuration lies beside it."""
    from transformers import XLMRobertaConfig

    XLMRobertaConfig(
        vocab_size=len(words()),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        pad_token_id=1,
    ).save_pretrained(folder / "text")
    vision = {"image_size": 64, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
    text = {
        "hf_model_name": str(folder / "text"),
        "hf_tokenizer_name": "in this folder",
        "hf_pooler_type": "mean_pooler",
        "hf_model_pretrained": False,
        "context_length": 12,
    }
    return _save_local_dir(folder, {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}, {})


def _save_local_dir(folder: Path, model: dict, preprocess: dict) -> torch.nn.Module:
    folder.mkdir(exist_ok=True)
    save_tokenizer(folder)
    config = {"model_cfg": model, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    made = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False).eval()
    save(made, folder / "open_clip_model.safetensors")
    return made


def save_chinese_clip(folder: Path) -> torch.nn.Module:
    """A ChineseCLIPModel with tokenizer and image processor, as ``save_pretrained`` writes it."""
    from transformers import BertTokenizerFast, ChineseCLIPConfig, ChineseCLIPModel
    from transformers import ChineseCLIPImageProcessor as Processor

    small = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    model = ChineseCLIPModel(
        ChineseCLIPConfig(
            text_config={**small, "hidden_size": 32, "vocab_size": len(words())},
            vision_config={**small, "hidden_size": 32, "image_size": 64, "patch_size": 16},
            projection_dim=24,
        )
    ).eval()
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words()), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    size = {"height": 64, "width": 64}
    Processor(size=size, crop_size=size, do_center_crop=False).save_pretrained(folder)
    return model
