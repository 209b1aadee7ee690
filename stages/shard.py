"""Stage ``shard``: training-ready WebDataset tars of what is kept, original bytes untouched."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

import pyarrow as pa
from pydantic import Field

from stages.contract import (
    ALL_COLUMNS,
    CorpusOutput,
    CorpusStage,
    Executor,
    ItemError,
    Reads,
    Resources,
    StageError,
    StageSettings,
)
from stages.corpus import Corpus, digest
from stages.images import IMAGE_COLUMNS, read_images
from stages.schemas import CAPTION, CAPTION_LANGUAGES, CAPTION_LEVELS, PROFILE, SHARDS
from stages.storage import Storage, child

#: File extension of a sample by the format found in its bytes.
EXTENSIONS = {
    "jpeg": "jpg",
    "mpo": "jpg",
    "tiff": "tif",
    "jpeg2000": "jp2",
    "dib": "bmp",
}

_PIECES = "_pieces"
_ITEM_COLUMNS = (
    *IMAGE_COLUMNS,
    *("source", "sha256", "bytes", "format", "width", "height", "orientation"),
    *("alt_text", "language", "meta"),
)
_DEDUP_COLUMNS = ("component", "cluster", "variant", "subject")
_PROFILE_COLUMNS = tuple(PROFILE.names[1:])
_CAPTION_COLUMNS = tuple(CAPTION.names[1:])
#: Columns of a joined row that are no score: those of scores depend on the configuration.
_NO_SCORES = {
    *("item_id", "lines", *_ITEM_COLUMNS),
    *(*_DEDUP_COLUMNS, *_PROFILE_COLUMNS, *_CAPTION_COLUMNS),
}


class ShardSettings(StageSettings):
    """Sizes of the shards."""

    max_samples: int = Field(default=10_000, ge=1, le=1_000_000)
    """Most samples in one tar."""
    max_mb: int = Field(default=1024, ge=1, le=65_536)
    """Most image bytes in one tar, in MiB; a larger single image gets a tar of its own."""


@dataclass(frozen=True)
class _Piece:
    """One tar to write."""

    number: int
    rows: pa.Table
    recipe: str

    @property
    def name(self) -> str:
        return f"shard-{self.number:06d}.tar"


class ShardStage(CorpusStage):
    """Writes ``shards/shard-000000.tar`` and on, and ``shards/index.json``.

    A sample is the image's own bytes and a ``.json`` with captions, text, signals, cluster and
    provenance. Members are sorted and carry no times or owners, so the same input gives the
    same bytes. A tar that is up to date is not written again.
    """

    name = "shard"
    version = 2
    writes = ("shards",)
    reads = (
        Reads("items", _ITEM_COLUMNS),
        Reads("profile", _PROFILE_COLUMNS),
        Reads("score", ALL_COLUMNS),
        Reads("dedup", _DEDUP_COLUMNS, where="keep"),
        Reads("ocr", ("lines",)),
        Reads("caption", _CAPTION_COLUMNS),
    )

    def run(self, corpus: Corpus, executor: Executor, recipe: str) -> CorpusOutput:
        """Cut the kept items into shards, write them, then the index."""
        rows = corpus.join(self.reads)
        pieces = self._cut(rows)
        write = partial(_write_piece, self.storage, corpus.place("shards"))
        entries = list(executor.map(write, pieces, Resources()))
        index = _index(entries)
        text = json.dumps(index, ensure_ascii=False, indent=1, sort_keys=True)
        self.storage.write(corpus.place("shards", "index.json"), text.encode())
        _remove_others(self.storage, corpus.place("shards"), {piece.name for piece in pieces})
        del recipe  # each shard is stamped with a hash of its own rows
        table = _table(rows, pieces)
        return CorpusOutput({"shards": table}, {"shards": len(pieces), "bytes": index["bytes"]})

    def intact(self, corpus: Corpus) -> bool:
        """Whether the index and all tars are there."""
        folder = corpus.place("shards")
        names = [str(each.path).rpartition("/")[2] for each in self.storage.files(folder)]
        tars = {name for name in names if name.endswith(".tar")}
        noted = {name.removesuffix(".json") for name in names if name.endswith(".tar.json")}
        return "index.json" in names and tars == noted

    def discard(self, corpus: Corpus) -> None:
        """Forget which tars are up to date, so that all are written again."""
        self.storage.remove_folder(corpus.place("shards", _PIECES))

    def _cut(self, rows: pa.Table) -> list[_Piece]:
        limit = self.settings.max_mb << 20
        sizes = rows.column("bytes").to_pylist()
        starts, count, total = [0], 0, 0
        for row, size in enumerate(sizes):
            if count and (count >= self.settings.max_samples or total + size > limit):
                starts.append(row)
                count, total = 0, 0
            count += 1
            total += size
        stops = [*starts[1:], rows.num_rows]
        cuts = [rows.slice(a, b - a) for a, b in zip(starts, stops, strict=True) if b > a]
        return [
            _Piece(number, cut, digest(self.version, _samples_digest(cut)))
            for number, cut in enumerate(cuts)
        ]


def sample_key(item_id: int) -> str:
    """The key of an item inside its shard: fixed width, so that keys sort as ids do."""
    return f"{item_id:016d}"


def sample_json(row: dict[str, Any]) -> dict[str, Any]:
    """What stands beside an image in a shard.

    Args:
        row: The joined row of an item.

    Returns:
        JSON-ready values: size, captions by language and level, text found in the image,
        signals, scores, cluster, and where the image came from.
    """
    captions = {
        language: {level: row[f"{language}_{level}"] for level in CAPTION_LEVELS}
        for language in CAPTION_LANGUAGES
    }
    checks = {name: row[name] for name in ("backend", "ocr_coverage", "flags")}
    origin = ("uri", "container", "member", "offset", "length", "key", "source", "sha256")
    return {
        "item_id": row["item_id"],
        "width": row["width"],
        "height": row["height"],
        "format": row["format"],
        "orientation": row["orientation"],
        "captions": captions,
        "caption_checks": checks,
        "alt_text": row["alt_text"],
        "language": row["language"],
        "meta": json.loads(row["meta"]) if row["meta"] else None,
        "ocr": row["lines"],
        "signals": {name: row[name] for name in _PROFILE_COLUMNS},
        "scores": {name: value for name, value in row.items() if name not in _NO_SCORES},
        "cluster": {name: row[name] for name in _DEDUP_COLUMNS},
        "provenance": {name: row[name] for name in origin},
    }


def _samples_digest(rows: pa.Table) -> str:
    return digest([sample_json(row) for row in rows.to_pylist()])


def _write_piece(storage: Storage, folder: str, piece: _Piece) -> dict[str, Any]:
    """Write one tar unless it is there already; returns its entry of the index."""
    place = child(folder, _PIECES, f"{piece.name}.json")
    if storage.exists(place):
        entry: dict[str, Any] = json.loads(storage.read(place))
        size = storage.info(child(folder, piece.name)).size
        if (entry["recipe"], entry["bytes"]) == (piece.recipe, size):
            return entry
        # Killed between tar and note, the old note must not vouch for the new tar.
        storage.remove(place)
    entry = {**_write_tar(storage, child(folder, piece.name), piece), "recipe": piece.recipe}
    storage.write(place, json.dumps(entry, ensure_ascii=False).encode())
    return entry


def _write_tar(storage: Storage, uri: str, piece: _Piece) -> dict[str, Any]:
    samples: list[dict[str, Any]] = []
    with storage.writer(uri) as stream:
        sink = _HashingSink(stream)
        with tarfile.open(fileobj=sink, mode="w|", format=tarfile.GNU_FORMAT) as tar:  # type: ignore[call-overload]
            for row, data in _with_bytes(piece.rows, storage):
                samples.append(_add_sample(tar, row, data))
    return {
        "shard": piece.name,
        "samples": samples,
        "count": len(samples),
        "bytes": sink.size,
        "sha256": sink.hash.hexdigest(),
    }


def _with_bytes(rows: pa.Table, storage: Storage) -> Iterator[tuple[dict[str, Any], bytes]]:
    for row, data in zip(rows.to_pylist(), read_images(rows, storage), strict=True):
        if isinstance(data, ItemError):
            raise StageError(
                f"stage shard: item {row['item_id']} cannot be read again: {data.detail}. "
                "Restore the file, or take the item out: winnow run CONFIG "
                "--set ingest.missing=quarantine"
            )
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            raise StageError(
                f"stage shard: {row['uri']} (item {row['item_id']}) has changed since it was "
                "ingested. Run the line again"
            )
        yield row, data


def _add_sample(tar: tarfile.TarFile, row: dict[str, Any], data: bytes) -> dict[str, Any]:
    key = sample_key(row["item_id"])
    extension = EXTENSIONS.get(row["format"], row["format"])
    text = json.dumps(sample_json(row), ensure_ascii=False, sort_keys=True)
    for name, content in sorted([(f"{key}.{extension}", data), (f"{key}.json", text.encode())]):
        member = tarfile.TarInfo(name)
        member.size = len(content)
        member.mode = 0o644
        tar.addfile(member, io.BytesIO(content))
    return {
        "key": key,
        "item_id": row["item_id"],
        "width": row["width"],
        "height": row["height"],
        "bytes": row["bytes"],
        "sha256": row["sha256"],
        "extension": extension,
    }


class _HashingSink:
    """Passes bytes on, counting and hashing them."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._stream.write(data)
        self.hash.update(data)
        self.size += len(data)
        return len(data)


def _index(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    shards = [{key: entry[key] for key in entry if key != "recipe"} for entry in entries]
    return {
        "format": "webdataset",
        "version": 1,
        "count": sum(entry["count"] for entry in shards),
        "bytes": sum(entry["bytes"] for entry in shards),
        "shards": shards,
    }


def _table(rows: pa.Table, pieces: Sequence[_Piece]) -> pa.Table:
    identifiers = rows.column("item_id").to_pylist()
    names = [piece.name for piece in pieces for _ in range(piece.rows.num_rows)]
    samples = [sample_key(identifier) for identifier in identifiers]
    return pa.table([identifiers, names, samples], schema=SHARDS)


def _remove_others(storage: Storage, folder: str, names: set[str]) -> None:
    """Remove tars of an earlier, larger set: the index no longer names them."""
    for info in storage.files(folder):
        name = str(info.path).rpartition("/")[2]
        is_piece = name.startswith("shard-") and name.removesuffix(".json").endswith(".tar")
        if is_piece and name.removesuffix(".json") not in names:
            storage.remove(storage.uri_of(folder, info))
