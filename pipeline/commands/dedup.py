"""``winnow dedup``: duplicates among vectors, and the threshold that tells them."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pipeline.console import CorpusUri, failures, open_corpus, out


class _VectorsByDefault(TyperGroup):
    """``winnow dedup FILE ...`` stands for ``winnow dedup vectors FILE ...``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's own
        first = args[0] if args else "--help"
        # A word without an ending that is almost a command is a slip, and no file of vectors.
        slip = not Path(first).suffix and get_close_matches(first, self.commands)
        if first not in self.commands and first != "--help" and not slip:
            args = ["vectors", *args]
        return super().parse_args(ctx, args)


dedup = typer.Typer(
    name="dedup",
    cls=_VectorsByDefault,
    no_args_is_help=True,
    help="""Duplicates among vectors, and the threshold that tells them.

    Examples: `winnow dedup vectors.npy --threshold 0.9 -o duplicates.parquet`,
    `winnow dedup explore out`, `winnow dedup label out pairs.csv`
    """,
)

Grid = Annotated[
    str | None,
    typer.Option(
        metavar="LOW:HIGH:STEP", help="Thresholds, such as 0.7:0.99:0.01.", show_default=False
    ),
]


@dedup.command()
def vectors(
    vectors: Annotated[Path, typer.Argument(help="Embeddings: .npy (n, d), or .parquet.")],
    threshold: Annotated[
        float, typer.Option(help="Least cosine similarity of duplicates.", min=-1, max=1)
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", help="A .parquet file, anywhere storage reaches.")
    ],
    column: Annotated[str, typer.Option(help="Column of vectors in a Parquet file.")] = "vector",
    seed: Annotated[int, typer.Option(help="Seed of the communities.", min=0)] = 0,
) -> None:
    """Deduplicate vectors without a corpus; writes row, cluster, keep, witness, similarity.

    Example: `winnow dedup vectors.npy --threshold 0.9 -o duplicates.parquet`
    """
    from pipeline.vectors import deduplicate_file

    with failures():
        summary = deduplicate_file(vectors, threshold, output, column, seed)
    out.print(summary, highlight=False)


@dedup.command()
def explore(
    corpus: CorpusUri,
    grid: Grid = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="The page; by default report/thresholds.html below the corpus.",
            show_default=False,
        ),
    ] = None,
    pairs: Annotated[
        int, typer.Option(help="Pairs shown on either side of each threshold.", min=0, max=1000)
    ] = 6,
    seed: Annotated[int, typer.Option(help="Other seeds show other pairs.", min=0)] = 0,
    config: Annotated[
        Path | None,
        typer.Option(help="Keep policy and threshold of this file, not of the corpus' own run."),
    ] = None,
) -> None:
    """Show what each threshold would remove, and write a page of borderline pairs to label.

    Example: `winnow dedup explore out --grid 0.8:0.95:0.01 -o thresholds.html`
    """
    from pipeline.config import load_config
    from pipeline.explore import explore_corpus
    from pipeline.explore.show import print_explored
    from stages.storage import Storage

    with failures():
        storage = Storage(load_config(config).storage if config else None)
        opened = open_corpus(corpus, storage)
        print_explored(out, explore_corpus(opened, grid, output, config, pairs, seed))


@dedup.command()
def label(
    corpus: CorpusUri,
    pairs: Annotated[
        list[Path], typer.Argument(help="CSV files with src, dst, label (yes, no, unsure).")
    ],
    precision: Annotated[
        float, typer.Option(help="Wished share of yes among the pairs at or above the threshold.")
    ] = 0.98,
    grid: Grid = None,
) -> None:
    """Name the lowest threshold that labelled pairs can promise a precision for.

    Example: `winnow dedup label out pairs.csv --precision 0.98`
    """
    from pipeline.explore import label_corpus
    from pipeline.explore.show import print_choice, print_curve, print_judged
    from stages.storage import Storage

    with failures():
        labelled = label_corpus(open_corpus(corpus, Storage()), pairs, grid)
        print_curve(out, labelled.curve)
        print_judged(out, labelled.judged)
        print_choice(out, labelled.choose(precision))
