"""Where images come from: folders, WebDataset tars, Parquet tables, JSONL lists and videos.

Every kind of source answers the same two questions. ``split``: into which units, each
read on its own, does a file fall apart? ``candidates``: which images does a unit hold,
and where do their bytes lie? Images themselves are not read here.
"""

from stages.sources.base import Candidate, Reader, SourceFile, SourceSettings, Unit
from stages.sources.folder import FolderReader
from stages.sources.jsonl import JsonlReader
from stages.sources.listing import fixed_place, list_source
from stages.sources.parquet import ParquetReader
from stages.sources.tar import TarReader
from stages.sources.video import VideoReader

__all__ = [
    "Candidate",
    "Reader",
    "SourceFile",
    "SourceSettings",
    "Unit",
    "fixed_place",
    "list_source",
    "reader_of",
]

_READERS: dict[str, type[Reader]] = {
    "folder": FolderReader,
    "tar": TarReader,
    "parquet": ParquetReader,
    "jsonl": JsonlReader,
    "video": VideoReader,
}


def reader_of(kind: str) -> Reader:
    """The reader of a kind of source: ``folder``, ``tar``, ``parquet``, ``jsonl`` or ``video``."""
    return _READERS[kind]()
