"""What image and text towers in torch share: precision, compiling, unit vectors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.contract import ConfigurationError
from stages.embedders.base import Embedder

#: Texts that go through the text tower at once.
_TEXTS = 256


@dataclass(frozen=True)
class Towers:
    """A loaded model, in the terms of torch.

    Args:
        image: Normalised pixels (n, 3, height, width), float32, to features (n, dim).
        text: Texts to features (n, dim); loads its tokenizer at the first call.
        shrink: An RGB image to the 8-bit RGB image of the model's size.
        mean: Of each channel, for pixels in 0..1.
        std: Of each channel.
    """

    image: Callable[[Any], Any]
    text: Callable[[list[str]], Any]
    shrink: Callable[[Image.Image], Image.Image]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class TowerEmbedder(Embedder):
    """A model with an image tower and a text tower, on torch.

    Args:
        name: What users configure.
        precision: ``fp32``; ``bf16`` or ``fp16`` under autocast; ``auto`` is fp32 on the CPU
            and bf16 on CUDA (fp16 where the device has no bf16).
        compiled: Whether torch compiles the image tower, at the start of each worker; it differs
            from the plain one by rounding.
    """

    reentrant: ClassVar[bool] = True
    has_text: ClassVar[bool] = True

    def __init__(self, name: str, precision: str = "auto", *, compiled: bool = False) -> None:
        self.name = name
        self._precision = precision
        self._compiled = compiled
        self._towers: Towers | None = None
        self._scale: tuple[Any, Any] = (0.0, 1.0)
        self._device = "cpu"
        self._dim = 0

    @property
    def dim(self) -> int:
        """Width of the towers' output; 0 before ``load``."""
        return self._dim

    @abstractmethod
    def _load_towers(self, device: str) -> Towers:
        """Load the model onto the device, in fp32 and in evaluation mode.

        Raises:
            ConfigurationError: If weights are missing or do not fit.
        """

    def load(self, device: str, threads: int) -> None:
        """Load the towers onto the device and set torch's threads.

        Raises:
            ConfigurationError: If weights are missing or do not fit, if there is no CUDA, or
                if the tower cannot be compiled.
        """
        import torch

        self.check()
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigurationError("device=cuda, but torch sees no CUDA device: set cpu")
        torch.set_num_threads(threads)
        self._device = device
        towers = self._towers = self._load_towers(device)
        self._scale = (
            torch.tensor(towers.mean, device=device).view(-1, 1, 1),
            torch.tensor(towers.std, device=device).view(-1, 1, 1),
        )
        if self._compiled:
            self._towers = _compiled(towers)
        self._dim = self._measure_dim()

    def _measure_dim(self) -> int:
        blank = self.prepare(Image.new("RGB", (64, 64), (128, 128, 128)))
        try:
            # Two of them: torch.compile takes a batch of one for a case of its own.
            return int(self.encode([blank, blank]).shape[1])
        except Exception as error:
            if not self._compiled:
                raise
            # The compiler raises what its parts raise: a missing C++ compiler, an odd layer.
            raise ConfigurationError(
                f"compile=true: torch.compile fails on {self.name} ({type(error).__name__}: "
                f"{str(error)[:300]}): set compile to false"
            ) from error

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop as the model wants it: (height, width, 3), 8 bits."""
        return np.asarray(self._loaded().shrink(image))

    def encode(self, prepared: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        """Vectors of one batch: (n, dim), float32, rows of unit length.

        Pixels go to the device as bytes and are normalised there. A row is NaN where the tower
        gives zeros or overflows.
        """
        import torch

        towers, (mean, std) = self._loaded(), self._scale
        pixels = torch.from_numpy(np.stack(prepared)).to(self._device)
        with torch.inference_mode(), self._autocast():
            images = pixels.permute(0, 3, 1, 2).to(
                torch.float32, memory_format=torch.contiguous_format
            )
            # In this order and in place: what torchvision does, bit for bit.
            images = images.div_(255).sub_(mean).div_(std)
            if self._compiled:
                torch._dynamo.mark_dynamic(images, 0)
            return _unit(towers.image(images))

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts: (n, dim), float32, rows of unit length.

        Raises:
            ConfigurationError: If the tokenizer is not there.
        """
        import torch

        towers = self._loaded()
        vectors = [np.zeros((0, self._dim), dtype=np.float32)]
        for first in range(0, len(texts), _TEXTS):
            with torch.inference_mode(), self._autocast():
                vectors.append(_unit(towers.text(list(texts[first : first + _TEXTS]))))
        return np.concatenate(vectors)

    def _loaded(self) -> Towers:
        if self._towers is None:
            raise RuntimeError("load() comes before everything else")
        return self._towers

    def _autocast(self) -> Any:  # noqa: ANN401 - torch is imported late
        import torch

        half = self._half()
        return torch.autocast(self._device, dtype=half, enabled=half is not None)

    def _half(self) -> Any:  # noqa: ANN401 - torch is imported late
        import torch

        if self._precision == "auto":
            if self._device == "cpu":
                return None
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[self._precision]


def _unit(features: Any) -> NDArray[np.float32]:  # noqa: ANN401 - torch is imported late
    features = features.float()
    vectors: NDArray[np.float32] = (features / features.norm(dim=1, keepdim=True)).cpu().numpy()
    return vectors


def _compiled(towers: Towers) -> Towers:
    import torch

    return Towers(
        image=torch.compile(towers.image),
        text=towers.text,
        shrink=towers.shrink,
        mean=towers.mean,
        std=towers.std,
    )
