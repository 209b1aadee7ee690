"""Model, codec and text encoder together: from a prompt to a picture."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generator.checkpoints import CheckpointError
from generator.codecs import BlockDct, FluxAutoencoder, ImageCodec
from generator.s3dit import S3DiT
from generator.sampler import BASE, TURBO, SamplerOptions, draw_noise, sample
from generator.text import HashedWords, QwenText, TextEncoder

_OFFICIAL = "model_index.json"
_EMBEDDED = "winnow.json"
_PIPELINES = {"ZImagePipeline"}


@dataclass
class TextToImage:
    """All that is needed to draw.

    Args:
        model: The transformer.
        codec: Its latents' codec.
        text: Its captions' encoder.
        options: How to sample where a call does not say.
        size: Height and width in pixels where a call does not say.
    """

    model: S3DiT
    codec: ImageCodec
    text: TextEncoder
    options: SamplerOptions = TURBO
    size: tuple[int, int] = (1024, 1024)

    def __post_init__(self) -> None:
        config = self.model.config
        if self.codec.channels != config.in_channels:
            raise ValueError(
                f"the codec gives {self.codec.channels} channels, the model takes "
                f"{config.in_channels}"
            )
        if self.text.width != config.cap_feat_dim:
            raise ValueError(
                f"the text encoder gives a width of {self.text.width}, the model takes "
                f"{config.cap_feat_dim}"
            )

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
    ) -> TextToImage:
        """Load a folder in the official layout, or one that :meth:`save_pretrained` wrote.

        Args:
            folder: With ``model_index.json``, ``scheduler``, ``text_encoder``, ``tokenizer``,
                ``transformer`` and ``vae``; or with ``winnow.json`` and ``transformer``.
            device: Where the weights go.
            dtype: Of transformer and text encoder; ``None``: as the transformer is stored. The
                autoencoder works in float32.

        Raises:
            CheckpointError: If a part is missing or broken.
            ImportError: If the official layout asks for diffusers or transformers, and they are
                not installed.
        """
        folder = Path(folder)
        if (folder / _EMBEDDED).exists():
            return cls._load_embedded(folder, device, dtype)
        index = _json(folder / _OFFICIAL)
        if index.get("_class_name") not in _PIPELINES:
            raise CheckpointError(
                f"{folder / _OFFICIAL} is of {index.get('_class_name')}, not of ZImagePipeline"
            )
        _need(folder, "scheduler", "text_encoder", "tokenizer", "transformer", "vae")
        options = _scheduled(folder / "scheduler" / "scheduler_config.json")
        model = S3DiT.from_pretrained(folder / "transformer", device=device, dtype=dtype)
        text = QwenText.from_pretrained(
            folder / "text_encoder", folder / "tokenizer", device=device, dtype=model.dtype
        )
        codec = FluxAutoencoder.from_pretrained(folder / "vae", device=device)
        return cls(model, codec, text, options)

    @classmethod
    def _load_embedded(
        cls, folder: Path, device: str | torch.device, dtype: torch.dtype | None
    ) -> TextToImage:
        values = _json(folder / _EMBEDDED)
        try:
            codec = BlockDct(**values["codec"]["block-dct"])
            text = HashedWords(**values["text"]["hashed-words"])
            options = SamplerOptions(**values["sampler"])
            height, width = values["size"]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder / _EMBEDDED}: {error!r}") from None
        model = S3DiT.from_pretrained(folder / "transformer", device=device, dtype=dtype)
        return cls(model, codec, text, options, (height, width))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that :meth:`from_pretrained` reads; its transformer loads in diffusers.

        Raises:
            TypeError: If codec or text encoder are not the embedded ones: theirs are large
                folders that are there already.
        """
        if not isinstance(self.codec, BlockDct) or not isinstance(self.text, HashedWords):
            raise TypeError("only a generator with BlockDct and HashedWords is saved whole")
        folder = Path(folder)
        self.model.save_pretrained(folder / "transformer")
        values = {
            "codec": {"block-dct": {"block": self.codec.block, "channels": self.codec.channels}},
            "text": {
                "hashed-words": {
                    "width": self.text.width,
                    "most": self.text.most,
                    "context": self.text.context,
                }
            },
            "sampler": dataclasses.asdict(self.options),
            "size": list(self.size),
        }
        (folder / _EMBEDDED).write_text(json.dumps(values, indent=2) + "\n", "utf-8")

    def generate(
        self,
        prompts: Sequence[str],
        *,
        size: tuple[int, int] | None = None,
        seeds: Sequence[int] | None = None,
        negatives: Sequence[str] | None = None,
        options: SamplerOptions | None = None,
    ) -> list[Tensor]:
        """Draw one picture for each prompt.

        Args:
            prompts: Texts.
            size: Height and width in pixels, multiples of what :meth:`step` says; ``None``: the
                generator's own.
            seeds: One for each prompt: a picture depends on its own alone; ``None``: 0, 1, ...
            negatives: What guidance leads away from; ``None``: the empty text.
            options: How; ``None``: the generator's own.

        Returns:
            Float32 (3, height, width), about [-1, 1], on the model's device: see
            :func:`generator.codecs.to_array`.

        Raises:
            ValueError: If the size does not divide, or lists differ in length.
        """
        if not prompts:
            return []
        options = options or self.options
        shapes = [self._shape(size or self.size)] * len(prompts)
        noise = draw_noise(self._seeds(prompts, seeds), shapes)
        captions = self.text.encode(prompts)
        without = None
        if options.guidance:
            without = self.text.encode(negatives or [""] * len(prompts))
        return self.codec.decode(sample(self.model, noise, captions, options, without))

    @property
    def step(self) -> int:
        """Heights and widths are multiples of this."""
        return self.codec.factor * self.model.config.patches[0][0]

    def _shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        if min(size) < 1 or size[0] % self.step or size[1] % self.step:
            raise ValueError(f"height and width must be multiples of {self.step}, got {size}")
        factor = self.codec.factor
        frames = self.model.config.patches[0][1]
        return (self.codec.channels, frames, size[0] // factor, size[1] // factor)

    @staticmethod
    def _seeds(prompts: Sequence[str], seeds: Sequence[int] | None) -> Sequence[int]:
        if seeds is not None and len(seeds) != len(prompts):
            raise ValueError(
                f"seeds must be one for each prompt ({len(prompts)}), got {len(seeds)}"
            )
        return range(len(prompts)) if seeds is None else seeds


def _scheduled(path: Path) -> SamplerOptions:
    """The preset that goes with a scheduler's shift: the published ones are 3 and 6."""
    values = _json(path)
    if values.get("use_dynamic_shifting"):
        raise CheckpointError(f"{path} asks for dynamic shifting, which no published model does")
    shift = float(values.get("shift", 1.0))
    return dataclasses.replace(BASE if shift >= BASE.shift else TURBO, shift=shift)


def _need(folder: Path, *parts: str) -> None:
    lost = [part for part in parts if not (folder / part).is_dir()]
    if lost:
        raise CheckpointError(f"{folder} lacks {', '.join(lost)}")


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a JSON object")
    return values
