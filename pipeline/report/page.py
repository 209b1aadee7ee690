"""The page: one HTML file that asks nothing of the network."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.ledger import STATUSES
from pipeline.report.format import FILTERS
from pipeline.report.thumbnails import Thumbnail, Thumbnails
from stages.schemas import CAPTION_LANGUAGES, CAPTION_LEVELS

_TEMPLATES = Path(__file__).parent / "templates"
_MISSING = Thumbnail("", "not shown")

#: Sections in the order of the page: anchor and title. A template each.
SECTIONS = (
    ("summary", "Summary"),
    ("funnel", "Funnel"),
    ("ledger", "Ledger"),
    ("duplicates", "Duplicates"),
    ("filtered", "Filtered"),
    ("quarantine", "Quarantine"),
    ("signals", "Signals"),
    ("captions", "Text and captions"),
    ("pairs", "Editing pairs"),
    ("shards", "Shards"),
    ("configuration", "Configuration"),
)

#: What a signal says, and its unit.
MEANINGS = {
    "width": "pixels, as shown",
    "height": "pixels, as shown",
    "bytes": "of the encoded image",
    "size_ratio": "encoded bytes over raw bytes; low is over-compressed",
    "compression_ratio": "its inverse; high is over-compressed",
    "jpeg_quality": "from the quantisation tables, 1 to 100",
    "border_variance": "of the outer ring; low is a plain border",
    "uniform_background": "share of the picture in the colour of its border",
    "letterbox": "share of the picture in bars at its edges",
    "reencode_bpp": "bytes per pixel as JPEG; low holds little detail",
    "reencode_quality": "JPEG quality at which that was measured",
    "entropy": "bits of the luminance histogram, 0 to 8",
    "sharpness": "variance of the Laplacian; low is blurred",
    "noise": "standard deviation, in grey levels",
    "flat_share": "share of pixels equal to their neighbours",
    "aspect": "width over height",
    "alpha_share": "share of pixels that are not opaque",
    "brightness": "mean luminance, 0 to 255",
    "contrast": "standard deviation of the luminance",
    "colourfulness": "Hasler and Suesstrunk; 0 is grey",
    "aesthetic": "learned score",
    "nsfw": "learned score",
    "aigc": "learned score, made by a model",
    "watermark": "learned score",
    "image_text": "learned score, image against its alt text",
}


def render(audit: dict[str, Any], thumbnails: Thumbnails, pixels: int) -> str:
    """The page of an audit.

    Everything that comes from the data is escaped. The content security policy admits
    nothing but this page's own style and script, by their hashes, and ``data:`` images.

    Args:
        audit: The facts.
        thumbnails: Of the images that the audit lists.
        pixels: Longest side of a small thumbnail.
    """
    environment = _environment()
    style = environment.get_template("style.css.j2").render(pixels=pixels)
    script = environment.get_template("script.js.j2").render()

    def thumbnail(item: dict[str, Any], *, large: bool = False) -> Thumbnail:
        return thumbnails.get((item["item_id"], large), _MISSING)

    return environment.get_template("page.html.j2").render(
        audit=audit,
        style=Markup(style),  # noqa: S704 - our own file, with one number filled in
        script=Markup(script),  # noqa: S704 - our own file
        style_hash=_hash(style),
        script_hash=_hash(script),
        sections=SECTIONS,
        statuses=STATUSES,
        levels=CAPTION_LEVELS,
        languages=CAPTION_LANGUAGES,
        thumbnail=thumbnail,
        meanings=MEANINGS,
        configuration=_yaml(audit["configuration"]),
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    environment.filters.update(FILTERS)
    return environment


def _hash(text: str) -> str:
    """The source expression of a content security policy for an inline element."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _yaml(configuration: dict[str, Any]) -> str:
    return yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True, width=96)
