"""``winnow filter``: what clauses would drop, before they do."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pipeline.console import ConfigPath, Overrides, failures, open_corpus, out

filters = typer.Typer(
    name="filter",
    no_args_is_help=True,
    help="""What filter clauses would drop, before they do.

    Example: `winnow filter explore configs/quickstart.yaml`
    """,
)


@filters.callback()
def _group() -> None:
    """What filter clauses would drop, before they do."""


@filters.command()
def explore(
    config: ConfigPath,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    overrides: Overrides = None,
) -> None:
    """Show quantiles of every signal and score, and what each clause drops.

    "alone" counts what a clause drops if it is the only one, "on top" what no other clause
    drops, "in order" what it drops of those that the clauses before have left.

    Example: `winnow filter explore run.yaml --set 'filter.clauses.sharp=sharpness > 30'`
    """
    from pipeline.config import load_config
    from pipeline.filters import explore_filters
    from pipeline.filters.show import print_exploration
    from pipeline.runner import check_stage
    from stages.filter import FilterStage
    from stages.storage import Storage

    with failures():
        settings = load_config(config, overrides)
        storage = Storage(settings.storage)
        check_stage(FilterStage, settings, storage)
        found = explore_filters(settings, open_corpus(settings.corpus, storage))
        if as_json:
            sys.stdout.write(found.to_json() + "\n")
        else:
            print_exploration(out, found)
