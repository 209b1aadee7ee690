"""The memory of a Pillow image as an array, by the Arrow C data interface.

PyArrow can do it too, but takes as long for it as a signal takes.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Where ``struct ArrowArray`` keeps what is used of it, in bytes; all are of eight bytes.
# https://arrow.apache.org/docs/format/CDataInterface.html
_LENGTH, _BUFFERS, _CHILDREN = 0, 40, 48
_VALUES = 8  # the second buffer; the first says which values are null

_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype = ctypes.c_void_p
_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


class _Owner:
    """Lends memory to an array, and keeps alive what frees it."""

    __slots__ = ("__array_interface__", "capsule")

    def __init__(self, capsule: object, address: int, length: int) -> None:
        self.capsule = capsule
        self.__array_interface__: dict[str, Any] = {
            "shape": (length,),
            "typestr": "<u4",
            "data": (address, True),
            "version": 3,
        }


def shared_memory(image: Image.Image) -> NDArray[np.uint32]:
    """The pixels of an RGB image where Pillow holds them, not copied; read-only.

    Args:
        image: Mode RGB: four bytes a pixel, of which the last means nothing.

    Returns:
        (height x width,), red in the lowest byte. It keeps the memory alive.

    Raises:
        ValueError: If Pillow holds the image in several pieces, as it does above 16 MB.
    """
    if image.mode != "RGB":
        raise ValueError(f"the mode must be RGB, got {image.mode}")
    _, capsule = image.__arrow_c_array__()
    pixels = _pointer(capsule, b"arrow_array")
    channels = _word(_word(pixels + _CHILDREN))
    count = _word(pixels + _LENGTH)
    if _word(channels + _LENGTH) != 4 * count or count != image.width * image.height:
        raise ValueError(f"{count} pixels of an image of {image.width} x {image.height}")
    address = _word(_word(channels + _BUFFERS) + _VALUES)
    return np.asarray(_Owner(capsule, address, count))


def _word(address: int) -> int:
    return ctypes.c_uint64.from_address(address).value
