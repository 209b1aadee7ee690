"""The endpoint captioner against a real HTTP server that speaks the protocol, faults included."""

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
from tests.captioning.pictures import written

pytest.importorskip("openai", reason="the extra `vlm` is not installed")

from captioning.backends.endpoint import EndpointCaptioner

ENGLISH, CHINESE = "A notice that reads “Fresh Bread”.", "写着“Fresh Bread”的告示。"
GOOD = {name: ENGLISH if name.startswith("en") else CHINESE for name in CAPTION_NAMES}


def completion(content: str | None, reason: str = "stop", refusal: str | None = None) -> bytes:
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "usage": usage}
    return json.dumps({**body, "choices": [choice]}).encode()


Answer = tuple[int, bytes]
GOOD_ANSWER: Answer = (200, completion(json.dumps(GOOD)))


class Server:
    """Answers chat requests by a script, then well; keeps what it was asked."""

    def __init__(self) -> None:
        self.script: list[Answer | Callable[[], Answer]] = []
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.in_flight = self.most_in_flight = 0
        self.delay = 0.0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = server.answer(json.loads(body), self.headers["Authorization"])
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(answer)))
                    self.send_header("Retry-After-Ms", "10")
                    self.end_headers()
                    self.wfile.write(answer)
                except OSError:
                    pass  # the client gave up waiting

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        serve = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        serve.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def answer(self, request: dict[str, Any], key: str | None) -> Answer:
        with self._lock:
            self.requests.append(request)
            self.keys.append(key)
            step = self.script.pop(0) if self.script else GOOD_ANSWER
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        time.sleep(self.delay)
        answer = step() if callable(step) else step
        with self._lock:
            self.in_flight -= 1
        return answer

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def captioner(server: Server, **options: Any) -> EndpointCaptioner:
    options = {"api_key": "secret", "timeout": 5.0, "max_retries": 2, **options}
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
    assert dict(captioner(server).write(request()).__dict__) == GOOD
    assert server.keys == ["Bearer secret"]


def test_the_request_holds_image_text_metadata_and_the_schema(server: Server) -> None:
    captioner(server, max_side=256).write(request())
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
    assert set(schema["required"]) == set(CAPTION_NAMES)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_failures_are_retried(server: Server, status: int) -> None:
    server.script = [(status, failure()), (status, failure())]
    assert captioner(server).write(request()).en_short == GOOD["en_short"]
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
    "no choices": (b'{"id": "1", "choices": []}', "no answer"),
    "no JSON at all": (b"<html>gateway", "JSON|no answer"),
}


@pytest.mark.parametrize("kind", BAD_ANSWERS)
def test_a_bad_answer_is_asked_for_again_and_then_given_up(server: Server, kind: str) -> None:
    body, message = BAD_ANSWERS[kind]
    server.script = [(200, body)]
    assert captioner(server).write(request()).en_long == GOOD["en_long"]
    server.script = [(200, body)] * 2
    with pytest.raises(CaptionError, match=message):
        captioner(server).write(request())
    assert len(server.requests) == 4


def test_text_the_model_left_out_is_added_and_flagged(server: Server) -> None:
    answer = {**GOOD, "zh_long": "一张告示。"}
    server.script = [(200, completion(json.dumps(answer)))]
    result = caption_image(captioner(server), request())
    assert result.captions.zh_long == "一张告示。图中还写有“Fresh Bread”。"
    assert result.captions.en_long == GOOD["en_long"]
    assert result.flags == ("repaired_text:zh_long",)
    assert result.ocr_coverage == 1.0


def test_several_requests_are_in_flight(server: Server) -> None:
    server.delay = 0.3
    shared = captioner(server)
    with ThreadPoolExecutor(6) as pool:
        assert len(list(pool.map(lambda _: shared.write(request()), range(12)))) == 12
    assert server.most_in_flight >= 4
