"""``winnow pairs``: rendered texts whose editing instructions are exact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from pipeline.console import failures, out

pairs = typer.Typer(
    name="pairs",
    no_args_is_help=True,
    help="""Editing pairs: images that are alike and differ, with the instruction between them.

    Pairs of a corpus are made by its stage `pairs` (set `pairs.enabled=true`).

    Example: `winnow pairs render -o posters --count 100`
    """,
)


@pairs.callback()
def _group() -> None:
    """Editing pairs; one command alone would lose its name."""


@pairs.command()
def render(
    output: Annotated[Path, typer.Option("-o", "--output", help="A new folder.")],
    count: Annotated[int, typer.Option(help="Groups of images.", min=1, max=1_000_000)] = 100,
    seed: Annotated[int, typer.Option(help="Of all choices.", min=0)] = 0,
    edits: Annotated[
        int, typer.Option(help="Edits in each group; N of them make N(N+1) pairs.", min=1, max=20)
    ] = 3,
    change: Annotated[
        list[str] | None,
        typer.Option(help="content, font, colour, size or position; may be repeated. All of them."),
    ] = None,
    font: Annotated[
        list[Path] | None, typer.Option(help="A further font file; may be repeated.")
    ] = None,
) -> None:
    """Draw texts and versions of them that differ in content, font, colour, size or position.

    Writes images, `images.jsonl` (a source for `winnow run`, with all truth as metadata) and
    `pairs.jsonl` (every ordered pair with its exact instruction in English and Chinese).

    Example: `winnow pairs render -o posters --count 100 --seed 1 --change colour --change size`
    """
    from pipeline.rendered import render_pairs

    with failures():
        # Any words: wrong ones have a clear error.
        attributes: dict[str, Any] = {"attributes": change} if change else {}
        done = render_pairs(output, count, seed, edits=edits, fonts=font or (), **attributes)
        out.print(
            f"{done.images} images and {done.pairs} pairs in {escape(str(output))}",
            f"as a source: {escape(str(done.source))}",
            sep="\n",
            highlight=False,
            soft_wrap=True,
        )
