"""The arithmetic of a head: linear layers over unit vectors, and a calibrated output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "identity": lambda values: values,
    "relu": lambda values: np.maximum(values, 0.0),
}
OUTPUTS = ("identity", "sigmoid")
_CHUNK = 8192


@dataclass(frozen=True)
class Layer:
    """``x -> weight @ x + bias``.

    Args:
        weight: float64 (out, in).
        bias: float64 (out,).
    """

    weight: Array
    bias: Array


@dataclass(frozen=True)
class Network:
    """Layers with an activation between them, and one number at the end.

    Args:
        layers: From the vector to a single value; widths follow on each other.
        activation: Between layers: ``identity`` or ``relu``.
        output: ``identity`` gives the value as it is; ``sigmoid`` gives
            ``1 / (1 + exp(-(slope * value + offset)))``, a probability.
        slope: Of the calibration (Platt 1999), fitted on held-out values; 1 for none.
        offset: Of the same; 0 for none.

    Raises:
        ValueError: If shapes do not follow, a number is not finite, or a name is unknown.
    """

    layers: tuple[Layer, ...]
    activation: str = "identity"
    output: str = "sigmoid"
    slope: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.activation not in _ACTIVATIONS:
            raise ValueError(f"activation must be one of {[*_ACTIVATIONS]}, got {self.activation}")
        if self.output not in OUTPUTS:
            raise ValueError(f"output must be one of {[*OUTPUTS]}, got {self.output}")
        if not self.layers:
            raise ValueError("a head needs at least one layer")
        for number, layer in enumerate(self.layers):
            _check_layer(number, layer)
        for number, (before, after) in enumerate(pairwise(self.layers)):
            if before.weight.shape[0] != after.weight.shape[1]:
                raise ValueError(
                    f"layer {number} gives {before.weight.shape[0]} values, "
                    f"layer {number + 1} takes {after.weight.shape[1]}"
                )
        if self.layers[-1].weight.shape[0] != 1:
            raise ValueError(
                f"a head gives one value, this one gives {self.layers[-1].weight.shape[0]}"
            )
        if not np.isfinite([self.slope, self.offset]).all():
            raise ValueError("the calibration holds numbers that are not finite")

    @property
    def width(self) -> int:
        """Length of the vectors it takes."""
        return int(self.layers[0].weight.shape[1])

    def values(self, vectors: NDArray[np.floating]) -> Array:
        """What the last layer gives, before the output.

        In float64, so that a score does not depend on how many vectors come at once.

        Args:
            vectors: (n, width), rows of unit length.

        Returns:
            float64 (n,).

        Raises:
            ValueError: If the vectors have another length.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.width:
            raise ValueError(f"vectors must be (n, {self.width}), got {vectors.shape}")
        parts = [self._values(vectors[at : at + _CHUNK]) for at in range(0, len(vectors), _CHUNK)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _values(self, vectors: NDArray[np.floating]) -> Array:
        activate = _ACTIVATIONS[self.activation]
        values = vectors.astype(np.float64)
        for layer in self.layers[:-1]:
            values = activate(values @ layer.weight.T + layer.bias)
        last: Array = (values @ self.layers[-1].weight.T + self.layers[-1].bias)[:, 0]
        return last

    def scores(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """Scores of vectors.

        Args:
            vectors: (n, width), rows of unit length.

        Returns:
            float32 (n,): in 0..1 where ``output`` is ``sigmoid``, else on the head's own scale.
        """
        values = self.values(vectors)
        if self.output == "sigmoid":
            values = sigmoid(self.slope * values + self.offset)
        return values.astype(np.float32)


def sigmoid(values: Array) -> Array:
    """``1 / (1 + exp(-x))``, without overflow."""
    small: Array = np.exp(-np.abs(values))
    result: Array = np.where(values >= 0, 1.0, small) / (1.0 + small)
    return result


def _check_layer(number: int, layer: Layer) -> None:
    if layer.weight.ndim != 2 or layer.bias.shape != (layer.weight.shape[0],):
        raise ValueError(
            f"layer {number} must have a weight (out, in) and a bias (out,), got "
            f"{layer.weight.shape} and {layer.bias.shape}"
        )
    if not (np.isfinite(layer.weight).all() and np.isfinite(layer.bias).all()):
        raise ValueError(f"layer {number} holds numbers that are not finite")
