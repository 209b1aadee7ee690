"""Broken files of each kind that a crawl brings home, with the quarantine code each should get."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

_BOMB_SIDE = 40_000


@dataclass(frozen=True)
class Broken:
    """A file that cannot be read.

    Args:
        name: File name with its extension.
        reason: The quarantine code, a value of ``stages.contract.Reason``.
        data: The file's bytes.
    """

    name: str
    reason: str
    data: bytes


def broken_files(rng: np.random.Generator) -> Iterator[Broken]:
    """Every kind of broken file.

    Args:
        rng: Source of chance for the pictures that are then broken.
    """
    jpeg, png = _picture(rng, "JPEG"), _picture(rng, "PNG")
    yield Broken("empty.jpg", "empty", b"")
    yield Broken("empty.png", "empty", b"")
    yield Broken("download-stopped.jpg", "truncated", jpeg[: len(jpeg) * 6 // 10])
    yield Broken("download-stopped.png", "truncated", png[: len(png) // 2])
    yield Broken("readme.jpg", "not_an_image", b"Pictures of the trip are in the other folder.\n")
    yield Broken("page-not-found.png", "not_an_image", _ERROR_PAGE)
    yield Broken("access-denied.webp", "not_an_image", b'{"error": "AccessDenied", "code": 403}\n')
    yield Broken("decompression-bomb.png", "too_large", _bomb())
    yield Broken("huge-header.jpg", "too_large", _huge_header(_picture(rng, "JPEG")))
    yield Broken("layers.psd", "unsupported", _photoshop())
    yield Broken("phone-photo.jpg", "unsupported", _heic(rng))
    yield Broken("drawing.svg", "unsupported", _DRAWING)
    yield Broken("bit-rot.png", "unreadable", _bit_rot(_picture(rng, "PNG")))
    yield Broken("bit-rot.jpg", "unreadable", _without_tables(_picture(rng, "JPEG")))
    yield Broken("caption-without-image.txt", "no_image", b"A lighthouse at the end of the pier\n")


def _picture(rng: np.random.Generator, form: str) -> bytes:
    knots = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    knots.resize((320, 240), Image.Resampling.BICUBIC).save(buffer, form)
    return buffer.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def _bomb() -> bytes:
    """A real PNG of 40,000 x 40,000 black pixels in about 200 kB.

    Deflate blocks that end with a full flush can be repeated as they are, which spares
    compressing 200 MB of zeros. Their Adler-32 has a closed form.
    """
    row = 1 + _BOMB_SIDE // 8
    rows, repeats = _BOMB_SIDE // 100, 100
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(row * rows)) + packer.flush(zlib.Z_FULL_FLUSH)
    adler = (row * _BOMB_SIDE % 65521) << 16 | 1
    stream = b"\x78\xda" + block * repeats + b"\x03\x00" + struct.pack(">I", adler)
    header = struct.pack(">IIBBBBB", _BOMB_SIDE, _BOMB_SIDE, 1, 0, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", stream) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _huge_header(jpeg: bytes) -> bytes:
    """The same JPEG, declaring 60,000 x 60,000 pixels."""
    # Start of frame: marker, length, bits per sample, then height and width.
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", 60_000, 60_000) + jpeg[at + 4 :]


def _bit_rot(png: bytes) -> bytes:
    """The same PNG with damaged pixel data, right lengths and right checksums."""
    start = png.index(b"IDAT") - 4
    length = struct.unpack(">I", png[start : start + 4])[0]
    data = bytearray(png[start + 8 : start + 8 + length])
    middle = len(data) // 2
    for place in range(middle, middle + 64):
        data[place] ^= 0xA5
    return png[:start] + _chunk(b"IDAT", bytes(data)) + png[start + 12 + length :]


def _without_tables(jpeg: bytes) -> bytes:
    """The same JPEG with its Huffman tables overwritten."""
    at = jpeg.index(b"\xff\xc4") + 2
    length = struct.unpack(">H", jpeg[at : at + 2])[0]
    return jpeg[: at + 3] + b"\xff" * (length - 3) + jpeg[at + length :]


def _photoshop() -> bytes:
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 64, 64, 8, 3)
    sections = struct.pack(">III", 0, 0, 0)
    return header + sections + struct.pack(">H", 0) + bytes(range(64)) * 64 * 3


def _heic(rng: np.random.Generator) -> bytes:
    """The start of an iPhone photograph: a HEIC container with its coded data."""
    kind = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic")
    coded = rng.integers(0, 256, 4000, dtype=np.uint8).tobytes()
    return kind + struct.pack(">I4s", 8 + len(coded), b"mdat") + coded


_ERROR_PAGE = b"""<!DOCTYPE html>
<html><head><title>404 Not Found</title></head>
<body><h1>Not Found</h1><p>The requested image was not found on this server.</p></body></html>
"""

_DRAWING = b"""<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="320" height="240" viewBox="0 0 320 240">
<rect width="320" height="240" fill="#eef"/><circle cx="160" cy="120" r="80" fill="#c33"/>
</svg>
"""
