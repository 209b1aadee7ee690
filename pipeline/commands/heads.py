"""``winnow train-head``: a score of your own, from labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.console import CorpusUri, failures, open_corpus, out


def train_head(
    corpus: CorpusUri,
    labels: Annotated[
        Path,
        typer.Argument(help="CSV with item_id, uri or key, and label: 0 or 1, no or yes."),
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", help="Where the head goes, a .safetensors file.")
    ],
    table: Annotated[str, typer.Option(help="The table of vectors.")] = "embed",
    name: Annotated[
        str | None,
        typer.Option(help="What it scores; by default as the file.", show_default=False),
    ] = None,
    hidden: Annotated[
        int, typer.Option(help="Width of a hidden layer; 0: logistic regression.", min=0, max=4096)
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the split, and of the hidden layer.", min=0)] = 0,
    config: Annotated[
        Path | None,
        typer.Option(help="The configuration that made the vectors, if the corpus lacks it."),
    ] = None,
) -> None:
    """Train a score on labelled images of a corpus, and measure it on images held out.

    Example: `winnow train-head out labels.csv -o heads/watermark.safetensors`
    """
    from pipeline.config import load_config
    from pipeline.heads import train_head as train
    from pipeline.heads.show import print_trained
    from stages.storage import Storage

    with failures():
        storage = Storage(load_config(config).storage if config else None)
        opened = open_corpus(corpus, storage)
        trained = train(
            opened, labels, output, table=table, name=name, hidden=hidden, seed=seed, config=config
        )
        print_trained(out, trained)
