"""The endpoint captioner against a real server: ``transformers serve`` and a tiny model."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from captioning.backends.endpoint import EndpointCaptioner, Sampling
from captioning.caption import CaptionError
from tests.captioning.backends.conftest import ANSWERS, LIGHT, request

for _name in ("openai", "transformers", "fastapi", "uvicorn"):
    pytest.importorskip(
        _name, reason=f"{_name} is not installed: pip install transformers[serving]"
    )

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    hub = tmp_path_factory.mktemp("hub")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(hub)}
    command = ["serve", str(taught), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = (hub / "log.txt").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "transformers.cli.transformers", *command],
        env=environment, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, hub / "log.txt")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            assert process.poll() is None, log.read_text()[-2000:]
            time.sleep(0.5)
    pytest.fail(f"the server did not come up: {log.read_text()[-2000:]}")


def test_a_real_server_gives_real_captions(served: str, taught: Path) -> None:
    sampling = Sampling(max_tokens=400, answers=1)
    captioner = EndpointCaptioner(str(taught), base_url=served, sampling=sampling)
    written = captioner.write(LIGHT)
    expected = {name: text for name, text in json.loads(ANSWERS[1]).items() if name != "text"}
    assert asdict(written.captions) == expected
    assert written.usage.prompt_tokens > 0
    assert 0 < written.usage.completion_tokens <= 400


def test_an_answer_that_is_cut_costs_the_image_only(served: str, taught: Path) -> None:
    captioner = EndpointCaptioner(str(taught), base_url=served, sampling=Sampling(max_tokens=16))
    with pytest.raises(CaptionError, match="max_tokens") as failure:
        captioner.write(request(90))
    assert failure.value.usage.answers == 2
