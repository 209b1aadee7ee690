"""One filesystem layer: local folders, object stores and fsspec, with the same calls."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Literal
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs
from pydantic import BaseModel, ConfigDict, Field

from stages.contract import ConfigurationError

_COPY_BYTES = 8 << 20
#: Names of unfinished local files; nothing else below a corpus is ours to remove.
_TEMPORARY = re.compile(r"_.+\.[0-9a-f]{32}\.tmp")


class StorageSettings(BaseModel):
    """How object stores are reached. Credentials come from the environment, never from here."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )

    client: Literal["arrow", "fsspec"] = "arrow"
    """``arrow`` for Arrow's own S3 and GCS clients; ``fsspec`` for s3fs and the rest."""
    endpoint: str | None = None
    """Endpoint of an S3-compatible store, such as ``http://127.0.0.1:9000``."""
    region: str | None = None
    """Region of the bucket; stores that have none take any."""
    anonymous: bool = False
    """Read public buckets without credentials."""
    connect_timeout_s: float = Field(default=10.0, gt=0, le=600)
    """Seconds to wait for a connection."""
    request_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    """Seconds to wait for an answer."""


class Storage:
    """Reads and writes files by uri.

    A uri is a path (absolute or relative) or ``scheme://...``. A file is written whole or
    not at all: locally under a temporary name that is synced and renamed, on object stores
    as one put.

    Args:
        settings: How object stores are reached.
    """

    def __init__(self, settings: StorageSettings | None = None) -> None:
        self.settings = settings or StorageSettings()
        self._filesystems: dict[str, fs.FileSystem] = {}

    def __getstate__(self) -> dict[str, object]:
        """Workers make their own clients."""
        return {"settings": self.settings, "_filesystems": {}}

    def locate(self, uri: str) -> tuple[fs.FileSystem, str]:
        """The filesystem a uri lives on, and its path there.

        Raises:
            ConfigurationError: For a scheme that no installed client serves.
        """
        scheme = urlsplit(uri).scheme if "://" in uri else "file"
        if scheme == "file":
            # No shell expands the ~ of a YAML file.
            path = os.path.expanduser(uri.removeprefix("file://"))  # noqa: PTH111 - never raises
            return self._local(), str(Path(path).absolute())
        return self._remote(scheme, uri), uri.split("://", 1)[1]

    def is_local(self, uri: str) -> bool:
        """Whether the uri is a path of this machine."""
        return "://" not in uri or uri.startswith("file://")

    def _local(self) -> fs.FileSystem:
        return self._filesystems.setdefault("file", fs.LocalFileSystem())

    def _remote(self, scheme: str, uri: str) -> fs.FileSystem:
        if scheme in {"http", "https"}:
            raise ConfigurationError(
                f"{uri}: winnow does not download from the web; fetch the images first, "
                "such as with img2dataset, and name its tars as the source"
            )
        if scheme not in self._filesystems:
            try:
                self._filesystems[scheme] = self._connect(scheme)
            except (ImportError, ValueError, pa.ArrowException) as error:
                raise ConfigurationError(
                    f"no client for {scheme}:// (in {uri!r}): {error}. "
                    "Install the fsspec package that serves it and set storage.client=fsspec"
                ) from error
        return self._filesystems[scheme]

    def _connect(self, scheme: str) -> fs.FileSystem:
        if self.settings.client == "fsspec" or scheme not in {"s3", "gs", "gcs"}:
            return _fsspec_filesystem(scheme, self.settings)
        if scheme == "s3":
            return _arrow_s3(self.settings)
        limit = timedelta(seconds=self.settings.request_timeout_s)
        return fs.GcsFileSystem(anonymous=self.settings.anonymous, retry_time_limit=limit)

    def read(self, uri: str) -> bytes:
        """The whole file."""
        filesystem, path = self.locate(uri)
        with filesystem.open_input_stream(path, compression=None) as stream:
            return stream.read()

    def open(self, uri: str) -> pa.NativeFile:
        """A file open for random access; close it after use."""
        filesystem, path = self.locate(uri)
        return filesystem.open_input_file(path)

    def write(self, uri: str, data: bytes) -> None:
        """Write a file whole or not at all."""
        with self.writer(uri) as stream:
            stream.write(data)

    def writer(self, uri: str) -> AtomicFile:
        """A file open for writing that appears at ``uri`` only when closed without error."""
        return AtomicFile(self, uri)

    def info(self, uri: str) -> fs.FileInfo:
        """Type, size and time of one path."""
        filesystem, path = self.locate(uri)
        return filesystem.get_file_info(path)

    def exists(self, uri: str) -> bool:
        """Whether something lies there, file or folder."""
        return bool(self.info(uri).type != fs.FileType.NotFound)

    def files(self, uri: str, *, recursive: bool = True) -> list[fs.FileInfo]:
        """All files below a folder or prefix, sorted by path; none where it is absent.

        ``FileInfo.path`` is the path inside the filesystem; ``child`` gives the uri.
        """
        filesystem, path = self.locate(uri)
        selector = fs.FileSelector(path, recursive=recursive, allow_not_found=True)
        found = [info for info in filesystem.get_file_info(selector) if info.is_file]
        return sorted(found, key=lambda info: info.path)

    def uri_of(self, base: str, info: fs.FileInfo) -> str:
        """The uri of a file that ``files(base)`` listed."""
        if self.is_local(base):
            return str(info.path)
        return f"{base.split('://', 1)[0]}://{info.path}"

    def remove(self, uri: str) -> None:
        """Remove one file; nothing happens where it is absent."""
        filesystem, path = self.locate(uri)
        if filesystem.get_file_info(path).is_file:
            filesystem.delete_file(path)

    def remove_folder(self, uri: str) -> None:
        """Remove a folder or prefix with all it holds; nothing happens where it is absent."""
        if self.is_local(uri):
            shutil.rmtree(self.locate(uri)[1], ignore_errors=True)
            return
        filesystem, path = self.locate(uri)
        if filesystem.get_file_info(path).type == fs.FileType.Directory:
            filesystem.delete_dir(path)

    def check(self, uri: str, *, writable: bool = False) -> None:
        """Find out before any work whether a place can be used.

        Raises:
            ConfigurationError: Wrong credentials, a missing bucket, an unreachable
                endpoint, a missing folder; the message says which and what to do.
        """
        if self.is_local(uri):
            self._check_local(uri, writable)
            return
        filesystem, path = self.locate(uri)
        bucket = path.split("/", 1)[0]
        try:
            # A listing needs signed access to the bucket, which a plain stat does not prove.
            filesystem.get_file_info(fs.FileSelector(path, recursive=False, allow_not_found=True))
            missing = filesystem.get_file_info(bucket).type == fs.FileType.NotFound
            if not missing and writable:
                self._check_write(uri)
        except (OSError, pa.ArrowException) as error:
            raise ConfigurationError(_explain(uri, bucket, error)) from error
        if missing:
            raise ConfigurationError(
                f"bucket {bucket!r} (in {uri}) does not exist: create it or correct the name"
            )

    def _check_write(self, uri: str) -> None:
        probe = f"{uri.rstrip('/')}/_write_check_{uuid.uuid4().hex}"
        self.write(probe, b"ok")
        self.remove(probe)

    def _check_local(self, uri: str, writable: bool) -> None:
        path = Path(self.locate(uri)[1])
        if not writable:
            if not path.exists():
                raise ConfigurationError(f"{uri} does not exist: correct the path")
            return
        parent = path
        while not parent.exists():
            parent = parent.parent
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise ConfigurationError(f"{uri} cannot be written: {parent} is not a writable folder")


class AtomicFile:
    """A binary file that appears whole when closed, and not at all after an error.

    Locally the bytes go to a neighbour of the target, which is synced and renamed. For an
    object store they go to a temporary file first and are put when all are there: Arrow
    completes the upload of a stream that is dropped, so a stream written to directly could
    leave half a file.
    """

    def __init__(self, storage: Storage, uri: str) -> None:
        self._filesystem, self._path = storage.locate(uri)
        self._file: IO[bytes]
        self._temporary: Path | None = None
        if storage.is_local(uri):
            target = Path(self._path)
            target.parent.mkdir(parents=True, exist_ok=True)
            # The leading underscore hides leftovers of a killed run from every reader.
            self._temporary = target.parent / f"_{target.name}.{uuid.uuid4().hex}.tmp"

    def __enter__(self) -> IO[bytes]:
        if self._temporary is not None:
            self._file = self._temporary.open("wb")
        else:
            self._file = tempfile.TemporaryFile()
        return self._file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            self._file.close()
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)

    def _publish(self) -> None:
        self._file.flush()
        if self._temporary is not None:
            os.fsync(self._file.fileno())
            self._temporary.replace(self._path)
            return
        self._file.seek(0)
        sent = 0
        try:
            with self._filesystem.open_output_stream(self._path, compression=None) as stream:
                try:
                    shutil.copyfileobj(self._file, stream, _COPY_BYTES)
                finally:
                    sent = stream.tell()
        except BaseException:
            with suppress(OSError):
                self._remove_part(sent)
            raise

    def _remove_part(self, sent: int) -> None:
        """Remove half a file: closing an interrupted stream completes what it was given.

        A file of another size is the one that was there before, and stays.
        """
        size = self._filesystem.get_file_info(self._path).size
        if size == sent < self._file.seek(0, os.SEEK_END):
            self._filesystem.delete_file(self._path)


def child(base: str, *parts: str) -> str:
    """Join a uri and path parts with single slashes."""
    return "/".join([base.rstrip("/"), *(part.strip("/") for part in parts)])


def remove_leftovers(storage: Storage, uri: str) -> int:
    """Remove temporary files that a killed run left below a local folder.

    Returns:
        How many there were. Object stores have none: a put is whole or absent.
    """
    if not storage.is_local(uri):
        return 0
    leftovers = list(_temporary_files(Path(storage.locate(uri)[1])))
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def _temporary_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("_*.tmp") if folder.is_dir() else ():
        if _TEMPORARY.fullmatch(path.name):
            yield path


def _arrow_s3(settings: StorageSettings) -> fs.FileSystem:
    endpoint = settings.endpoint or os.environ.get("AWS_ENDPOINT_URL")
    scheme, host = "https", None
    if endpoint:
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        scheme, host = parts.scheme, parts.netloc
    return fs.S3FileSystem(
        endpoint_override=host,
        scheme=scheme,
        region=settings.region or os.environ.get("AWS_REGION") or ("us-east-1" if host else None),
        anonymous=settings.anonymous,
        connect_timeout=settings.connect_timeout_s,
        request_timeout=settings.request_timeout_s,
        # Without it each closed multipart upload can be reordered behind our own delete.
        background_writes=False,
    )


def _fsspec_filesystem(scheme: str, settings: StorageSettings) -> fs.FileSystem:
    import fsspec

    options: dict[str, object] = {}
    if scheme == "s3":
        client = {"endpoint_url": settings.endpoint, "region_name": settings.region}
        options = {
            "anon": settings.anonymous,
            "client_kwargs": {key: value for key, value in client.items() if value},
        }
    return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme, **options)))


def _explain(uri: str, bucket: str, error: Exception) -> str:
    text = str(error)
    if any(code in text for code in ("NO_SUCH_BUCKET", "NoSuchBucket", "does not exist")):
        return f"bucket {bucket!r} (in {uri}) does not exist: create it or correct the name"
    denied = ("ACCESS_DENIED", "AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "403")
    if any(code in text for code in (*denied, "INVALID_SIGNATURE", "SIGNATURE", "Forbidden")):
        return (
            f"the credentials for {uri} were refused: check AWS_ACCESS_KEY_ID, "
            f"AWS_SECRET_ACCESS_KEY and the rights on bucket {bucket!r} ({text[:200]})"
        )
    return f"{uri} cannot be reached: check storage.endpoint and the network ({text[:200]})"
