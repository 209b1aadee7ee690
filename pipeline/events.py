"""What happened in a run: ``events.jsonl`` for machines, progress for people."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from stages.storage import Storage

_PLAIN_EVERY_S = 5.0
_UPLOAD_EVERY_S = 10.0


class EventLog:
    """Appends events to ``<run>/events.jsonl``.

    Locally each event is in the file when ``write`` returns. Object stores cannot append: there
    the file is put again every ten seconds, less often when it has grown large, and at the end.

    Args:
        storage: Where uris are resolved.
        uri: The file.
    """

    def __init__(self, storage: Storage, uri: str) -> None:
        self._storage = storage
        self._uri = uri
        self._lines: list[str] = []
        self._uploaded = time.monotonic()
        self._pause = _UPLOAD_EVERY_S
        self._file: IO[str] | None = None
        if storage.is_local(uri):
            from pathlib import Path

            path = Path(storage.locate(uri)[1])
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, event: str, **fields: Any) -> None:  # noqa: ANN401 - JSON values
        """Add one event with the time in UTC."""
        record = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
        line = json.dumps({**record, **fields}, ensure_ascii=False, default=str)
        if self._file is not None:
            self._file.write(line + "\n")
            return
        self._lines.append(line)
        if time.monotonic() - self._uploaded > self._pause:
            self._upload()

    def _upload(self) -> None:
        started = time.monotonic()
        self._storage.write(self._uri, ("\n".join(self._lines) + "\n").encode())
        self._uploaded = time.monotonic()
        # A file that grows without end must not take the run's time.
        self._pause = max(_UPLOAD_EVERY_S, 20 * (self._uploaded - started))

    def close(self) -> None:
        """Put what is left."""
        if self._file is not None:
            self._file.close()
        elif self._lines:
            self._upload()


class StageProgress:
    """One stage's progress: a bar on a terminal, a plain line every few seconds elsewhere.

    Args:
        stage: Its name.
        partitions: How many there are to do.
        skipped: How many are up to date already.
        stream: Where to write; standard error by default.
    """

    def __init__(
        self, stage: str, partitions: int, skipped: int = 0, stream: IO[str] | None = None
    ) -> None:
        self._stage = stage
        self._total = partitions
        self._skipped = skipped
        self._stream = stream or sys.stderr
        self._done = self._items = self._quarantined = 0
        self._started = self._said = time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> StageProgress:
        if self._stream.isatty():
            self._bar = _bar(Console(file=self._stream))
            self._bar.start()
            self._task = self._bar.add_task(self._stage, total=self._total, rate="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif kind is None:
            self._say()

    def advance(self, items: int, quarantined: int) -> None:
        """One more partition is done."""
        self._done += 1
        self._items += items
        self._quarantined += quarantined
        if self._bar is not None:
            self._bar.update(self._task, advance=1, rate=self._rate())
        elif self._done < self._total and time.monotonic() - self._said > _PLAIN_EVERY_S:
            self._say()

    def _rate(self) -> str:
        return f"{self._items / max(time.monotonic() - self._started, 1e-9):,.0f} items/s"

    def _say(self) -> None:
        self._said = time.monotonic()
        if not self._total:
            text = f"{self._stage}: up to date ({self._skipped} partitions)"
        else:
            text = (
                f"{self._stage}: {self._done:,}/{self._total:,} partitions, {self._items:,} items, "
                f"{self._quarantined:,} quarantined, {self._rate()}{self._left()}"
            )
        self._stream.write(text + "\n")
        self._stream.flush()

    def _left(self) -> str:
        if not 0 < self._done < self._total:
            return ""
        elapsed = time.monotonic() - self._started
        return f", {elapsed * (self._total - self._done) / self._done:.0f} s left"


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<8}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
