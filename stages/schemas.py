"""The schemas of all tables, in one place.

Every table but ``edges`` has one row per item and ``item_id`` first. Units stand in the
field's metadata-free comments below; the audit and ``winnow table`` show these names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pyarrow as pa

#: Rows of one partition are numbered in this many bits of the item id.
ROW_BITS = 20
ROWS_PER_PARTITION = 1 << ROW_BITS

_KEYS = [pa.field("item_id", pa.int64(), nullable=False)]

ITEMS = pa.schema(
    [
        *_KEYS,
        ("uri", pa.string()),  # the file that holds the bytes
        ("container", pa.string()),  # null: the file itself; "tar"; "parquet"; "video"
        ("member", pa.string()),  # the tar member's name, the Parquet column, a frame's number
        ("offset", pa.int64()),  # first byte in the file; in Parquet the row; a frame's pts
        ("length", pa.int64()),  # bytes of the encoded image; of a frame as PNG, uncompressed
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
        *_KEYS,  # units, formulas and sources: the docstrings in stages/signals
        ("phash", pa.uint64()),  # 64-bit perceptual hash, as imagehash prints
        ("size_ratio", pa.float32()),  # encoded bytes over raw bytes; low = over-compressed
        ("compression_ratio", pa.float32()),  # its inverse; high = over-compressed
        ("jpeg_quality", pa.int16()),  # 1..100 from the quantisation tables; null if not JPEG
        ("reencode_bpp", pa.float32()),  # bytes per pixel after JPEG; low = little information
        ("reencode_quality", pa.int16()),  # 1..95, the quality at which that was measured
        ("border_variance", pa.float32()),  # of the outer ring, luminance 0..255; low = plain
        ("uniform_background", pa.float32()),  # share of pixels of the border's colour, 0..1
        ("letterbox", pa.float32()),  # share of the picture inside bars or a frame, 0..1
        ("entropy", pa.float32()),  # bits, 0..8, of the luminance histogram
        ("sharpness", pa.float32()),  # variance of the Laplacian; low = blurred
        ("noise", pa.float32()),  # standard deviation, grey levels; 0 after most JPEGs
        ("brightness", pa.float32()),  # mean luminance, 0..255
        ("contrast", pa.float32()),  # standard deviation of the luminance
        ("colourfulness", pa.float32()),  # Hasler and Suesstrunk 2003; 0 = grey
        ("aspect", pa.float32()),  # width over height, as shown
        ("animated", pa.bool_()),  # more than one frame in time
        ("alpha_share", pa.float32()),  # share of pixels that are not opaque, 0..1
        ("flat_share", pa.float32()),  # share of pixels equal to their neighbours, 0..1
        ("screenshot", pa.bool_()),  # likely a picture of a screen
        ("qr_code", pa.bool_()),  # a QR code was found
    ]
)

#: Of ``embed``, and of the table ``embed_NAME`` of each further embedder.
EMBED = pa.schema([*_KEYS, ("vector", pa.list_(pa.float16()))])  # unit length

#: Scores of trained heads; the columns of further heads, float32 too, stand behind these. Null
#: where no head is configured, and where an image has no vector or no text.
SCORE = pa.schema(
    [
        *_KEYS,
        ("aesthetic", pa.float32()),  # on its head's own scale, such as 1..10; high is pleasing
        ("nsfw", pa.float32()),  # this and the next two 0..1: probability of the label
        ("aigc", pa.float32()),  # made by a model
        ("watermark", pa.float32()),
        ("image_text", pa.float32()),  # cosine of image and alt text, -1..1
    ]
)

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
        ("mark", pa.string()),  # none; duplicate, repeat: says what another line says
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
        # Of the lines of text read with confidence >= 0.8; shares are null where there are none.
        ("ocr_lines", pa.int32()),  # how many
        ("ocr_coverage", pa.float32()),  # share quoted in both long captions, 0..1
        ("en_ocr_coverage", pa.float32()),  # share quoted in the English long caption
        ("zh_ocr_coverage", pa.float32()),  # share quoted in the Chinese long caption
        ("medium_ocr_coverage", pa.float32()),  # share quoted in both medium captions
        ("ocr_edit_distance", pa.float32()),  # mean edits per letter, 0 verbatim..1 absent
        ("first_ocr_coverage", pa.float32()),  # the same two of the captions as first written,
        ("first_ocr_edit_distance", pa.float32()),  # before they were mended
        ("asked_again", pa.list_(pa.string())),  # captions the model was asked to mend
        ("appended", pa.list_(pa.string())),  # long captions with a sentence of missing text
        ("invented_text", pa.list_(pa.string())),  # quoted, but not read in the image
        ("unknown_names", pa.list_(pa.string())),  # neither in its text nor in its metadata
        ("en_purity", pa.float32()),  # least share of Latin words of an English caption, 0..1
        ("zh_purity", pa.float32()),  # least share of Han characters of a Chinese caption
        ("empty", pa.list_(pa.string())),  # captions, such as en_short, without a word,
        ("other_language", pa.list_(pa.string())),  # in another language,
        ("too_short", pa.list_(pa.string())),  # outside the length of their level,
        ("too_long", pa.list_(pa.string())),
        ("repeating", pa.list_(pa.string())),  # that repeat themselves,
        ("refusing", pa.list_(pa.string())),  # that read like a refusal
        ("answers", pa.int32()),  # of a model that these captions took; 0 for the composer
        ("prompt_tokens", pa.int64()),  # of these answers
        ("completion_tokens", pa.int64()),
        ("flags", pa.list_(pa.string())),  # repairs made and checks failed, as check:caption
    ]
)

#: One row per ordered pair; the partition is that of the source.
PAIRS = pa.schema(
    [
        pa.field("source_id", pa.int64(), nullable=False),  # the item to be edited
        pa.field("target_id", pa.int64(), nullable=False),  # the item it becomes
        ("pair_id", pa.string()),  # both ids
        ("kind", pa.string()),  # copy, subject, video, edit
        ("group", pa.string()),  # what both are from: a community, a clip, a group of edits
        ("similarity", pa.float32()),  # cosine; null where one has no vector
        ("instruction_en", pa.string()),  # null where the pair got none: see checks
        ("instruction_zh", pa.string()),
        ("differences", pa.string()),  # JSON: a list of {what, place, before, after}
        ("backend", pa.string()),  # composer, rendered (exact), or the model that wrote it
        ("checks", pa.list_(pa.string())),  # checks that failed, as check:language
    ]
)

#: How many pairs an item stands in; 0 for most.
PAIRED = pa.schema([*_KEYS, ("as_source", pa.int32()), ("as_target", pa.int32())])

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
    "score": SCORE,
    "filter": FILTER,
    "edges": EDGES,
    "dedup": DEDUP,
    "ocr": OCR,
    "caption": CAPTION,
    "pairs": PAIRS,
    "paired": PAIRED,
    "shards": SHARDS,
}


#: Tables whose files may have further columns, all float32: named by the configuration.
OPEN_TABLES = frozenset({"score"})


def is_aside(table: str) -> bool:
    """Whether a table is that of a further embedder, beside the line."""
    return table != "embed" and is_embed_table(table)


def schema_of(table: str, names: Iterable[str] = ()) -> pa.Schema:
    """The schema of rows of a table: its own, and behind it the further columns it may have.

    Args:
        table: Its name; those of further embedders are known too.
        names: The columns there are.

    Raises:
        KeyError: If there is no such table.
    """
    schema = EMBED if is_embed_table(table) else TABLES[table]
    if table not in OPEN_TABLES:
        return schema
    further = [pa.field(name, pa.float32()) for name in names if name not in schema.names]
    return pa.schema([*schema, *further])


#: What an embedder may be called, so that its name can stand in file names and in SQL.
EMBEDDER_NAME = re.compile(r"[a-z][a-z0-9_]*")


def embed_table(name: str) -> str:
    """The table of a further embedder; that of the main one is ``embed``."""
    return f"embed_{name}"


def is_embed_table(table: str) -> bool:
    """Whether a table holds vectors: ``embed``, or ``embed_NAME``."""
    head, _, name = table.partition("_")
    return head == "embed" and (table == head or EMBEDDER_NAME.fullmatch(name) is not None)


def part_of(item_id: int) -> int:
    """The partition number an item belongs to."""
    return item_id >> ROW_BITS


def first_id(part: int) -> int:
    """The first item id of a partition."""
    return part << ROW_BITS
