"""A checkpoint folder in the official layout, made of tiny random parts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.generator.twins import TINY, diffusers_model, randomise

CONFIG = dataclasses.replace(TINY, n_layers=2, n_refiner_layers=1, axes_lens=(1024, 64, 64))

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<think>", "</think>"),
)
LINES = [
    "a red circle on a blue ground",
    "two green squares",
    "蓝色背景上的红色圆形",
    "两个绿色方块",
]


def make_tokenizer() -> Any:
    import json

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        LINES,
        trainers.BpeTrainer(
            vocab_size=360, initial_alphabet=alphabet, special_tokens=list(SPECIAL)
        ),
    )
    model = json.loads(raw.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=merges,
        unk_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=[each for each in SPECIAL if "endo" not in each],
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_text_encoder() -> Any:
    from transformers import Qwen3Config, Qwen3Model

    torch.manual_seed(1)
    config = Qwen3Config(
        vocab_size=512,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=12,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    return Qwen3Model(config).eval()


def make_autoencoder() -> Any:
    from diffusers import AutoencoderKL

    torch.manual_seed(2)
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[8, 16, 16, 16],
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=8,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()


def make_official(folder: Path) -> Any:
    """Write the folder; gives diffusers' pipeline over it."""
    diffusers = pytest.importorskip("diffusers", reason="parity is with diffusers: extra generator")
    pytest.importorskip("transformers", reason="the text encoder needs it: extra generator")
    transformer = diffusers_model(CONFIG)
    randomise(transformer, seed=4)
    diffusers.ZImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(
            num_train_timesteps=1000, shift=3.0, use_dynamic_shifting=False
        ),
        vae=make_autoencoder(),
        text_encoder=make_text_encoder(),
        tokenizer=make_tokenizer(),
        transformer=transformer,
    ).save_pretrained(folder)
    pipeline = diffusers.ZImagePipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
