"""The embedded copy detector: a small trained network, its weights beside this file.

It sees whether two pictures are copies of one picture: encoded again, resized, cropped,
mirrored, turned a little, toned, written on, framed or shown in a screenshot. It was trained for
that alone (``training/copydetect``); of what a picture shows it knows little. Flat pictures have
vectors too, which are close to each other whatever the colour.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.contract import ConfigurationError
from stages.embedders.base import Embedder

WEIGHTS = Path(__file__).with_name("builtin.safetensors")

_DIM = 256
_SIDE = 128
_BLOCKS = (1, 2, 2, 1)

Run: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class BuiltinEmbedder(Embedder):
    """A residual network of 2.1 million parameters, trained on copies of photographs.

    A picture is squashed to a square of 128 x 128. Every picture goes through the network by
    itself, so that its vector depends on nothing else, whatever the batch and the threads.

    Args:
        runtime: ``onnx`` for ONNX Runtime, ``torch``, or ``auto``: ONNX Runtime, about twice
            as fast on a core, where it is installed. Their vectors agree to 1e-3.
    """

    name = "builtin"

    def __init__(self, runtime: Literal["auto", "onnx", "torch"] = "auto") -> None:
        self._runtime = runtime
        self._run: Run | None = None
        self._threads = 1

    @property
    def dim(self) -> int:
        """256."""
        return _DIM

    def check(self) -> None:
        """Find out whether the weights are there.

        Raises:
            ConfigurationError: If the installation lacks them.
        """
        if not WEIGHTS.is_file():
            raise ConfigurationError(
                f"{WEIGHTS} is missing, the weights of embed.model=builtin: install winnow again"
            )

    def load(self, device: str, threads: int) -> None:  # noqa: ARG002 - the CPU will do
        """Load the network; it runs on the CPU.

        Raises:
            ConfigurationError: If the weights are missing.
        """
        self.check()
        self._threads = threads
        with_onnx = importlib.util.find_spec("onnxruntime") is not None
        if self._runtime == "onnx" or (self._runtime == "auto" and with_onnx):
            self._run = _load_onnx()
        else:
            self._run = _load_torch()

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """The picture squashed: (128, 128, 3), RGB 0..255."""
        size = (_SIDE, _SIDE)
        return np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0))

    def encode(self, prepared: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        """Vectors of prepared pictures: (n, 256), float32, rows of unit length."""
        if self._run is None:
            self.load("cpu", self._threads)
        if self._threads == 1 or len(prepared) == 1:
            return np.stack([self._encode_one(pixels) for pixels in prepared])
        with ThreadPoolExecutor(self._threads) as pool:
            return np.stack(list(pool.map(self._encode_one, prepared)))

    def _encode_one(self, pixels: NDArray[np.generic]) -> NDArray[np.float32]:
        assert self._run is not None  # noqa: S101 - encode() has loaded it
        images = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32)
        return self._run(images)[0]


def _load_onnx() -> Run:
    import onnxruntime
    from safetensors.numpy import load_file

    from stages.embedders.copynet_onnx import copynet_graph

    weights = {name: values.astype(np.float32) for name, values in load_file(WEIGHTS).items()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        copynet_graph(weights, _BLOCKS, _SIDE), options, providers=["CPUExecutionProvider"]
    )

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = session.run(None, {"images": images})[0]
        return vectors

    return run


def _load_torch() -> Run:
    import torch
    from safetensors.torch import load_file

    from stages.embedders.copynet import CopyNet

    # Pictures are spread over threads, not the layers of one.
    torch.set_num_threads(1)
    net = CopyNet(folded=True).eval()
    net.load_state_dict({name: values.float() for name, values in load_file(WEIGHTS).items()})
    net = net.to(memory_format=torch.channels_last)

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            pixels = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
            vectors = torch.nn.functional.normalize(net(pixels), dim=1)
        result: NDArray[np.float32] = vectors.numpy()
        return result

    return run
