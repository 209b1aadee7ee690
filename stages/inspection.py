"""What a file really is: format by content, size as shown, and whether it decodes whole."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Literal

from PIL import Image, UnidentifiedImageError

from stages.contract import ItemError, Reason
from stages.images import PILLOW_FORMATS

_ORIENTATION = 0x0112
_FORMAT_NAMES = {"MPO": "jpeg", "DIB": "bmp"}
#: Pages of a TIFF are counted up to here: each costs a directory to parse.
MAX_COUNTED_PAGES = 1000

# Damaged EXIF and the like is no news for a user with a billion images, and the image
# itself is judged by decoding it.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True)
class Inspection:
    """What a look inside an encoded image gives.

    Args:
        format: By content: jpeg, png, webp, gif, bmp, tiff, avif, jpeg2000, ppm.
        width: Pixels as shown, after EXIF orientation.
        height: Pixels as shown, after EXIF orientation.
        mode: Pillow's name of the pixel format, such as ``RGB`` or ``I;16``.
        orientation: EXIF orientation, 1..8.
        frames: Frames of an animation or pages of a TIFF (counted up to 1,000), else 1.
    """

    format: str
    width: int
    height: int
    mode: str
    orientation: int
    frames: int


def inspect(data: bytes, max_pixels: int) -> Inspection:
    """Look at an encoded image and decode its first frame to the end.

    JPEGs are decoded at an eighth of their size: every coded bit is still read, so that a
    truncated file is found exactly where decoding in full would find it, in less than half
    the time. An animation is judged by its first frame, the one that is used.

    Args:
        data: The encoded image.
        max_pixels: Largest width x height; checked from the header, before decoding.

    Raises:
        ItemError: ``empty``, ``not_an_image``, ``unsupported``, ``too_large``,
            ``truncated`` or ``unreadable``, with a sentence that says more.
    """
    if not data:
        raise ItemError(Reason.EMPTY, "the file has 0 bytes")
    try:
        with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
            _check_size(image, max_pixels)
            _refuse_raw(image)
            return _decode(image, data)
    except ItemError:
        raise
    except UnidentifiedImageError as error:
        raise _unidentified(data) from error
    except MemoryError as error:
        # The size is within bounds, so it is a header that lies about something else.
        raise ItemError(Reason.UNREADABLE, "decoding it asks for absurd memory") from error
    except Exception as error:  # decoders raise anything on hostile bytes
        raise _broken(data, error) from error


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width <= 0 or height <= 0:
        raise ItemError(Reason.UNREADABLE, f"the header says {width} x {height} pixels")
    if width * height > max_pixels:
        raise ItemError(
            Reason.TOO_LARGE,
            f"{width} x {height} = {width * height} pixels, more than max_pixels = {max_pixels}",
        )


def _decode(image: Image.Image, data: bytes) -> Inspection:
    mode, kind = image.mode, str(image.format)
    width, height = image.size
    orientation = _orientation(image) if kind == "TIFF" else 1
    frames = _frames(image, kind, data)
    if kind in {"JPEG", "MPO"}:
        image.draft(None, (max(1, width // 8), max(1, height // 8)))
        image.load()
    else:
        image.load()
        width, height = image.size
    if kind == "TIFF":  # Pillow turns TIFFs itself while it loads them
        swapped = False
    else:
        orientation = _orientation(image)
        swapped = orientation >= 5
    if swapped:
        width, height = height, width
    name = _FORMAT_NAMES.get(kind, kind.lower())
    return Inspection(name, width, height, mode, orientation, frames)


def _orientation(image: Image.Image) -> int:
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _frames(image: Image.Image, kind: str, data: bytes) -> int:
    if kind == "GIF":
        return max(1, _gif_frames(data))
    if kind == "TIFF":
        return _tiff_pages(image)
    if kind == "MPO":  # the further images of an MPO are previews and depth maps
        return 1
    return int(getattr(image, "n_frames", 1))


def _tiff_pages(image: Image.Image) -> int:
    pages = 1
    try:
        while pages < MAX_COUNTED_PAGES:
            image.seek(pages)
            pages += 1
    except Exception:  # noqa: BLE001, S110 - a bad later page ends the count, not the image
        pass
    image.seek(0)
    return pages


def _gif_frames(data: bytes) -> int:
    """Frames of a GIF, by its blocks alone: Pillow would look at every pixel."""
    position = 13 + _gif_palette(data[10:11])
    frames = 0
    while position < len(data):
        introducer = data[position]
        if introducer == 0x21:  # an extension: label, then sub-blocks
            position += 2
        elif introducer == 0x2C:  # a frame: descriptor, palette, code size, then sub-blocks
            frames += 1
            position += 11 + _gif_palette(data[position + 9 : position + 10])
        else:
            break
        while position < len(data) and data[position]:
            position += 1 + data[position]
        position += 1
    return frames


def _gif_palette(flags: bytes) -> int:
    """Bytes of the palette that a flags byte announces."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


_RAW_COMPRESSIONS = frozenset({32767, 32769, 32770, 34713, 65000, 65535})


def _refuse_raw(image: Image.Image) -> None:
    """Camera files are TIFFs whose first picture is a thumbnail."""
    if image.format != "TIFF":
        return
    tags = getattr(image, "tag_v2", {})
    thumbnail = tags.get(254) == 1 and 330 in tags
    if 50706 in tags or thumbnail or tags.get(259) in _RAW_COMPRESSIONS:
        raise ItemError(
            Reason.UNSUPPORTED, "a camera's raw file: develop it to JPEG, PNG or TIFF first"
        )


@dataclass(frozen=True)
class _Signature:
    offset: int
    magic: bytes
    name: str
    reason: Reason


_PICTURE = Reason.UNSUPPORTED
_OTHER = Reason.NOT_AN_IMAGE
_VIDEO = "video: give it as a source of its own, kind: video"

_SIGNATURES = tuple(
    _Signature(*row)
    for row in (
        (0, b"8BPS", "a Photoshop file", _PICTURE),
        (0, b"%PDF", "a PDF document", _PICTURE),
        (0, b"%!PS", "a PostScript file", _PICTURE),
        (0, b"\xc5\xd0\xd3\xc6", "an EPS file", _PICTURE),
        (0, b"\xff\x0a", "a JPEG XL image", _PICTURE),
        (0, b"\x00\x00\x00\x0cJXL ", "a JPEG XL image", _PICTURE),
        (0, b"\x00\x00\x01\x00", "a Windows icon", _PICTURE),
        (0, b"FUJIFILMCCD-RAW", "a Fujifilm raw file", _PICTURE),
        (0, b"IIRO", "an Olympus raw file", _PICTURE),
        (0, b"IIRS", "an Olympus raw file", _PICTURE),
        (0, b"IIU\x00", "a Panasonic raw file", _PICTURE),
        (0, b"FOVb", "a Sigma raw file", _PICTURE),
        (0, b"gimp xcf", "a GIMP file", _PICTURE),
        (0, b"icns", "a macOS icon", _PICTURE),
        (0, b"DDS ", "a DirectDraw surface", _PICTURE),
        (0, b"qoif", "a QOI image", _PICTURE),
        (0, b"\x76\x2f\x31\x01", "an OpenEXR image", _PICTURE),
        (0, b"#?RADIANCE", "a Radiance HDR image", _PICTURE),
        (0, b"BPG\xfb", "a BPG image", _PICTURE),
        (0, b"FLIF", "a FLIF image", _PICTURE),
        (128, b"DICM", "a DICOM file", _PICTURE),
        (0, b"\x1a\x45\xdf\xa3", f"a Matroska or WebM {_VIDEO}", _PICTURE),
        (8, b"AVI ", f"an AVI {_VIDEO}", _PICTURE),
        (0, b"PK\x03\x04", "a ZIP archive", _OTHER),
        (0, b"\x1f\x8b", "a gzip file", _OTHER),
        (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _OTHER),
        (0, b"Rar!", "a RAR archive", _OTHER),
        (257, b"ustar", "a tar archive: give it as a source of its own, kind: tar", _OTHER),
        (0, b"PAR1", "a Parquet table: give it as a source of its own, kind: parquet", _OTHER),
    )
)

#: The major brand of ISO media files; AVIF itself is decoded.
_BRANDS = (
    (b"hei", "a HEIC image"),
    (b"hev", "a HEIC image"),
    (b"mif1", "a HEIF image"),
    (b"msf1", "a HEIF image"),
    (b"crx ", "a Canon raw file"),
    (b"avif", ""),
    (b"avis", ""),
)

_STARTS = {
    "a JPEG": (b"\xff\xd8\xff",),
    "a PNG": (b"\x89PNG",),
    "a GIF": (b"GIF87a", b"GIF89a"),
    "a TIFF": (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
    "a JPEG 2000": (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51"),
    "a BMP": (b"BM",),
}


def _unidentified(data: bytes) -> ItemError:
    """Why Pillow does not know what a file is: another kind of file, or a broken header."""
    for signature in _SIGNATURES:
        if data.startswith(signature.magic, signature.offset):
            return ItemError(signature.reason, _advice(signature.name, signature.reason))
    if data[4:8] == b"ftyp":
        known = (name for brand, name in _BRANDS if data[8:].startswith(brand))
        name = next(known, f"a {_VIDEO}")
        if name:
            return ItemError(Reason.UNSUPPORTED, _advice(name, Reason.UNSUPPORTED))
        return _damaged("an AVIF", data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _damaged("a WebP", data)
    for name, starts in _STARTS.items():
        if data.startswith(starts):
            return _damaged(name, data)
    return _text_or_unknown(data)


def _advice(name: str, reason: Reason) -> str:
    picture = reason is _PICTURE and not name.endswith(_VIDEO)
    more = ": convert it to JPEG, PNG, WebP or AVIF first" if picture else ""
    return f"the file is {name}{more}"


def _damaged(name: str, data: bytes) -> ItemError:
    reason = Reason.TRUNCATED if _is_cut(data) or len(data) < 64 else Reason.UNREADABLE
    return ItemError(reason, f"it begins like {name}, but its header is broken")


def _text_or_unknown(data: bytes) -> ItemError:
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return ItemError(Reason.UNSUPPORTED, _advice("an SVG drawing", Reason.UNSUPPORTED))
    if head.startswith((b"<!doctype html", b"<html")):
        return ItemError(Reason.NOT_AN_IMAGE, "an HTML page, as a failed download leaves it")
    if not data[:1024].strip(b"\x00"):
        return ItemError(Reason.NOT_AN_IMAGE, f"{len(data)} bytes that begin with zeros")
    try:
        data[:1024].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < min(1020, len(data)):
            return ItemError(Reason.NOT_AN_IMAGE, f"no known format: it begins {data[:8].hex(' ')}")
    start = data[:40].decode("utf-8", errors="replace")
    return ItemError(Reason.NOT_AN_IMAGE, f"a text file: it begins {start!r}")


def _broken(data: bytes, error: Exception) -> ItemError:
    text = f"{type(error).__name__}: {error}"
    reason = Reason.TRUNCATED if _says_cut(text) or _is_cut(data) else Reason.UNREADABLE
    return ItemError(reason, f"cannot be decoded: {text}"[:500])


def _says_cut(text: str) -> bool:
    return any(word in text.lower() for word in ("truncat", "expected to read", "no more data"))


def _is_cut(data: bytes) -> bool:
    """Whether a file is shorter than its own structure says, where the format tells."""
    if data.startswith(b"RIFF"):
        return len(data) < 12 or int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-64:]
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-64:]
    if data[4:8] == b"ftyp" or data.startswith(b"\x00\x00\x00\x0cjP  "):
        return _boxes_are_cut(data)
    if data.startswith((b"II*\x00", b"MM\x00*")):  # the directory often lies at the end
        order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
        return int.from_bytes(data[4:8], order) + 2 > len(data)
    return False


def _boxes_are_cut(data: bytes) -> bool:
    """Whether the boxes of an ISO media file reach beyond its end."""
    position = 0
    while position < len(data):
        if position + 8 > len(data):
            return True
        size = int.from_bytes(data[position : position + 4], "big")
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if size == 0:
            return False
        if size < 8:
            return False
        position += size
    return position > len(data)
