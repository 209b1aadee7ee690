"""The page of pairs: one HTML file that asks nothing of the network."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dedup.explore import Exploration
from dedup.strata import Strata
from pipeline import __version__
from pipeline.explore.stored import Settings, decimals, keep_order
from pipeline.report.format import FILTERS
from pipeline.report.tables import Row, Tables
from pipeline.report.thumbnails import Thumbnail, Thumbnails, make_thumbnails
from stages.corpus import Corpus, digest

_OWN = Path(__file__).parent / "templates"
_REPORT = Path(__file__).parent.parent / "report" / "templates"
_MISSING = Thumbnail("", "not shown")
#: Longest side of a thumbnail: near-copies are told apart by detail.
PIXELS = 192


@dataclass(frozen=True)
class PageFacts:
    """What the page shows.

    Args:
        exploration: Figures and pairs.
        strata: Pairs by slice, around the thresholds of the exploration.
        settings: The run whose policy was used.
    """

    exploration: Exploration
    strata: Strata
    settings: Settings


def write_page(corpus: Corpus, facts: PageFacts, uri: str) -> None:
    """Write the page.

    Args:
        corpus: Where the images are found.
        facts: What to show.
        uri: Where the page goes.
    """
    pairs = facts.exploration.borderline.to_pylist()
    threshold = facts.settings.config.dedup.threshold
    # Where the size of the page is limited, the pairs next to the threshold in force come first.
    nearest = sorted(pairs, key=lambda pair: abs(pair["threshold"] - threshold))
    ids = [pair[end] for pair in nearest for end in ("src", "dst")]
    with Tables(corpus, ["ingest"]) as tables:
        cards = tables.cards(ids)
        contents = _contents(tables, ids)
        thumbnails = make_thumbnails(tables, corpus.storage, _listed(ids), PIXELS)
    for pair in pairs:
        pair["items"] = [cards[pair["src"]], cards[pair["dst"]]]
        pair["key"] = digest(contents[pair["src"]], contents[pair["dst"]])[:16]
    corpus.storage.write(uri, render(corpus.uri, facts, pairs, thumbnails).encode())


def _listed(ids: list[int]) -> dict[str, Any]:
    """The ids as an audit that lists them, which is what thumbnails are made from."""
    shown = [{"pair": [{"item_id": each}]} for each in dict.fromkeys(ids)]
    return {"duplicates": {"closest_kept": shown}, "filter": None, "captions": None}


def _contents(tables: Tables, ids: list[int]) -> dict[int, str]:
    """Hashes of the images: labels kept in a browser must not pass to other images."""
    statement = "SELECT item_id, sha256 FROM items WHERE item_id IN (SELECT unnest(?::BIGINT[]))"
    return {row["item_id"]: row["sha256"] for row in tables.rows(statement, sorted(set(ids)))}


def render(corpus: str, facts: PageFacts, pairs: list[Row], thumbnails: Thumbnails) -> str:
    """The page as HTML.

    Everything that comes from the data is escaped, and the content security policy admits
    nothing but this page's own style and script, by their hashes, and ``data:`` images.

    Args:
        corpus: Its uri.
        facts: What to show.
        pairs: The borderline pairs, each with ``items`` (cards) and ``key``.
        thumbnails: Of their images.
    """
    environment = _environment()
    style = environment.get_template("style.css.j2").render(pixels=PIXELS)
    style += environment.get_template("explore.css.j2").render()
    script = environment.get_template("explore.js.j2").render()

    def thumbnail(item: Row) -> Thumbnail:
        return thumbnails.get((item["item_id"], False), _MISSING)

    dedup = facts.settings.config.dedup
    return environment.get_template("explore.html.j2").render(
        corpus=corpus,
        version=__version__,
        origin=facts.settings.origin,
        policy=keep_order(dedup),
        protect=dedup.protect.strip(),
        within=dedup.communities.within,
        current=dedup.threshold,
        digits=decimals(facts.exploration.summary["threshold"].to_pylist()),
        cut_digits=decimals(facts.strata.cuts.tolist()),
        count=facts.exploration.count,
        rows=facts.exploration.summary.to_pylist(),
        sections=_sections(facts, pairs),
        total=len(pairs),
        thumbnail=thumbnail,
        style=Markup(style),  # noqa: S704 - our own files, with one number filled in
        script=Markup(script),  # noqa: S704 - our own file
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _sections(facts: PageFacts, pairs: list[Row]) -> list[dict[str, Any]]:
    """A section per threshold that has pairs next to it, with its two slices."""
    cuts, counts = facts.strata.cuts.tolist(), facts.strata.counts.tolist()
    sections = []
    for threshold in facts.exploration.summary["threshold"].to_pylist():
        mine = [pair for pair in pairs if pair["threshold"] == threshold]
        at = cuts.index(threshold)
        slices = [
            {
                "side": side,
                "low": cuts[place],
                "high": cuts[place + 1] if place + 1 < len(cuts) else None,
                "count": counts[place],
                "pairs": [pair for pair in mine if pair["side"] == side],
            }
            for side, place in (("below", at - 1), ("above", at))
            if place >= 0
        ]
        if mine:
            sections.append({"threshold": threshold, "slices": slices})
    return sections


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader([_OWN, _REPORT]),
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
