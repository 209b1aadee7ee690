"""The schemas of all tables, in one place.

Every table but ``edges`` has one row per item and ``item_id`` first. Units stand in the
field's metadata-free comments below; the audit and ``winnow table`` show these names.
"""

from __future__ import annotations

import pyarrow as pa

#: Rows of one partition are numbered in this many bits of the item id.
ROW_BITS = 20
ROWS_PER_PARTITION = 1 << ROW_BITS

_KEYS = [pa.field("item_id", pa.int64(), nullable=False)]

ITEMS = pa.schema(
    [
        *_KEYS,
        ("uri", pa.string()),  # the file that holds the bytes
        ("container", pa.string()),  # null: the file itself; "tar"; "parquet"
        ("member", pa.string()),  # the tar member's name, or the Parquet column
        ("offset", pa.int64()),  # first byte in the file; in Parquet the row number
        ("length", pa.int64()),  # bytes of the encoded image
        ("key", pa.string()),  # the source's own name for the item
        ("source", pa.string()),  # the uri of the source as configured
        ("sha256", pa.string()),  # of the encoded image, lower-case hex
        ("bytes", pa.int64()),
        ("format", pa.string()),  # by content: jpeg, png, webp, gif, bmp, tiff, avif, ...
        ("width", pa.int32()),  # pixels as shown, after EXIF orientation
        ("height", pa.int32()),
        ("mode", pa.string()),  # Pillow's mode name
        ("orientation", pa.int8()),  # EXIF, 1..8; 1 where absent
        ("frames", pa.int32()),  # more than 1 for an animation
        ("alt_text", pa.string()),  # caption or alt text that came with the image
        ("language", pa.string()),  # of the alt text: en, zh, other; null without text
        ("meta", pa.string()),  # everything else that came with it, as JSON
    ]
)

QUARANTINE = pa.schema(
    [
        *_KEYS,
        ("uri", pa.string()),
        ("key", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)

PROFILE = pa.schema(
    [
        *_KEYS,
        ("phash", pa.uint64()),
        ("size_ratio", pa.float32()),  # encoded bytes over raw bytes; low = over-compressed
        ("jpeg_quality", pa.int16()),  # 1..100 from the quantisation tables; null if not JPEG
        ("border_variance", pa.float32()),  # of the outer ring, luminance 0..255
        ("reencode_bpp", pa.float32()),  # bytes per pixel after JPEG at a fixed quality
        ("entropy", pa.float32()),  # bits, 0..8, of the luminance histogram
        ("sharpness", pa.float32()),  # variance of the Laplacian
        ("brightness", pa.float32()),  # mean luminance, 0..255
        ("contrast", pa.float32()),  # standard deviation of the luminance
        ("colourfulness", pa.float32()),  # Hasler and Suesstrunk 2003
        ("aesthetic", pa.float32()),  # learned scores: null where no weights are given
        ("nsfw", pa.float32()),
        ("aigc", pa.float32()),
        ("watermark", pa.float32()),
        ("image_text", pa.float32()),
    ]
)

EMBED = pa.schema([*_KEYS, ("vector", pa.list_(pa.float16()))])

FILTER = pa.schema([*_KEYS, ("passed", pa.bool_()), ("clause", pa.string())])

EDGES = pa.schema(
    [
        pa.field("src", pa.int64(), nullable=False),
        pa.field("dst", pa.int64(), nullable=False),
        ("similarity", pa.float32()),
    ]
)

DEDUP = pa.schema(
    [
        *_KEYS,
        ("component", pa.int64()),  # ids of components and communities are the lowest
        ("cluster", pa.int64()),  # item_id inside: near-copy community,
        ("variant", pa.int64()),  # looser community
        ("subject", pa.int64()),  # loosest community
        ("keep", pa.bool_()),
        ("witness_id", pa.int64()),  # the kept item; null where kept
        ("witness_similarity", pa.float32()),
        ("reason", pa.string()),  # exact, perceptual, semantic; null where kept
    ]
)

OCR_LINE = pa.struct(
    [
        ("text", pa.string()),
        ("box", pa.list_(pa.float32())),  # x0 y0 x1 y1 x2 y2 x3 y3, pixels as shown, clockwise
        ("confidence", pa.float32()),  # 0..1
        ("script", pa.string()),  # latin, han, mixed, other
        ("language", pa.string()),  # en, zh, other
    ]
)

OCR = pa.schema(
    [
        *_KEYS,
        ("lines", pa.list_(OCR_LINE)),  # in reading order
        ("text", pa.string()),  # the lines joined by line breaks
        ("text_area", pa.float32()),  # share of the image inside line boxes, 0..1
    ]
)

CAPTION_LEVELS = ("tags", "short", "medium", "long", "prompt")
CAPTION_LANGUAGES = ("en", "zh")

CAPTION = pa.schema(
    [
        *_KEYS,
        *(
            (f"{lang}_{level}", pa.string())
            for lang in CAPTION_LANGUAGES
            for level in CAPTION_LEVELS
        ),
        ("backend", pa.string()),  # composer, or the model that wrote it
        ("ocr_coverage", pa.float32()),  # share of confident lines quoted in both long captions
        ("flags", pa.list_(pa.string())),  # checks that failed
    ]
)

SHARDS = pa.schema(
    [
        *_KEYS,
        ("shard", pa.string()),  # file name of the tar
        ("sample", pa.string()),  # key of the sample inside the tar
    ]
)

TABLES: dict[str, pa.Schema] = {
    "items": ITEMS,
    "quarantine": QUARANTINE,
    "profile": PROFILE,
    "embed": EMBED,
    "filter": FILTER,
    "edges": EDGES,
    "dedup": DEDUP,
    "ocr": OCR,
    "caption": CAPTION,
    "shards": SHARDS,
}


def part_of(item_id: int) -> int:
    """The partition number an item belongs to."""
    return item_id >> ROW_BITS


def first_id(part: int) -> int:
    """The first item id of a partition."""
    return part << ROW_BITS
