"""The endpoint captioner against a real HTTP server that speaks the protocol, faults included."""

import base64
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import pytest
from PIL import Image

from captioning.caption import (
    CAPTION_NAMES,
    CaptionError,
    CaptionRequest,
    EndpointUnavailableError,
)
from captioning.chain import caption_image
from captioning.metadata import read_metadata
from captioning.ocr.lines import make_line
from tests.captioning.chat_server import GOOD, Server, completion
from tests.captioning.pictures import written

pytest.importorskip("openai", reason="the extra `vlm` is not installed")

from captioning.backends.endpoint import EndpointCaptioner, Sampling
from captioning.backends.traffic import RateLimit


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def captioner(server: Server, **options: Any) -> EndpointCaptioner:
    options = {"api_key": "secret", "timeout": 5.0, "max_retries": 2, **options}
    options.setdefault("sleep", lambda seconds: time.sleep(min(seconds, 0.02)))
    return EndpointCaptioner("tiny-vlm", base_url=server.url, **options)


def request() -> CaptionRequest:
    box = [(30, 25), (300, 25), (300, 70), (30, 70)]
    lines = [make_line("Fresh Bread", box, 0.95), make_line("0pen", box, 0.6)]
    metadata = read_metadata("The bakery in Main Street", None, '{"city": "Leeds"}')
    picture = written(["Fresh Bread"], size=(1500, 900))
    return CaptionRequest(picture, [line for line in lines if line], metadata)


def failure(message: str = "broken") -> bytes:
    return json.dumps({"error": {"message": message}}).encode()


def test_a_good_answer_becomes_ten_captions(server: Server) -> None:
    written = captioner(server).write(request())
    assert asdict(written.captions) == GOOD
    assert asdict(written.usage) == {"answers": 1, "prompt_tokens": 10, "completion_tokens": 20}
    assert server.keys == ["Bearer secret"]


def test_the_request_holds_image_text_metadata_and_the_schema(server: Server) -> None:
    captioner(server, sampling=Sampling(max_side=256)).write(request())
    (sent,) = server.requests
    image, text = sent["messages"][0]["content"]
    head, data = image["image_url"]["url"].split(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.size == (256, 154)
    for part in ("\nFresh Bread\n0pen (uncertain)\n", "The bakery in Main Street", "Place: Leeds"):
        assert part in text["text"]
    assert "$" not in text["text"]
    assert sent["model"] == "tiny-vlm"
    schema = sent["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["text", *CAPTION_NAMES]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_failures_are_retried(server: Server, status: int) -> None:
    server.script = [(status, failure()), (status, failure())]
    assert captioner(server).write(request()).captions.en_short == GOOD["en_short"]
    assert len(server.requests) == 3


def test_an_image_that_breaks_the_server_costs_itself_only(server: Server) -> None:
    server.script = [(500, failure())] * 3
    with pytest.raises(CaptionError, match="status 500"):
        captioner(server).write(request())
    server.script = [(400, failure("too many images"))]
    with pytest.raises(CaptionError, match="status 400.*too many images"):
        captioner(server).write(request())


@pytest.mark.parametrize("status", [401, 404, 429, 503])
def test_an_endpoint_that_serves_nobody_is_not_the_image_s_fault(
    server: Server, status: int
) -> None:
    server.script = [(status, failure("no such model"))] * 3
    with pytest.raises(EndpointUnavailableError, match="no such model"):
        captioner(server).write(request())


def test_nobody_listening(server: Server) -> None:
    url = server.url
    server.close()
    silent = EndpointCaptioner("m", base_url=url, max_retries=0)
    with pytest.raises(EndpointUnavailableError, match="cannot be reached"):
        silent.write(request())


def test_a_stalling_answer_is_given_up(server: Server) -> None:
    server.delay = 1.5
    with pytest.raises(CaptionError, match="no answer within"):
        captioner(server, timeout=0.2, max_retries=1).write(request())
    assert len(server.requests) == 2


BAD_ANSWERS = {
    "truncated JSON": (completion(json.dumps(GOOD)[:80]), "not JSON"),
    "prose": (completion("Sure! Here are your captions."), "not JSON"),
    "a list": (completion("[1, 2]"), "not an object"),
    "a caption missing": (completion(json.dumps({**GOOD, "zh_long": ""})), "lacks zh_long"),
    "a number": (completion(json.dumps({**GOOD, "en_tags": 7})), "lacks en_tags"),
    "cut": (completion(json.dumps(GOOD)[:80], reason="length"), "max_tokens"),
    "refused": (completion(None, refusal="I cannot help"), "I cannot help"),
    "empty": (completion(None), "not JSON"),
    "refused in words": (completion("I'm sorry, but I can't help with that."), "refused: I'm"),
    "refused ten times": (
        completion(json.dumps(dict.fromkeys(CAPTION_NAMES, "抱歉，我无法描述这张图片。"))),
        "refused: 抱歉",
    ),
}
BAD_RESPONSES = {
    "no choices": (b'{"id": "1", "choices": []}', "no answer"),
    "no JSON at all": (b"<html>gateway", "JSON|no answer"),
}


@pytest.mark.parametrize("kind", BAD_ANSWERS)
def test_a_bad_answer_is_asked_for_again_and_then_given_up(server: Server, kind: str) -> None:
    body, message = BAD_ANSWERS[kind]
    server.script = [(200, body)]
    assert captioner(server).write(request()).captions.en_long == GOOD["en_long"]
    server.script = [(200, body)] * 2
    with pytest.raises(CaptionError, match=message):
        captioner(server).write(request())
    assert len(server.requests) == 4


@pytest.mark.parametrize("kind", BAD_RESPONSES)
def test_a_response_without_an_answer_is_a_failure_of_the_server(server: Server, kind: str) -> None:
    body, message = BAD_RESPONSES[kind]
    server.script = [(200, body)]
    assert captioner(server).write(request()).captions.en_long == GOOD["en_long"]
    server.script = [(200, body)] * 3
    with pytest.raises(CaptionError, match=message):
        captioner(server).write(request())


def test_an_answer_inside_a_code_fence_is_read(server: Server) -> None:
    server.script = [(200, completion(f"Here you are:\n```json\n{json.dumps(GOOD)}\n```"))]
    assert asdict(captioner(server).write(request()).captions) == GOOD


LEFT_OUT = {**GOOD, "zh_long": "一张贴在墙上的白色告示。"}


def test_text_the_model_left_out_is_asked_for_again(server: Server) -> None:
    mended = "一张贴在墙上的白色告示，写着“Fresh Bread”。"
    server.script = [
        (200, completion(json.dumps(LEFT_OUT))),
        (200, completion(json.dumps({"zh_long": mended}))),
    ]
    result = caption_image(captioner(server), request())
    assert result.captions.zh_long == mended
    assert result.captions.en_long == GOOD["en_long"]
    assert (result.first_coverage, result.ocr_coverage) == (0.0, 1.0)
    assert 0 < (result.first_distance or 0) <= 0.5
    assert result.flags == ("asked_again:zh_long",)
    assert result.usage.answers == 2
    first, again = server.requests
    assert again["messages"][:1] == first["messages"]
    assert json.loads(again["messages"][1]["content"]) == LEFT_OUT
    assert "leave out text of the image: zh_long\n" in again["messages"][2]["content"]
    assert "\nFresh Bread\n" in again["messages"][2]["content"]
    assert "0pen" not in again["messages"][2]["content"], "uncertain lines are not demanded"
    assert again["response_format"]["json_schema"]["schema"]["required"] == ["zh_long"]


@pytest.mark.parametrize(
    "second", [completion("I cannot."), completion(json.dumps({"zh_long": "一张白色的纸质告示。"}))]
)
def test_text_left_out_twice_is_appended(server: Server, second: bytes) -> None:
    server.script = [(200, completion(json.dumps(LEFT_OUT))), (200, second)]
    result = caption_image(captioner(server), request())
    assert result.captions.zh_long.endswith("告示。图中还写有“Fresh Bread”。")
    assert result.flags == ("asked_again:zh_long", "repaired_text:zh_long")
    assert result.ocr_coverage == 1.0
    assert result.usage.answers == 2


def test_a_caption_in_the_wrong_language_is_asked_for_again(server: Server) -> None:
    wrong = {**GOOD, "zh_short": "A white notice on a wall."}
    server.script = [
        (200, completion(json.dumps(wrong))),
        (200, completion(json.dumps({"zh_short": "墙上的白色告示。"}))),
    ]
    result = caption_image(captioner(server), request())
    assert result.captions.zh_short == "墙上的白色告示。"
    assert result.checks.other_language == ()
    assert (
        "language (en_ is English, zh_ is simplified Chinese): zh_short"
        in (server.requests[1]["messages"][2]["content"])
    )


@pytest.mark.parametrize("refused", [("json_schema",), ("json_schema", "json_object")])
def test_a_server_that_takes_no_schema_is_asked_without(
    server: Server, refused: tuple[str, ...]
) -> None:
    def rule(sent: dict[str, Any]) -> tuple[int, bytes]:
        if sent.get("response_format", {}).get("type") in refused:
            return 422, failure("Unexpected keys in the request: {'response_format'}")
        return 200, completion(json.dumps(GOOD))

    server.rule = rule
    shared = captioner(server)
    for _ in range(3):
        assert asdict(shared.write(request()).captions) == GOOD
    assert len(server.requests) == len(refused) + 3, "what was found out is remembered"
    with pytest.raises(CaptionError, match="response_format"):
        captioner(server, response_format="json_schema").write(request())


def test_an_image_by_reference_is_not_sent(server: Server) -> None:
    asked = replace(request(), url="s3://bucket/bread.jpg")
    captioner(server).write(asked)
    image = server.requests[0]["messages"][0]["content"][0]
    assert image == {"type": "image_url", "image_url": {"url": "s3://bucket/bread.jpg"}}


class Memory(dict[str, bytes]):
    """Answers kept in memory."""

    def put(self, key: str, value: bytes) -> None:
        self[key] = value


def test_no_answer_is_paid_for_twice(server: Server) -> None:
    memory = Memory()
    server.script = [(200, completion("garbage"))]
    first = captioner(server, store=memory).write(request())
    again = captioner(server, store=memory)
    assert again.write(request()) == first
    assert first.usage.answers == 2, "the garbage was paid for, too"
    assert len(server.requests) == 2
    assert again.traffic.take().kept_answers == 2


def test_a_change_of_what_is_asked_is_a_new_question(server: Server) -> None:
    memory, asked = Memory(), request()
    captioner(server, store=memory).write(asked)
    picture = asked.image.copy()
    picture[0, 0] = 0
    others = [
        (captioner(server, store=memory), replace(asked, image=picture)),
        (captioner(server, store=memory), replace(asked, lines=asked.lines[:1])),
        (captioner(server, store=memory), replace(asked, metadata=read_metadata("A shop"))),
        (captioner(server, store=memory, sampling=Sampling(temperature=0.5)), asked),
        (captioner(server, store=memory, prompt_version="v1"), asked),
    ]
    for number, (backend, other) in enumerate(others, 2):
        backend.write(other)
        assert len(server.requests) == number
        backend.write(other)
        assert len(server.requests) == number
    captioner(server, store=memory, timeout=9.0, response_format="none").write(asked)
    assert len(server.requests) == 1 + len(others)


def test_a_damaged_answer_is_asked_for_again(server: Server) -> None:
    memory = Memory()
    captioner(server, store=memory).write(request())
    for key in memory:
        memory[key] = b"{half"
    captioner(server, store=memory).write(request())
    assert len(server.requests) == 2


@pytest.mark.parametrize("header", [("Retry-After", "0.3"), ("Retry-After-Ms", "300")])
def test_the_pause_a_server_asks_for_is_kept_by_all(
    server: Server, header: tuple[str, str]
) -> None:
    server.headers = dict([header])
    server.script = [(429, failure("slow down"))]
    shared = captioner(server, limit=RateLimit(sleep=time.sleep))
    started = time.perf_counter()
    shared.write(request())
    assert time.perf_counter() - started >= 0.3
    server.headers = {"Retry-After": "3600"}
    server.script = [(429, failure("come back tomorrow"))]
    with pytest.raises(EndpointUnavailableError, match="wait for 3600 s"):
        shared.write(request())


def test_requests_keep_to_the_rate_limit(server: Server) -> None:
    shared = captioner(server, limit=RateLimit(requests=600))
    started = time.perf_counter()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: shared.write(request()), range(6)))
    assert time.perf_counter() - started >= 0.5, "ten a second, the first at once"


def test_traffic_is_counted(server: Server) -> None:
    server.script = [(500, failure()), (200, completion("garbage"))]
    shared = captioner(server)
    shared.write(request())
    figures = shared.traffic.take()
    assert (figures.requests, figures.repeats, figures.answers) == (3, 1, 2)
    assert (figures.prompt_tokens, figures.completion_tokens) == (20, 40)
    assert shared.traffic.take().requests == 0


def test_several_requests_are_in_flight(server: Server) -> None:
    server.delay = 0.3
    shared = captioner(server)
    with ThreadPoolExecutor(6) as pool:
        assert len(list(pool.map(lambda _: shared.write(request()), range(12)))) == 12
    assert 4 <= server.most_in_flight <= 6
    assert server.most_in_flight <= shared.traffic.take().most_in_flight <= 6
