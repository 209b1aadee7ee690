"""A real S3 server for tests: OpenStack Swift with s3api, one node on loopback.

Run as ``python swift_server.py FOLDER PORT``; prints READY when it answers, and stops with
its parent. Swift wants memcached for its tokens; a dictionary in the proxy does as well.
"""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ACCESS_KEY = "test:tester"
SECRET_KEY = "testing"

_FILTERS = {
    "catch_errors": "use=egg:swift#catch_errors",
    "cache": "paste.filter_factory=swift_server:cache_filter",
    "listing_formats": "use=egg:swift#listing_formats",
    "bulk": "use=egg:swift#bulk",
    "s3api": "use=egg:swift#s3api\nlocation=us-east-1",
    "tempauth": "use=egg:swift#tempauth\nuser_test_tester=testing .admin",
    "copy": "use=egg:swift#copy",
    "slo": "use=egg:swift#slo",
    "dlo": "use=egg:swift#dlo",
}


class _Cache:
    """The part of a memcached client that Swift's proxy calls."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[Any, float]] = {}

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        value, expires = self._values.get(key, (None, 0.0))
        return None if expires and expires < time.time() else value

    def set(self, key: str, value: Any, time: float = 0, **_: Any) -> None:
        self._values[key] = (value, _now() + time if time else 0.0)

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        value = int(self.get(key) or 0) + delta
        self.set(key, value, time=time)
        return value

    def decr(self, key: str, delta: int = 1, time: float = 0) -> int:
        return self.incr(key, -delta, time)

    def delete(self, key: str, server_key: str | None = None) -> None:
        self._values.pop(key, None)

    def get_multi(self, keys: list[str], server_key: str) -> list[Any]:
        return [self.get(key) for key in keys]

    def set_multi(self, mapping: dict[str, Any], server_key: str, **options: Any) -> None:
        for key, value in mapping.items():
            self.set(key, value, time=options.get("time", 0))


def _now() -> float:
    return time.time()


def cache_filter(global_conf: dict[str, str], **_: str) -> Callable[[Any], Any]:
    """Paste's entry point for the cache."""
    cache = _Cache()

    def wrap(application: Any) -> Any:
        def call(environment: dict[str, Any], start: Any) -> Any:
            environment["swift.cache"] = cache
            return application(environment, start)

        return call

    return wrap


def configure(folder: Path, port: int) -> dict[str, Path]:
    """Write rings and configuration; returns the file of each server."""
    from swift.common.ring import RingBuilder

    etc = folder / "etc"
    etc.mkdir(parents=True)
    (folder / "dev" / "sda1").mkdir(parents=True)
    (etc / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix=test\nswift_hash_path_prefix=test\n"
        "[storage-policy:0]\nname=p0\ndefault=yes\n"
    )
    common = f"bind_ip=127.0.0.1\nworkers=0\nuser={getpass.getuser()}\nswift_dir={etc}\n"
    files = {}
    for offset, kind in enumerate(("account", "container", "object"), start=1):
        device = {
            "id": 0,
            "region": 1,
            "zone": 1,
            "weight": 1,
            "meta": "",
            "device": "sda1",
            "ip": "127.0.0.1",
            "port": port + offset,
            "replication_ip": "127.0.0.1",
            "replication_port": port + offset,
        }
        builder = RingBuilder(4, 1, 1)
        builder.add_dev(device)
        builder.rebalance()
        builder.get_ring().save(str(etc / f"{kind}.ring.gz"))
        files[kind] = etc / f"{kind}.conf"
        files[kind].write_text(
            f"[DEFAULT]\n{common}bind_port={port + offset}\ndevices={folder / 'dev'}\n"
            "mount_check=false\nfallocate_reserve=0\nlog_level=ERROR\n"
            f"[pipeline:main]\npipeline={kind}-server\n"
            f"[app:{kind}-server]\nuse=egg:swift#{kind}\n"
        )
    filters = "".join(f"[filter:{name}]\n{text}\n" for name, text in _FILTERS.items())
    files["proxy"] = etc / "proxy.conf"
    files["proxy"].write_text(
        f"[DEFAULT]\n{common}bind_port={port}\nlog_level=ERROR\n"
        f"[pipeline:main]\npipeline={' '.join(_FILTERS)} proxy-server\n"
        f"[app:proxy-server]\nuse=egg:swift#proxy\naccount_autocreate=true\n{filters}"
    )
    # Swift's chain: the filters that answer listings and sign-in stand before the copies.
    return files


def start(folder: Path, port: int) -> list[subprocess.Popen[bytes]]:
    """Start the four servers."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent),
        "PYTHONWARNINGS": "ignore",
    }
    scripts = Path(sys.executable).parent
    processes = []
    for kind, file in configure(folder, port).items():
        with (folder / f"{kind}.log").open("w") as log:
            command = [sys.executable, str(scripts / f"swift-{kind}-server"), str(file)]
            processes.append(
                subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
            )
    return processes


def wait_until_ready(port: int, seconds: float = 60.0) -> None:
    """Return when the proxy answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/info", timeout=1)
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise TimeoutError(f"swift did not answer within {seconds:g} s") from None
            time.sleep(0.05)
        else:
            return
