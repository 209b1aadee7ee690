"""Events for machines, progress for people."""

from __future__ import annotations

import io
import json
import os
import re
import threading
import uuid
from pathlib import Path

import pytest

from pipeline import events
from pipeline.events import EventLog, StageProgress
from stages.storage import Storage
from tests.conftest import S3Server


def read(storage: Storage, uri: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in storage.read(uri).decode().splitlines()]


def test_a_local_event_can_be_read_at_once(tmp_path: Path) -> None:
    uri = str(tmp_path / "runs" / "r" / "events.jsonl")
    log = EventLog(Storage(), uri)
    log.write("partition", stage="ocr", path=Path("图"), seconds=0.5)
    (event,) = read(Storage(), uri)
    assert event == {**event, "event": "partition", "path": "图", "seconds": 0.5}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", str(event["time"]))
    log.write("run_end")
    log.close()
    assert [each["event"] for each in read(Storage(), uri)] == ["partition", "run_end"]


def test_events_on_object_storage_are_put_now_and_then_and_at_the_end(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = f"events-{uuid.uuid4().hex[:8]}"
    s3.filesystem().create_dir(bucket)
    storage, uri = Storage(), f"s3://{bucket}/runs/r/events.jsonl"
    monkeypatch.setattr(events, "_UPLOAD_EVERY_S", 0.0)
    log = EventLog(storage, uri)
    log.write("first")
    assert [each["event"] for each in read(storage, uri)] == ["first"]
    # The pause grows with what an upload takes.
    log.write("second")
    log.write("third")
    assert len(read(storage, uri)) < 3
    log.close()
    assert [each["event"] for each in read(storage, uri)] == ["first", "second", "third"]


def test_without_a_terminal_there_are_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    with StageProgress("ocr", 4, 1, stream) as progress:
        progress.advance(100, 2)
        assert stream.getvalue() == ""
        monkeypatch.setattr(events, "_PLAIN_EVERY_S", 0.0)
        progress.advance(100, 0)
        line = stream.getvalue()
        assert re.fullmatch(
            r"ocr: 2/4 partitions, 200 items, 2 quarantined, [\d,]+ items/s, \d+ s left\n", line
        )
        monkeypatch.setattr(events, "_PLAIN_EVERY_S", 5.0)
        progress.advance(50, 0)
        progress.advance(50, 0)
    last = stream.getvalue().splitlines()[-1]
    assert re.fullmatch(r"ocr: 4/4 partitions, 300 items, 2 quarantined, [\d,]+ items/s", last)


def test_a_stage_that_is_up_to_date_says_so() -> None:
    stream = io.StringIO()
    with StageProgress("embed", 0, 7, stream):
        pass
    assert stream.getvalue() == "embed: up to date (7 partitions)\n"


def fail(stream: io.StringIO) -> None:
    with StageProgress("embed", 3, 0, stream):
        raise RuntimeError("no")


def test_a_stage_that_fails_does_not_say_how_far_it_came() -> None:
    stream = io.StringIO()
    with pytest.raises(RuntimeError):
        fail(stream)
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar() -> None:
    pty = pytest.importorskip("pty")
    reader, writer = pty.openpty()
    shown = bytearray()

    def drain() -> None:
        try:
            while chunk := os.read(reader, 4096):
                shown.extend(chunk)
        except OSError:  # the other end is closed
            return

    watcher = threading.Thread(target=drain)
    watcher.start()
    with os.fdopen(writer, "w") as terminal:
        assert terminal.isatty()
        with StageProgress("profile", 3, 0, terminal) as progress:
            for _ in range(3):
                progress.advance(10, 0)
    watcher.join(timeout=10)
    os.close(reader)
    text = shown.decode()
    assert "profile" in text
    assert "3/3" in text
    assert "items/s" in text
    assert "partitions," not in text
