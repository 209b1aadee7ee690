"""The text of any images, without a corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from captioning.ocr.lines import Line, OcrEngine
from pipeline.candidates import CandidateReader, candidate_rows, decode_candidate
from pipeline.named_settings import named_settings
from stages.contract import ConfigurationError, ItemError, Reason
from stages.ocr import OcrSettings, OcrStage, make_engine
from stages.sources import SourceSettings
from stages.storage import Storage

#: Images that are decoded and read together, for each thread.
_AHEAD = 4
_PATTERN = frozenset("*?[{")


@dataclass(frozen=True)
class ReadImage:
    """One image and the text it shows.

    Args:
        uri: The file, or the file that holds it.
        key: Its key in a file that holds many; ``None`` where it is a file of its own.
        lines: Its lines in reading order.
        failure: Why it could not be read: the code that quarantine would have, and a sentence.
    """

    uri: str
    key: str | None = None
    lines: tuple[Line, ...] = ()
    failure: tuple[Reason, str] | None = None

    @property
    def name(self) -> str:
        """What a message calls the image."""
        return self.uri if self.key is None else f"{self.uri} {self.key}"

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values: ``uri``, ``lines``; ``key`` and ``error`` where there is one."""
        values: dict[str, Any] = {"uri": self.uri}
        if self.key is not None:
            values["key"] = self.key
        values["lines"] = [asdict(line) for line in self.lines]
        if self.failure is not None:
            reason, detail = self.failure
            values["error"] = {"reason": reason.value, "detail": detail}
        return values


def ocr_settings(options: dict[str, Any], settings: Sequence[str] = ()) -> OcrSettings:
    """Settings of a text reader as a command line names it.

    Args:
        options: Settings of ``OcrSettings`` by name; ``None`` for their default.
        settings: Further ones as ``NAME=VALUE``, the value in YAML.

    Raises:
        ConfigurationError: For an unknown name, or a value out of range.
    """
    return named_settings(OcrSettings, "ocr", "max_side=960", options, settings)


def read_texts(
    uris: Sequence[str], settings: OcrSettings | None = None, storage: Storage | None = None
) -> Iterator[ReadImage]:
    """Read the text of images, as a stream.

    Args:
        uris: Image files, folders, tars, Parquet tables, lists, videos or patterns, anywhere
            storage reaches.
        settings: How text is read; ``threads`` images at once.
        storage: Where uris are resolved.

    Yields:
        Each image with its lines, or with why they could not be read, in the order of the uris
        and of what they hold.

    Raises:
        ConfigurationError: If a uri is a pattern that names no file, or the text reader cannot
            work.
        UnavailableError: If an object store stops answering.
    """
    settings, storage = settings or OcrSettings(), storage or Storage()
    OcrStage(settings, storage).check()
    rows = (row for uri in uris for row in _rows(uri, storage))
    # A pattern without files is told before models are loaded.
    chunk = list(islice(rows, _AHEAD * settings.threads))
    engine = make_engine(settings)
    with CandidateReader(storage) as reader:
        while chunk:
            yield from _read(chunk, reader, engine)
            chunk = list(islice(rows, _AHEAD * settings.threads))


def _rows(uri: str, storage: Storage) -> Iterator[dict[str, Any]]:
    """Every image that a source may hold, as ``CandidateReader`` wants it."""
    if not _PATTERN & set(uri) and not storage.exists(uri):
        # A name among many that is wrong is that image's error, as in `winnow caption`.
        yield {"uri": uri, "error_reason": Reason.MISSING, "error_detail": f"{uri} does not exist"}
        return
    rows = candidate_rows(SourceSettings(uri=uri), storage)
    first = next(rows, None)
    if first is None:
        raise ConfigurationError(f"there is nothing to read: {uri} holds no images")
    yield first
    yield from rows


def _read(
    rows: Sequence[dict[str, Any]], reader: CandidateReader, engine: OcrEngine
) -> Iterator[ReadImage]:
    """The texts of a few images, decoded and read together."""
    decoded = [_pixels(row, reader) for row in rows]
    good = [each for each in decoded if not isinstance(each, ItemError)]
    results: list[list[Line] | ItemError] = []
    try:
        results.extend(engine.read(good))
    except MemoryError:
        raise  # the machine's fault, not an image's
    except Exception:  # noqa: BLE001 - the image that is to blame is found below
        results = [_alone(each, engine) for each in good]
    rest = iter(results)
    for row, each in zip(rows, decoded, strict=True):
        result = each if isinstance(each, ItemError) else next(rest)
        key = row["key"] if row.get("container") else None
        if isinstance(result, ItemError):
            yield ReadImage(row["uri"], key, failure=(result.reason, result.detail))
        else:
            yield ReadImage(row["uri"], key, tuple(result))


def _pixels(row: dict[str, Any], reader: CandidateReader) -> npt.NDArray[np.uint8] | ItemError:
    """The decoded image, uint8[height, width, 3], or what is wrong with it."""
    try:
        return np.asarray(decode_candidate(reader.read(row)))
    except ItemError as error:
        return error


def _alone(pixels: npt.NDArray[np.uint8], engine: OcrEngine) -> list[Line] | ItemError:
    try:
        return engine.read([pixels])[0]
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - the image is reported with this reason
        return ItemError(Reason.STAGE_ERROR, f"{type(error).__name__}: {error}")
