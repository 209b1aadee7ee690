"""Between captions and features: Qwen3 as Z-Image uses it, and hashing that needs no weights."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from generator.checkpoints import refuse_partial, whole_or_error

#: Words of letters and digits; anything written without spaces, sign by sign; other signs.
_TOKENS = re.compile(
    r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
    r"|[^\W_\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+|[^\w\s]|_"
)
#: Stands before every text, so that the empty one has a feature too.
_START = "\x02"
_SIZES = (2, 3, 4)


class TextEncoder(Protocol):
    """What a text encoder does."""

    @property
    def width(self) -> int:
        """Width of a feature."""

    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """Features, float (L, width) for each text, L at least 1, the empty text's too."""


class HashedWords:
    """A frozen stand-in for a language model: every word's bytes, hashed to random signs.

    A word's feature is the mean of random sign vectors, one for the word and one for each of
    its byte 2- to 4-grams, the word having half the weight, scaled to unit variance. Words
    spelt alike are alike; nothing is known of meaning, and English and Chinese share nothing.
    Signs come from SHAKE-128, so they are the same everywhere.

    A language model's features tell what came before a word. With ``context`` the second half
    of a feature is such a trace: the sum of the features of all words before, each weighing
    ``context`` times as much as the one after it, scaled to unit variance.

    Args:
        width: Of a feature, a multiple of 8; of 16 with context.
        most: Tokens of a text that are kept, at least 2.
        context: How much of the trace is left a word later, in [0, 1); 0: there is none.

    Raises:
        ValueError: If one is out of range.
    """

    def __init__(self, width: int = 64, most: int = 256, context: float = 0.0) -> None:
        if not 0 <= context < 1:
            raise ValueError(f"context must be in [0, 1), got {context}")
        step = 16 if context else 8
        if width < step or width % step:
            raise ValueError(f"width must be a positive multiple of {step}, got {width}")
        if most < 2:
            raise ValueError(f"most must be at least 2, got {most}")
        self._width = width
        self.most = most
        self.context = context

    @property
    def width(self) -> int:
        """See :class:`TextEncoder`."""
        return self._width

    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """See :class:`TextEncoder`; float32 on the CPU."""
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> Tensor:
        words = [_START, *split_words(text)][: self.most]
        if not self.context:
            return torch.from_numpy(np.stack([_word(word, self._width) for word in words]))
        own = np.stack([_word(word, self._width // 2) for word in words])
        traces = np.zeros_like(own)
        for place in range(1, len(words)):
            traces[place] = self.context * traces[place - 1] + own[place - 1]
        traces *= np.float32((1 - self.context**2) ** 0.5)
        return torch.from_numpy(np.concatenate([own, traces], axis=1))


def split_words(text: str) -> list[str]:
    """Lower-case words, single Chinese signs and single marks; spaces are left out."""
    return _TOKENS.findall(text.lower())


@lru_cache(maxsize=65536)
def _word(word: str, width: int) -> NDArray[np.float32]:
    data = f"<{word}>".encode()
    grams = sorted(
        {data[at : at + size] for size in _SIZES for at in range(len(data) - size + 1)} - {data}
    )
    own = _signs(b"word" + data, width)
    if not grams:
        return own
    shared = sum(_signs(gram, width) for gram in grams) / np.float32(len(grams) ** 0.5)
    return ((own + shared) / np.float32(2**0.5)).astype(np.float32)


def _signs(data: bytes, width: int) -> NDArray[np.float32]:
    bits = np.frombuffer(hashlib.shake_128(data).digest(width // 8), dtype=np.uint8)
    return np.unpackbits(bits).astype(np.float32) * 2 - 1


class QwenText:
    """Qwen3 as Z-Image uses it: one user turn, and the features before the last layer.

    Args:
        model: A ``transformers.Qwen3Model`` (or another with ``layers`` and ``norm``), in
            evaluation mode. Its last layer and last norm are taken off: nothing reads them.
        tokenizer: Its tokenizer, with a chat template.
        most: Tokens of a prompt that are kept, template included.
    """

    def __init__(self, model: Any, tokenizer: Any, most: int = 512) -> None:  # noqa: ANN401
        if len(model.layers) < 2:
            raise ValueError(f"the text encoder needs 2 layers at least, got {len(model.layers)}")
        model.layers = model.layers[:-1]
        model.config.num_hidden_layers = len(model.layers)
        model.norm = nn.Identity()
        self.model = model
        self.tokenizer = tokenizer
        self.most = most

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        tokenizer: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        most: int = 512,
    ) -> QwenText:
        """Load from folders as transformers writes them; nothing is fetched, no pickle is read.

        Args:
            folder: Of the model.
            tokenizer: Of the tokenizer.
            device: Where the weights go.
            dtype: Of the weights.
            most: See the class.

        Raises:
            ImportError: If transformers is not installed.
            CheckpointError: If a folder lacks a file or a weight.
        """
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError as error:
            raise ImportError(
                "the Qwen3 text encoder needs transformers: pip install 'winnow[generator]'"
            ) from error
        with whole_or_error(folder):
            model, notes = AutoModel.from_pretrained(
                str(folder),
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        # A head for the next word may be there and is not wanted.
        refuse_partial(folder, notes)
        with whole_or_error(tokenizer):
            words = AutoTokenizer.from_pretrained(str(tokenizer), local_files_only=True)
        return cls(model.to(device).eval(), words, most)

    @property
    def width(self) -> int:
        """See :class:`TextEncoder`."""
        return int(self.model.config.hidden_size)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """See :class:`TextEncoder`; in the model's type, on its device."""
        if not texts:
            return []
        turns = [
            self.tokenizer.apply_chat_template(
                [{"role": "user", "content": text}],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=True,
            )
            for text in texts
        ]
        # Attention is causal: padding on the right changes nothing before it.
        tokens = self.tokenizer(
            turns,
            padding="longest",
            padding_side="right",
            max_length=self.most,
            truncation=True,
            return_tensors="pt",
        ).to(self.model.device)
        mask = tokens.attention_mask
        features = self.model(input_ids=tokens.input_ids, attention_mask=mask).last_hidden_state
        return [row[keep] for row, keep in zip(features, mask.bool(), strict=True)]
