"""``winnow embed``: vectors of any images, without a corpus."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipeline.console import Exit, err, failures, out

if TYPE_CHECKING:
    from pipeline.embedding import Embedded, Failure

_SAY_EVERY_S = 5.0


def embed(
    source: Annotated[
        str, typer.Argument(help="A folder, tar, Parquet or JSONL file, prefix or pattern.")
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", help="A .parquet file, anywhere storage reaches.")
    ],
    model: Annotated[
        str,
        typer.Option(
            help="builtin, open_clip/NAME/TAG or open_clip/NAME/FILE, open_clip/local-dir:PATH, "
            "open_clip/hf-hub:OWNER/NAME, or chinese_clip/PATH."
        ),
    ] = "builtin",
    checkpoint: Annotated[
        str | None, typer.Option(help="File with the weights of an open_clip model.")
    ] = None,
    model_config: Annotated[
        Path | None, typer.Option(help="JSON file of an open_clip architecture of your own.")
    ] = None,
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU cores to use.", min=1, max=256)] = 1,
    batch_size: Annotated[
        int, typer.Option(help="Images that go through the model at once.", min=1, max=65536)
    ] = 64,
    max_failed: Annotated[
        float,
        typer.Option(
            help="Share of unreadable images above which the exit code is 3.", min=0, max=1
        ),
    ] = 0.05,
) -> None:
    """Embed the images of any source into a file with the columns uri, key and vector.

    Images that cannot be read are listed on standard error, with the reason.

    Example: `winnow embed photos -o vectors.parquet --model open_clip/ViT-B-32/openai`
    """
    from pipeline.embedding import embed_source, embedder_settings
    from stages.sources import SourceSettings
    from stages.storage import Storage

    with failures():
        settings = embedder_settings(
            model,
            checkpoint=checkpoint,
            model_config_file=str(model_config) if model_config else None,
            precision=precision,
            device=device,
            threads=threads,
            batch_size=batch_size,
        )
        done = embed_source(
            SourceSettings(uri=source),
            output,
            settings,
            Storage(),
            report=_report,
            progress=_Progress(),
        )
    _conclude(done, max_failed)


def _report(failure: Failure) -> None:
    name = failure.uri if failure.uri.endswith(failure.key) else f"{failure.uri} {failure.key}"
    text = f"{name}: {failure.reason.value}: {failure.detail}"
    err.print(escape(text), highlight=False, soft_wrap=True)


class _Progress:
    """A line every few seconds."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, done: Embedded) -> None:
        if time.monotonic() - self._said > _SAY_EVERY_S:
            self._said = time.monotonic()
            rate = done.metrics["images_per_s"]
            err.print(f"{done.rows:,} vectors, {rate:,.0f} images/s", highlight=False)


def _conclude(done: Embedded, limit: float) -> None:
    out.print(
        escape(
            f"{done.rows:,} vectors of {done.dim} dimensions, "
            f"{done.metrics.get('images_per_s', 0):,.0f} images/s, the model without work "
            f"{done.metrics.get('wait_share', 0):.0%} of the time; {done.output}"
        ),
        highlight=False,
        soft_wrap=True,
    )
    if done.failed:
        reasons = ", ".join(f"{name} {count:,}" for name, count in done.reasons.most_common())
        err.print(f"{done.failed:,} images have no vector: {reasons}", highlight=False)
    if done.failed_share > limit:
        raise typer.Exit(Exit.QUARANTINE)
