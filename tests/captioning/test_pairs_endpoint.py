"""The three steps over a real HTTP server: captions, differences, instruction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from captioning.backends.composer import Composer
from captioning.backends.endpoint import Sampling
from captioning.caption import CaptionError, EndpointUnavailableError
from captioning.pairs_chain import PairRequest, Side, write_instruction
from captioning.pairs_endpoint import PairEndpoint
from tests.captioning.chat_server import Answer, Server, completion

FOUND = {"differences": ["The cup was red and is blue now.", "The text “SALE” became “OPEN”."]}
SAID = {
    "instruction_en": "Make the red cup blue.",
    "instruction_zh": "把红色的杯子改成蓝色。",
}


def content_of(request: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = request["messages"][0]["content"]
    return found


def answer(request: dict[str, Any]) -> Answer:
    images = sum(part["type"] == "image_url" for part in content_of(request))
    return 200, completion(json.dumps(FOUND if images == 2 else SAID, ensure_ascii=False))


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.rule = answer
    yield server
    server.close()


class Kept(dict[str, bytes]):
    def put(self, key: str, value: bytes) -> None:
        self[key] = value


def endpoint(server: Server, **options: Any) -> PairEndpoint:
    options = {"max_retries": 0, "timeout": 5.0, **options}
    return PairEndpoint(Composer(), "m", base_url=server.url, **options)


def request(seed: int = 0) -> PairRequest:
    rng = np.random.default_rng(seed)
    source, target = (Side(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)) for _ in range(2))
    return PairRequest(source, target, "video")


def test_both_images_are_captioned_compared_and_then_worded(server: Server) -> None:
    known = Side(request().source.image, captions={"en": "A red cup on a table."})
    asked = PairRequest(known, request().target, "video")
    result = write_instruction(endpoint(server), asked)
    assert result.text.instruction_en == SAID["instruction_en"]
    assert result.text.instruction_zh == SAID["instruction_zh"]
    assert [each.after for each in result.text.differences] == FOUND["differences"]
    assert (result.backend, result.checks) == ("m", ())
    assert result.text.usage.answers == 2
    compared, worded = server.requests
    kinds = [part["type"] for part in content_of(compared)]
    assert kinds == ["image_url", "image_url", "text"]
    text = content_of(compared)[2]["text"]
    assert "A red cup on a table." in text
    assert all(each in content_of(worded)[0]["text"] for each in FOUND["differences"])


def test_without_differences_nothing_is_made_up(server: Server) -> None:
    server.rule = lambda _: (200, completion('{"differences": []}'))
    result = write_instruction(endpoint(server), request())
    assert result.checks == ("no_difference",)
    assert len(server.requests) == 1
    same = PairRequest(request().source, request().source, "copy")
    assert write_instruction(endpoint(server), same).checks == ("no_difference",)
    assert len(server.requests) == 1


def test_answers_are_paid_for_once(server: Server) -> None:
    kept = Kept()
    first = write_instruction(endpoint(server, store=kept), request())
    again = endpoint(server, store=kept)
    assert write_instruction(again, request()).text.instruction_en == first.text.instruction_en
    assert len(server.requests) == 2
    assert again.traffic.take().kept_answers == 2
    write_instruction(again, request(1))
    assert len(server.requests) == 3  # other images are compared anew; the words are the same


def test_a_bad_answer_is_asked_for_again(server: Server) -> None:
    server.script = [(200, completion("not JSON")), (200, completion("x", reason="length"))]
    writer = endpoint(server, sampling=Sampling(answers=3))
    assert write_instruction(writer, request()).text.instruction_en == SAID["instruction_en"]
    assert len(server.requests) == 4
    server.rule = lambda _: (200, completion('{"differences": "none"}'))
    with pytest.raises(CaptionError, match="no valid answer: the answer lacks differences"):
        write_instruction(endpoint(server), request())


def test_whose_fault_a_failure_is(server: Server) -> None:
    server.script = [(400, b'{"error": {"message": "too long"}}')]
    with pytest.raises(CaptionError, match="status 400"):
        write_instruction(endpoint(server), request())
    server.script = [(401, b'{"error": {"message": "wrong key"}}')]
    with pytest.raises(EndpointUnavailableError, match="does not serve model 'm'"):
        write_instruction(endpoint(server), request())
    server.close()
    with pytest.raises(EndpointUnavailableError, match="cannot be reached"):
        write_instruction(endpoint(server), request())
