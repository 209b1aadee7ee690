"""Tiny vision-language models of the real classes, made on the spot and saved to disk."""

from pathlib import Path
from typing import Any

import numpy as np

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
SPECIAL += ["<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]

TEMPLATE = """{% for m in messages %}<|im_start|>{{ m['role'] }}
{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}\
{% if c['type'] in ('image', 'image_url') %}<|vision_start|><|image_pad|><|vision_end|>\
{% elif 'text' in c %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def make(kind: str, folder: Path, texts: list[str]) -> tuple[Any, Any]:
    """A random Qwen2.5-VL (``qwen25``) or Qwen3-VL (``qwen3``), its tokenizer made of texts."""
    import torch
    import transformers as tf

    tokenizer = _tokenizer(texts)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    old = kind == "qwen25"
    text: dict[str, Any] = {
        "vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16, "max_position_embeddings": 4096, "bos_token_id": None,
        "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"],
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3],
            **({} if old else {"mrope_interleaved": True}),
        },
        **({"layer_types": ["full_attention"] * 2} if old else {}),
    }  # fmt: skip
    vision: dict[str, Any] = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2,
        "out_hidden_size": 64, "patch_size": 14 if old else 16, "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        **({"window_size": 112, "fullatt_block_indexes": [1]} if old else
           {"num_position_embeddings": 256, "deepstack_visual_indexes": [0, 1]}),
    }  # fmt: skip
    config = (tf.Qwen2_5_VLConfig if old else tf.Qwen3VLConfig)(
        text_config=text, vision_config=vision, tie_word_embeddings=True,
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    torch.manual_seed(0)
    of_class = tf.Qwen2_5_VLForConditionalGeneration if old else tf.Qwen3VLForConditionalGeneration
    model = of_class(config).eval()
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    images = tf.Qwen2VLImageProcessor(
        patch_size=vision["patch_size"], merge_size=2, min_pixels=56 * 56, max_pixels=112 * 112
    )
    videos = (tf.Qwen2VLVideoProcessor if old else tf.Qwen3VLVideoProcessor)(
        patch_size=vision["patch_size"]
    )
    of_kind = tf.Qwen2_5_VLProcessor if old else tf.Qwen3VLProcessor
    processor = of_kind(
        image_processor=images, tokenizer=tokenizer, video_processor=videos, chat_template=TEMPLATE
    )
    save(folder, model, processor)
    return model, processor


def save(folder: Path, model: Any, processor: Any) -> None:
    """Write a model as it would be downloaded."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _tokenizer(texts: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    # Without a pattern whole lines become tokens, which keeps prompts and answers short.
    made.train_from_iterator(
        [line for text in texts for line in text.split("\n")],
        trainers.BpeTrainer(
            vocab_size=4000, special_tokens=SPECIAL, initial_alphabet=alphabet,
            show_progress=False, min_frequency=1, max_token_length=48,
        ),
    )  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL[1:], chat_template=TEMPLATE,
    )  # fmt: skip
    names = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    names |= {"vision_start_token": "<|vision_start|>", "vision_end_token": "<|vision_end|>"}
    for name, token in names.items():
        setattr(tokenizer, name, token)
        setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
    return tokenizer


def memorise(
    model: Any, processor: Any, pairs: list[tuple[np.ndarray, str, str]], steps: int
) -> float:
    """Teach a model answers by heart; returns the last loss.

    Args:
        model: Trained in place.
        processor: Its processor.
        pairs: Image, filled-in chat template, and the answer.
        steps: Most gradient steps.
    """
    import torch
    from PIL import Image

    processor.tokenizer.padding_side = "right"
    batch = processor(
        images=[Image.fromarray(image) for image, _, _ in pairs],
        text=[text + answer + "<|im_end|>" for _, text, answer in pairs],
        return_tensors="pt", padding=True,
    )  # fmt: skip
    labels = batch["input_ids"].clone()
    start = processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    for row in range(len(pairs)):
        labels[row, : (labels[row] == start).nonzero()[-1].item() + 2] = -100
    labels[batch["attention_mask"] == 0] = -100
    optimiser = torch.optim.AdamW(model.train().parameters(), 3e-3, weight_decay=0.0)
    for _ in range(steps):
        loss = model(**batch, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if loss.item() < 0.003:
            break
    model.eval()
    return float(loss.item())
