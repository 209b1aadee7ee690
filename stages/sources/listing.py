"""Which files a source holds, and what belongs together."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pyarrow import fs

from stages.contract import ConfigurationError
from stages.sources.base import (
    IMAGE_EXTENSIONS,
    SIDECAR_EXTENSIONS,
    Kind,
    SourceFile,
    SourceSettings,
    extension,
)
from stages.storage import Storage

_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_ENDINGS: dict[Kind, tuple[str, ...]] = {
    "tar": _TAR_ENDINGS,
    "parquet": (".parquet",),
    "jsonl": (".jsonl", ".ndjson"),
    "video": (
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts"),
        *(".mts", ".flv", ".wmv", ".asf", ".ogv", ".3gp", ".mxf", ".h264", ".hevc", ".ivf"),
    ),
}


@dataclass(frozen=True)
class _Found:
    file: SourceFile
    relative: str


def canonical(storage: Storage, uri: str) -> str:
    """One spelling for every way to name a place: absolute local paths, no doubled slashes."""
    if storage.is_local(uri):
        return os.path.normpath(storage.locate(uri)[1])
    scheme, path = uri.split("://", 1)
    return f"{scheme}://{re.sub('/+', '/', path).rstrip('/')}"


def list_source(
    storage: Storage, settings: SourceSettings, *, skip: str | None = None
) -> tuple[Kind, list[SourceFile]]:
    """The files of a source in the order of their uris.

    Args:
        storage: Where uris are resolved.
        settings: The source.
        skip: A folder whose files are no input: the corpus, where it lies in the source.

    Returns:
        What kind of source it is, and its files; in a folder every file counts, in the
        other kinds those of that kind.

    Raises:
        ConfigurationError: If the source does not exist.
    """
    found: list[_Found] = []
    for uri in _expand(storage, settings.uri):
        found.extend(_without(storage, uri, skip, _list_one(storage, uri)))
    found = [one for one in found if not _excluded(one.relative, settings.exclude)]
    unique = {one.file.uri: one.file for one in found}
    files = [unique[uri] for uri in sorted(unique)]
    kind = settings.kind if settings.kind != "auto" else _kind_of(files)
    if kind == "folder":
        return kind, pair_sidecars(files)
    return kind, _of_kind(kind, files, single=len(files) == 1)


def _without(storage: Storage, uri: str, skip: str | None, found: list[_Found]) -> list[_Found]:
    base = canonical(storage, uri)
    inner = canonical(storage, skip) if skip is not None else None
    if inner == base:
        raise ConfigurationError(
            f"{uri} is both a source and the corpus: give the corpus a folder of its own"
        )
    if inner is None or not inner.startswith(base.rstrip("/") + "/"):
        return found
    return [one for one in found if not one.file.uri.startswith(inner + "/")]


def _excluded(relative: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(relative, pattern) for pattern in patterns)


def _kind_of(files: Sequence[SourceFile]) -> Kind:
    if any(extension(file.uri) in IMAGE_EXTENSIONS for file in files):
        return "folder"
    for kind, endings in _ENDINGS.items():
        if any(file.uri.lower().endswith(endings) for file in files):
            return kind
    return "folder"


def _of_kind(kind: Kind, files: list[SourceFile], *, single: bool) -> list[SourceFile]:
    if single:  # a file that is named, with its kind, may be called anything
        return files
    return [file for file in files if file.uri.lower().endswith(_ENDINGS[kind])]


def pair_sidecars(files: Sequence[SourceFile]) -> list[SourceFile]:
    """Give every image the ``.txt``, ``.caption`` and ``.json`` files of its name.

    ``a.jpg`` takes ``a.txt`` and ``a.jpg.txt``; images that share a stem share the first.
    Sidecars of no image stay in the list by themselves.
    """
    by_name = {file.uri: file for file in files}
    used: set[str] = set()
    paired: list[SourceFile] = []
    sidecars = _sidecars_by_owner(files)
    for file in files:
        if extension(file.uri) not in IMAGE_EXTENSIONS:
            continue
        stem = file.uri.rsplit(".", 1)[0]
        names = sorted({*sidecars.get(stem, ()), *sidecars.get(file.uri, ())})
        used.update(names)
        stamp = ";".join([file.stamp, *(by_name[name].stamp for name in names)])
        paired.append(replace(file, stamp=stamp, sidecars=tuple(names)))
    others = [
        file
        for file in files
        if extension(file.uri) not in IMAGE_EXTENSIONS and file.uri not in used
    ]
    return sorted([*paired, *others], key=lambda file: file.uri)


def _sidecars_by_owner(files: Sequence[SourceFile]) -> dict[str, list[str]]:
    owners: dict[str, list[str]] = {}
    for file in files:
        if extension(file.uri) in SIDECAR_EXTENSIONS and not file.stamp.startswith("!"):
            owners.setdefault(file.uri.rsplit(".", 1)[0], []).append(file.uri)
    return owners


def _expand(storage: Storage, uri: str) -> list[str]:
    """The uris a pattern names; a file that is really called so wins over the pattern."""
    if not re.search(r"[{*?\[]", uri):
        return [uri]
    if storage.is_local(uri) and storage.exists(uri):
        return [uri]
    expanded: list[str] = []
    for one in _braces(uri):
        expanded.extend(_matches(storage, one) if re.search(r"[*?\[]", one) else [one])
    if not expanded:
        raise ConfigurationError(f"source {uri} matches no file: correct the pattern")
    return expanded


def _braces(text: str) -> Iterator[str]:
    match = re.search(r"\{([^{}]*)\}", text)
    if match is None:
        yield text
        return
    for choice in _choices(match.group(1)):
        yield from _braces(text[: match.start()] + choice + text[match.end() :])


def _choices(body: str) -> list[str]:
    span = re.fullmatch(r"(\d+)\.\.(\d+)", body)
    if span is None:
        return body.split(",")
    first, last = span.groups()
    if int(last) - int(first) >= 10_000_000:
        raise ConfigurationError(f"pattern {{{body}}} names more than 10,000,000 files")
    width = len(first) if first.startswith("0") else 0
    return [str(number).zfill(width) for number in range(int(first), int(last) + 1)]


def fixed_place(uri: str) -> str:
    """The folder a pattern starts in; a uri without a pattern is its own."""
    fixed = re.split(r"[{*?\[]", uri, maxsplit=1)[0]
    if fixed == uri:
        return uri
    return fixed.rsplit("/", 1)[0] or "/" if "/" in fixed else "."


def _matches(storage: Storage, pattern: str) -> list[str]:
    folder = fixed_place(pattern)
    wanted = canonical(storage, pattern)
    uris = (one.file.uri for one in _list_one(storage, folder))
    return [uri for uri in uris if fnmatch.fnmatchcase(uri, wanted)]


def _list_one(storage: Storage, uri: str) -> list[_Found]:
    base = canonical(storage, uri)
    if storage.is_local(uri):
        return list(_list_local(Path(base)))
    info = storage.info(base)
    if info.is_file:
        return [_Found(_remote_file(base, info), base.rsplit("/", 1)[-1])]
    if info.type == fs.FileType.NotFound:
        raise ConfigurationError(f"source {uri} does not exist: correct the uri")
    uris = [(canonical(storage, storage.uri_of(base, one)), one) for one in storage.files(base)]
    return [_Found(_remote_file(one, info), one.removeprefix(base + "/")) for one, info in uris]


def _remote_file(uri: str, info: fs.FileInfo) -> SourceFile:
    size = info.size or 0
    return SourceFile(uri, size, f"{size}-{info.mtime_ns or 0}")


def _list_local(base: Path) -> Iterator[_Found]:
    # Arrow's listing leaves out dangling links and pipes, fails on names that are not UTF-8,
    # and goes round in circles of links.
    if not base.is_dir():
        if not os.path.lexists(base):
            raise ConfigurationError(f"source {base} does not exist: correct the path")
        yield _Found(_local_file(str(base)), base.name)
        return
    yield from _walk(str(base), len(str(base).rstrip("/")) + 1, frozenset())


def _walk(folder: str, cut: int, above: frozenset[tuple[int, int]]) -> Iterator[_Found]:
    status = Path(folder).stat()
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link to a folder we are inside of: its files are listed already
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise ConfigurationError(f"folder {folder} cannot be listed: {error}") from error
    for entry in entries:
        try:
            is_folder = entry.is_dir()
        except OSError:
            is_folder = False
        if is_folder:
            yield from _walk(entry.path, cut, above | {here})
        else:
            file = _local_file(entry.path)
            yield _Found(file, file.uri[cut:])


def _local_file(path: str) -> SourceFile:
    try:
        path.encode()
    except UnicodeEncodeError:
        printable = os.fsencode(path).decode("utf-8", errors="backslashreplace")
        return SourceFile(printable, 0, "!name")
    try:
        status = Path(path).stat()
    except OSError:
        return SourceFile(path, 0, "!link")
    if not stat.S_ISREG(status.st_mode):
        return SourceFile(path, 0, "!special")
    return SourceFile(path, status.st_size, f"{status.st_size}-{status.st_mtime_ns}")
