from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.contract import ItemError
from stages.images import decode
from stages.inspection import inspect
from tests.stages.sources.made import encoded, picture, tar_of

MANY = 100_000_000


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def _reason(data: bytes, max_pixels: int = MANY) -> str:
    with pytest.raises(ItemError) as caught:
        inspect(data, max_pixels)
    assert caught.value.detail
    return caught.value.reason.value


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("JPEG", "jpeg", {}),
        ("JPEG", "jpeg", {"mode": "CMYK"}),
        ("JPEG", "jpeg", {"mode": "L", "progressive": True}),
        ("PNG", "png", {"mode": "P"}),
        ("PNG", "png", {"mode": "I;16"}),
        ("PNG", "png", {"mode": "RGBA"}),
        ("WEBP", "webp", {"lossless": True}),
        ("GIF", "gif", {}),
        ("BMP", "bmp", {}),
        ("TIFF", "tiff", {"compression": "tiff_lzw"}),
        ("AVIF", "avif", {}),
        ("JPEG2000", "jpeg2000", {}),
        ("PPM", "ppm", {}),
    ],
)
def test_what_is_read_is_what_is_shown(kind: str, name: str, options: dict[str, Any]) -> None:
    data = encoded(3, kind, size=(61, 37), **options)
    found = inspect(data, MANY)
    assert (found.format, found.width, found.height) == (name, 61, 37)
    assert (found.orientation, found.frames) == (1, 1)
    assert decode(data).size == (61, 37)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_is_as_shown(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _saved(picture(1, (40, 20)), kind, exif=exif)
    found = inspect(data, MANY)
    assert found.orientation == orientation
    assert (found.width, found.height) == ((40, 20) if orientation < 5 else (20, 40))
    assert decode(data).size == (found.width, found.height)


def test_frames_are_counted_and_the_first_is_judged() -> None:
    frames = [picture(n) for n in range(5)]
    for kind in ("GIF", "WEBP", "PNG", "AVIF", "TIFF"):
        data = _saved(frames[0], kind, save_all=True, append_images=frames[1:])
        assert inspect(data, MANY).frames == 5, kind
    gif = _saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert inspect(gif[:-400], MANY).frames <= 5
    mpo = _saved(frames[0], "MPO", save_all=True, append_images=frames[1:2])
    assert (inspect(mpo, MANY).format, inspect(mpo, MANY).frames) == ("jpeg", 1)


def test_counting_frames_takes_no_time() -> None:
    frame = b"\x2c" + bytes(4) + b"\x01\x00\x01\x00\x00" + b"\x02\x02\x44\x01\x00"
    head = b"GIF89a\x01\x00\x01\x00\x80\x00\x00" + bytes(6)
    assert inspect(head + frame * 200_000 + b";", MANY).frames == 200_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"label,file\n1,a.jpg\n", "not_an_image"),
        (b"<!doctype html><html></html>", "not_an_image"),
        (bytes(4096), "not_an_image"),
        (b"PK\x03\x04" + bytes(60), "not_an_image"),
        (tar_of([("a.txt", b"x")]), "not_an_image"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(60), "unsupported"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(60), "unsupported"),
        (b"8BPS" + bytes(60), "unsupported"),
        (b"%PDF-1.7\n", "unsupported"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "unsupported"),
        (b"\xff\x0a" + bytes(60), "unsupported"),
        (b'<?xml version="1.0"?><svg xmlns="x"></svg>', "unsupported"),
        (b"\xff\xd8\xff\xe0", "truncated"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, reason: str) -> None:
    assert _reason(data) == reason


def test_an_icon_cannot_smuggle_in_a_large_image() -> None:
    assert _reason(_saved(picture(1, (32, 32)), "ICO")) == "unsupported"


def test_camera_files_are_not_taken_for_their_thumbnail() -> None:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[50706] = b"\x01\x04\x00\x00"
    assert _reason(_saved(picture(1), "TIFF", tiffinfo=tags)) == "unsupported"


def test_a_bomb_is_refused_from_its_header() -> None:
    bomb = bytearray(encoded(1, "PNG"))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")
    assert _reason(bytes(bomb)) == "too_large"
    assert _reason(encoded(1, size=(100, 10)), 999) == "too_large"
    assert inspect(encoded(1, size=(100, 10)), 1000).width == 100


def _outcome(look: Callable[[], object]) -> str | None:
    try:
        look()
    except ItemError as error:
        return error.reason.value
    return None


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"mode": "CMYK"}, {"mode": "L"}])
def test_reduced_decoding_finds_the_same_truncations_as_full(options: dict[str, Any]) -> None:
    data = encoded(5, size=(96, 80), quality=95, **options)
    for cut in range(16, len(data), 7):
        full = _outcome(lambda: decode(data[:cut]))  # noqa: B023 - called at once
        reduced = _outcome(lambda: inspect(data[:cut], MANY))  # noqa: B023
        assert (reduced is None) == (full is None), cut
        assert reduced in {None, "truncated"}, cut


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000"])
def test_truncation_is_called_truncation(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = _saved(Image.fromarray(noise), kind)
    for share in (0.3, 0.5, 0.9):
        assert _reason(data[: int(len(data) * share)]) == "truncated", share
