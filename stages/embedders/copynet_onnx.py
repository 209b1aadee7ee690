"""The network behind the ``builtin`` embedder as an ONNX graph.

The graph is written from the same weights as the torch network, so that nothing is kept twice.
Written by hand: a protobuf message is a row of tagged fields, and the package ``onnx`` would be
one more dependency. Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Weights = Mapping[str, NDArray[np.float32]]

_FLOAT = 1
_IR_VERSION = 8
_OPSET = 17
_ATTRIBUTE_INT, _ATTRIBUTE_INTS = 2, 7


def copynet_graph(weights: Weights, blocks: Sequence[int], side: int) -> bytes:
    """A serialised ModelProto.

    Args:
        weights: State of a folded ``CopyNet``.
        blocks: Residual blocks of each level.
        side: Of the images.

    Returns:
        A model from ``images``, float32 (n, 3, side, side), RGB 0..255, to ``vectors``, float32
        (n, d), rows of unit length.
    """
    graph = _Graph(weights)
    graph.constant("middle", np.array([118.0], np.float32))
    graph.constant("reach", np.array([64.0], np.float32))
    graph.node("Sub", ["images", "middle"], "centred")
    maps = graph.node("Div", ["centred", "reach"], "scaled")
    maps = graph.relu(graph.conv(maps, "stem", stride=4))
    pooled = []
    for level, count in enumerate(blocks):
        for block in range(count):
            stride = 2 if level and not block else 1
            maps = _residual(graph, maps, f"levels.{level}.{block}", stride)
        if level >= len(blocks) - 2:
            pooled.append(_pool(graph, maps, f"pool{level}"))
    joined = graph.node("Concat", pooled, "joined", axis=1)
    names = [joined, *(graph.weight(f"project.{part}") for part in ("weight", "bias"))]
    graph.node("Gemm", names, "projected", transB=1)
    graph.node("LpNormalization", ["projected"], "vectors", axis=1, p=2)
    width = len(weights["project.bias"])
    return graph.model((3, side, side), (width,))


def _residual(graph: _Graph, maps: str, name: str, stride: int) -> str:
    inner = graph.relu(graph.conv(maps, f"{name}.first", stride))
    inner = graph.conv(inner, f"{name}.second", 1)
    short = maps
    if graph.has(f"{name}.short.weight"):
        short = graph.conv(maps, f"{name}.short", stride)
    return graph.relu(graph.node("Add", [inner, short], f"{name}.sum"))


def _pool(graph: _Graph, maps: str, name: str) -> str:
    """The generalised mean of power 3; maps are above zero but for the floor."""
    for constant, value in (("floor", 1e-4), ("three", 3.0), ("third", 1 / 3)):
        graph.constant(constant, np.array([value], np.float32))
    above = graph.node("Max", [maps, "floor"], f"{name}.above")
    cubes = graph.node("Pow", [above, "three"], f"{name}.cubes")
    mean = graph.node("GlobalAveragePool", [cubes], f"{name}.mean")
    return graph.node("Pow", [graph.node("Flatten", [mean], f"{name}.flat"), "third"], name)


class _Graph:
    """Nodes and constants as they are added, serialised."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[bytes] = []
        self._constants: dict[str, bytes] = {}

    def has(self, name: str) -> bool:
        return name in self._weights

    def weight(self, name: str) -> str:
        self.constant(name, self._weights[name])
        return name

    def constant(self, name: str, values: NDArray[np.float32]) -> None:
        dims = b"".join(_number(1, size) for size in values.shape)
        raw = np.ascontiguousarray(values, dtype="<f4").tobytes()
        self._constants[name] = dims + _number(2, _FLOAT) + _text(8, name) + _bytes(9, raw)

    def conv(self, maps: str, name: str, stride: int) -> str:
        inputs = [maps, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        size = self._weights[f"{name}.weight"].shape[-1]
        return self.node("Conv", inputs, f"{name}.out", strides=[stride] * 2, pads=[size // 2] * 4)

    def relu(self, maps: str) -> str:
        return self.node("Relu", [maps], f"{maps}.relu")

    def node(
        self, kind: str, inputs: Sequence[str], output: str, **attributes: int | list[int]
    ) -> str:
        parts = [_text(1, name) for name in inputs] + [_text(2, output), _text(4, kind)]
        parts += [_bytes(5, _attribute(name, value)) for name, value in attributes.items()]
        self._nodes.append(b"".join(parts))
        return output

    def model(self, image: tuple[int, ...], vector: tuple[int, ...]) -> bytes:
        graph = b"".join(
            [
                *(_bytes(1, node) for node in self._nodes),
                _text(2, "copynet"),
                *(_bytes(5, constant) for constant in self._constants.values()),
                _bytes(11, _value("images", image)),
                _bytes(12, _value("vectors", vector)),
            ]
        )
        opset = _bytes(8, _number(2, _OPSET))
        return _number(1, _IR_VERSION) + _bytes(7, graph) + opset


def _attribute(name: str, value: int | list[int]) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, _ATTRIBUTE_INT)
    numbers = b"".join(_number(8, each) for each in value)
    return _text(1, name) + numbers + _number(20, _ATTRIBUTE_INTS)


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    """A ValueInfoProto of floats whose first dimension is free."""
    dims = [_text(2, "n"), *(_number(1, size) for size in shape)]
    tensor = _number(1, _FLOAT) + _bytes(2, b"".join(_bytes(1, dim) for dim in dims))
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, content: str) -> bytes:
    return _bytes(field, content.encode())


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
