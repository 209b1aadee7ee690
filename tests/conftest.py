"""Fixtures that all tests share: the development data, a real S3 server."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyarrow import fs

ROOT = Path(__file__).resolve().parent.parent

# Two-threaded libraries collapse on busy cores; set before any of them is imported.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of development data beside the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the development data (../shared/data) is not on this machine")
    return folder.parent


@pytest.fixture(scope="session")
def photos(shared: Path) -> Path:
    """Real photographs."""
    return shared / "data" / "photos"


@dataclass(frozen=True)
class S3Server:
    """A running S3 server."""

    endpoint: str
    access_key: str
    secret_key: str

    def filesystem(self) -> fs.S3FileSystem:
        """A client that may create buckets."""
        return fs.S3FileSystem(
            access_key=self.access_key,
            secret_key=self.secret_key,
            endpoint_override=self.endpoint,
            region="us-east-1",
            allow_bucket_creation=True,
        )

    def upload(self, folder: Path, prefix: str) -> None:
        """Copy a local folder to ``bucket/prefix``."""
        self.filesystem().create_dir(prefix)
        fs.copy_files(
            str(folder),
            prefix,
            source_filesystem=fs.LocalFileSystem(),
            destination_filesystem=self.filesystem(),
        )


def _free_ports(count: int) -> int:
    """The first of ``count`` consecutive free ports."""
    for base in range(21000, 60000, 50):
        try:
            for port in range(base, base + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    raise OSError("no free ports on loopback")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """OpenStack Swift with its S3 interface, on loopback."""
    pytest.importorskip("swift", reason="PyPI's swift serves S3 in tests")
    from tests.support import swift_server

    port = _free_ports(4)
    processes = swift_server.start(tmp_path_factory.mktemp("swift"), port)
    try:
        swift_server.wait_until_ready(port)
        yield S3Server(f"http://127.0.0.1:{port}", swift_server.ACCESS_KEY, swift_server.SECRET_KEY)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=20)


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 server, with its credentials and endpoint in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return s3_server
