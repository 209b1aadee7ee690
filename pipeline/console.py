"""What all commands share: where they print, how they fail, the arguments they have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from stages.contract import ConfigurationError, StageError

if TYPE_CHECKING:
    from stages.corpus import Corpus
    from stages.storage import Storage

out = Console()
err = Console(stderr=True)


class Exit(IntEnum):
    """Exit codes, for scripts and schedulers."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    QUARANTINE = 3
    INTERRUPTED = 130


ConfigPath = Annotated[Path, typer.Argument(help="YAML file that describes the run.")]
CorpusUri = Annotated[str, typer.Argument(help="Folder or prefix that holds the tables.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override a setting; may be repeated."),
]


@contextmanager
def failures() -> Iterator[None]:
    """Turn known failures into one clear message and the right exit code."""
    from pipeline.ledger import LedgerError

    try:
        yield
    except ConfigurationError as error:
        err.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        raise typer.Exit(Exit.USAGE) from None
    except KeyboardInterrupt:
        err.print("interrupted; what is done is kept, the same command goes on from there")
        raise typer.Exit(Exit.INTERRUPTED) from None
    except BrokenPipeError:
        raise  # of `winnow table ... | head`: click ends quietly
    except (StageError, LedgerError, OSError) as error:
        err.print(f"[bold red]failed:[/] {escape(str(error))}", highlight=False)
        raise typer.Exit(Exit.FAILED) from None


def open_corpus(uri: str, storage: Storage) -> Corpus:
    """A corpus that is there.

    Raises:
        ConfigurationError: If it is not, or cannot be reached.
    """
    from stages.corpus import Corpus

    storage.check(uri)
    corpus = Corpus(uri, storage)
    if not corpus.partitions():
        raise ConfigurationError(f"{uri} holds no corpus: correct the path, or run the line first")
    return corpus
