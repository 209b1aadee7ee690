"""JSONL lists: one object with the path of an image per line."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from stages.contract import Reason
from stages.sources.base import (
    READ_ERRORS,
    Candidate,
    Piece,
    Reader,
    SourceFile,
    SourceSettings,
    Unit,
    error_row,
    error_row_or_raise,
)
from stages.sources.records import choose_columns, describe_record, locate_path
from stages.sources.texts import decode_text, parse_json
from stages.storage import Storage

#: Bytes of one unit. Fixed, so that a list that grows keeps the units it had.
RANGE = 128 * 1024
#: A longer line is taken for damage.
LINE_LIMIT = 16 << 20
_SAMPLE = 64 * 1024


class JsonlReader(Reader):
    """A unit is a range of bytes and owns the lines that begin in it."""

    def split(self, storage: Storage, file: SourceFile, settings: SourceSettings) -> list[Piece]:
        """Ranges of equal size."""
        del settings
        if file.stamp.startswith("!"):
            return [Piece(0, 1, 1)]
        with storage.open(file.uri) as stream:
            sample = stream.read_at(min(_SAMPLE, file.size), 0) if file.size else b""
        line = max(1, len(sample) // max(1, sample.count(b"\n")))
        pieces = []
        for start in range(0, file.size, RANGE):
            stop = min(start + RANGE, file.size)
            pieces.append(Piece(start, stop, max(1, (stop - start) // line)))
        return pieces

    def candidates(self, storage: Storage, unit: Unit) -> Iterator[Candidate]:
        """One candidate per line; a line that is no object with a path has a reason."""
        if unit.stamp.startswith("!"):
            yield error_row(unit, Reason.MISSING, f"{unit.uri} is no regular file")
            return
        settings = unit.source_settings()
        try:
            for position, line in lines_of(storage, unit.uri, unit.start, unit.stop):
                if line.strip(b"\xef\xbb\xbf \t\r\n"):
                    yield _of_line(storage, unit, settings, position, line)
        except READ_ERRORS as error:
            yield error_row_or_raise(storage, unit, error)


def lines_of(storage: Storage, uri: str, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """The lines that begin in a range of bytes, each with its position.

    A line that is longer than ``LINE_LIMIT`` is cut there.
    """
    with storage.open(uri) as file:
        stop = min(stop, file.size())
        # One byte early, to see whether a line begins right at the start.
        position = max(0, start - 1)
        data = file.read_at(max(0, stop - position), position)
        if start > 0:
            skipped = data.find(b"\n") + 1
            if skipped == 0:
                return
            data, position = data[skipped:], position + skipped
        if position < stop and not data.endswith(b"\n"):
            data += _rest_of_line(file, stop)
    for line in data.split(b"\n"):
        if position >= stop:
            return
        yield position, line[: LINE_LIMIT + 1]
        position += len(line) + 1


def _rest_of_line(file: pa.NativeFile, position: int) -> bytes:
    found = b""
    while len(found) <= LINE_LIMIT:
        more = file.read_at(RANGE, position)
        end = more.find(b"\n")
        if end >= 0 or not more:
            return found + more[: end + 1]
        found += more
        position += len(more)
    return found


def _of_line(
    storage: Storage, unit: Unit, settings: SourceSettings, position: int, line: bytes
) -> Candidate:
    name = f"{unit.uri.rsplit('/', 1)[-1]}@{position}"
    where = f"{unit.uri}: the line at byte {position}"
    if len(line) > LINE_LIMIT:
        detail = f"{where} is longer than {LINE_LIMIT} bytes"
        return error_row(unit, Reason.UNREADABLE, detail, key=name)
    try:
        record = parse_json(decode_text(line))
    except ValueError as error:
        detail = f"{where} is not JSON: {error}"[:500]
        return error_row(unit, Reason.UNREADABLE, detail, key=name)
    if not isinstance(record, dict):
        detail = f"{where} is not a JSON object"
        return error_row(unit, Reason.UNREADABLE, detail, key=name)
    columns = choose_columns(record, settings)
    path = record.pop(columns.path, None) if columns.path is not None else None
    base = locate_path(storage, path, unit, settings, name)
    return describe_record(base, record, columns, settings)
