"""The command line: ``winnow``. Every command is a thin call of what a notebook can call."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from pipeline.commands.caption import caption
from pipeline.commands.dedup import dedup
from pipeline.commands.embed import embed
from pipeline.commands.filter import filters
from pipeline.commands.generator import generator
from pipeline.commands.heads import train_head
from pipeline.commands.ocr import ocr
from pipeline.commands.pairs import pairs
from pipeline.console import ConfigPath, CorpusUri, Exit, Overrides, err, failures, open_corpus, out
from stages.contract import ConfigurationError

if TYPE_CHECKING:
    from pipeline.ledger import Ledger

app = typer.Typer(
    name="winnow",
    help="Data curation and deduplication for text-to-image training sets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(dedup)
app.add_typer(filters)
app.add_typer(pairs)
app.add_typer(generator)
app.command("train-head")(train_head)
app.command()(embed)
app.command()(caption)
app.command()(ocr)


def _show_version(wanted: bool) -> None:
    if wanted:
        from pipeline import __version__

        out.print(f"winnow {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def winnow(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Data curation and deduplication for text-to-image training sets."""


@app.command()
def run(config: ConfigPath, overrides: Overrides = None) -> None:
    """Run the whole line: what is up to date is skipped, the rest is computed.

    Example: `winnow run configs/quickstart.yaml --set source.uri=photos --set corpus=out`
    """
    from pipeline.config import load_config
    from pipeline.runner import Runner
    from pipeline.summary import print_result

    with failures():
        settings = load_config(config, overrides)
        runner = Runner(settings)
        result = runner.run()
        place = report_of(runner, result.ledger)
        print_result(out, settings, result, place)
        _exit_on_quarantine(result.ledger, settings.run.max_quarantine)


@app.command()
def stage(
    name: Annotated[str, typer.Argument(help="The stage, such as ocr.")],
    config: ConfigPath,
    force: Annotated[
        bool, typer.Option("--force", help="Compute it even where it is up to date.")
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Run one stage; what depends on it becomes stale when it changes.

    Example: `winnow stage ocr configs/quickstart.yaml --force`
    """
    from pipeline.config import load_config
    from pipeline.registry import stages_of
    from pipeline.runner import Runner
    from pipeline.summary import print_stages

    with failures():
        settings = load_config(config, overrides)
        names = [each.name for each in stages_of(settings)]
        if name not in names:
            raise ConfigurationError(f"no stage {name!r}; the stages are {', '.join(names)}")
        result = Runner(settings).run(name, force=force)
        print_stages(out, result)


@app.command()
def status(config: ConfigPath, overrides: Overrides = None) -> None:
    """Show the stages by partitions done, stale and missing, and the ledger.

    Example: `winnow status configs/quickstart.yaml`
    """
    from pipeline.config import load_config
    from pipeline.summary import print_status

    with failures():
        print_status(out, load_config(config, overrides))


@app.command()
def table(
    corpus: CorpusUri,
    name: Annotated[str, typer.Argument(help="The table, such as dedup.")],
    columns: Annotated[
        str | None,
        typer.Option(help="Columns, comma-separated; those of items (uri, key) may be named too."),
    ] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="A .parquet, .csv or .jsonl file.")
    ] = None,
) -> None:
    """Print a table as JSON lines, or write it to a file.

    Example: `winnow table out dedup --columns uri,keep,witness_id -o dedup.csv`
    """
    from pipeline.query import read_table, to_jsonl, write_rows
    from stages.storage import Storage

    with failures():
        storage = Storage()
        opened = open_corpus(corpus, storage)
        wanted = [each.strip() for each in columns.split(",")] if columns else None
        rows = read_table(opened, name, wanted)
        if output:
            write_rows(storage, rows, output)
            err.print(f"{rows.num_rows} rows written to {escape(output)}", highlight=False)
        else:
            sys.stdout.write(to_jsonl(rows))


@app.command()
def sql(
    corpus: CorpusUri,
    statement: Annotated[str, typer.Argument(help="A query; every table is a view.")],
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="A .parquet, .csv or .jsonl file.")
    ] = None,
) -> None:
    """Query the tables with SQL (DuckDB).

    Example: `winnow sql out "select reason, count(*) from quarantine group by reason"`
    """
    from pipeline.query import query, write_rows
    from pipeline.summary import print_rows
    from stages.storage import Storage

    with failures():
        storage = Storage()
        rows = query(open_corpus(corpus, storage), statement)
        if output:
            write_rows(storage, rows, output)
            err.print(f"{rows.num_rows} rows written to {escape(output)}", highlight=False)
        else:
            print_rows(out, rows)


@app.command()
def report(config: ConfigPath, overrides: Overrides = None) -> None:
    """Write the audit report again from the tables as they stand.

    Example: `winnow report configs/quickstart.yaml`
    """
    from pipeline.config import load_config
    from pipeline.report import write_report
    from pipeline.runner import current_ledger
    from stages.storage import Storage

    with failures():
        settings = load_config(config, overrides)
        corpus = open_corpus(settings.corpus, Storage(settings.storage))
        place = write_report(settings, corpus, current_ledger(settings, corpus), force=True)
        out.print(place, highlight=False, soft_wrap=True)


@app.command()
def demo(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Where all of it goes: demo-out, or world-out with --world."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample set.", min=0)] = 0,
    world: Annotated[
        bool, typer.Option("--world", help="Scenes of shapes that an oracle reads back.")
    ] = False,
    count: Annotated[
        int | None, typer.Option(help="Scenes of the world: 2000 by default.", min=1)
    ] = None,
) -> None:
    """Make a sample set of about 300 images with known truth, run the line, compare.

    Example: `winnow demo demo-out`, or `winnow demo --world world-out --count 2000`
    """
    with failures():
        if world:
            from pipeline.demo.world import run_world

            run_world(out, folder or Path("world-out"), count, seed)
            return
        if count is not None:
            raise ConfigurationError("--count is for --world: the sample set has its own size")
        from pipeline.demo.run import run_demo

        run_demo(out, folder or Path("demo-out"), seed)


@app.command()
def doctor(
    config: Annotated[
        Path | None, typer.Argument(help="Also check what this run would need.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Check the environment: double installs, GPU, threads, weights, buckets.

    Example: `winnow doctor configs/production.yaml`
    """
    from pipeline.doctor import diagnose, print_findings

    with failures():
        findings = diagnose(config, overrides)
        print_findings(out, findings)
    if any(each.level == "error" for each in findings):
        raise typer.Exit(Exit.FAILED)


@app.command()
def plan(
    config: ConfigPath,
    items: Annotated[int, typer.Option("--items", help="How many images there will be.")],
    dim: Annotated[int, typer.Option("--dim", help="Dimensions of a vector.")],
    gpus: Annotated[
        int | None, typer.Option("--gpus", help="GPUs of the run; by default this machine's.")
    ] = None,
    cores: Annotated[
        int | None, typer.Option("--cores", help="CPU cores of the run; by default this machine's.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure this machine first: about half a minute.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    overrides: Overrides = None,
) -> None:
    """Predict time, disk and memory of a run, step by step, before it starts.

    Example: `winnow plan configs/quickstart.yaml --items 1000000 --dim 512 --measure`
    """
    from pipeline.config import load_config
    from pipeline.plan import plan_json, plan_run, print_plan

    with failures():
        settings = load_config(config, overrides)
        if measure:
            err.print("measuring this machine for about half a minute", highlight=False)
        predicted = plan_run(settings, items, dim, gpus=gpus, cores=cores, measured=measure)
    if as_json:
        sys.stdout.write(plan_json(predicted) + "\n")
    else:
        print_plan(out, predicted)


def report_of(runner: Any, ledger: Any) -> str:  # noqa: ANN401 - heavy imports stay lazy
    """Write the report of a run that has just finished; returns where it is."""
    from pipeline.report import write_report

    return write_report(runner.config, runner.corpus, ledger)


def _exit_on_quarantine(ledger: Ledger, limit: float) -> None:
    if ledger.quarantined_share > limit:
        reasons = ", ".join(f"{name} {count:,}" for name, count in ledger.reasons.most_common(5))
        err.print(
            f"[bold yellow]{ledger.quarantined_share:.1%} of the items are in quarantine, more "
            f"than run.max_quarantine ({limit:.1%}) allows[/]: {reasons}. "
            "Files that are no images can be left out with source.exclude",
            highlight=False,
        )
        raise typer.Exit(Exit.QUARANTINE)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of the command ``winnow``."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # A scheduler's SIGTERM stops a run as Ctrl-C does: events closed, workers let go.
    signal.signal(signal.SIGTERM, _interrupt)
    code: object = 0
    try:
        app()
    except SystemExit as finished:
        code = finished.code
    sys.stdout.flush()
    sys.stderr.flush()
    # Native threads of the libraries may outlive the interpreter's shutdown, which then
    # aborts after all work is done: seen in 3 of 38 calls of `winnow status`.
    os._exit(code if isinstance(code, int) else int(bool(code)))


if __name__ == "__main__":
    main()
