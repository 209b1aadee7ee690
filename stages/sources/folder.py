"""Folders and prefixes of images: every file is a candidate, sidecars go with their image."""

from __future__ import annotations

from collections.abc import Iterator

from stages.contract import Reason
from stages.sources.base import (
    READ_ERRORS,
    SIDECAR_EXTENSIONS,
    Candidate,
    Piece,
    Reader,
    SourceFile,
    SourceSettings,
    Unit,
    error_row,
    extension,
    is_content_error,
)
from stages.sources.sidecars import SIDECAR_LIMIT, describe
from stages.storage import Storage

_PROBLEMS = {
    "!name": (
        Reason.UNSUPPORTED,
        "the file's name is not UTF-8, so no table can hold it: rename the file",
    ),
    "!link": (Reason.MISSING, "a link to a file that does not exist or may not be read"),
    "!special": (Reason.UNSUPPORTED, "not a regular file, but a pipe, socket or device"),
}


class FolderReader(Reader):
    """One file is one unit and one candidate; its content decides whether it is an image."""

    def split(self, storage: Storage, file: SourceFile, settings: SourceSettings) -> list[Piece]:
        """The file, whole."""
        del storage, file, settings
        return [Piece(0, 1, 1)]

    def candidates(self, storage: Storage, unit: Unit) -> Iterator[Candidate]:
        """The file, with what its sidecars say."""
        key = _key(unit)
        problem = _PROBLEMS.get(unit.stamp.split(";", 1)[0])
        if problem is not None:
            yield error_row(unit, *problem, key=key)
        elif extension(unit.uri) in SIDECAR_EXTENSIONS:
            name = unit.uri.rsplit("/", 1)[-1]
            detail = f"{name} describes an image of the same name, but there is none"
            yield error_row(unit, Reason.NO_IMAGE, detail, key=key)
        else:
            description = describe(
                ((_part(unit.uri, uri), _read(storage, uri)) for uri in unit.sidecars),
                unit.source_settings().language,
            )
            yield Candidate(uri=unit.uri, key=key, source=unit.source, **vars(description))


def _key(unit: Unit) -> str:
    """The path below the source, or the name where it is the source itself."""
    inside = unit.uri.removeprefix(unit.source.rstrip("/") + "/")
    return inside if inside != unit.uri else unit.uri.rsplit("/", 1)[-1]


def _part(image: str, sidecar: str) -> str:
    """The sidecar's name less the image's stem: ``txt``, or ``jpg.json``."""
    return sidecar.removeprefix(image.rsplit(".", 1)[0] + ".")


def _read(storage: Storage, uri: str) -> bytes | None:
    try:
        with storage.open(uri) as file:
            return file.read() if file.size() <= SIDECAR_LIMIT else None
    except READ_ERRORS as error:
        if not is_content_error(storage, uri, error):
            raise
        return None
