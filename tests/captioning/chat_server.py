"""A local HTTP server that speaks the chat protocol, by a script or by a rule."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from captioning.caption import CAPTION_NAMES

ENGLISH, CHINESE = "A notice that reads “Fresh Bread”.", "一张写着“Fresh Bread”的白色告示。"
GOOD = {
    name: ENGLISH if name.startswith("en") else CHINESE
    for name in CAPTION_NAMES
    if not name.endswith("_tags")
}
GOOD |= {"en_tags": "notice, white, “Fresh Bread”", "zh_tags": "告示，白色，“Fresh Bread”"}


def completion(content: str | None, reason: str = "stop", refusal: str | None = None) -> bytes:
    """The body of a response; 10 tokens were asked with, 20 answered."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "usage": usage}
    return json.dumps({**body, "choices": [choice]}).encode()


Answer = tuple[int, bytes]
GOOD_ANSWER: Answer = (200, completion(json.dumps(GOOD)))


class Server:
    """Answers chat requests by a script, then by its rule; keeps what it was asked."""

    def __init__(self) -> None:
        self.script: list[Answer | Callable[[], Answer]] = []
        self.rule: Callable[[dict[str, Any]], Answer] = lambda _: GOOD_ANSWER
        self.headers = {"Retry-After-Ms": "10"}
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.in_flight = self.most_in_flight = 0
        self.history: list[tuple[float, int]] = []
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
                    for name, value in server.headers.items():
                        self.send_header(name, value)
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
            step = self.script.pop(0) if self.script else None
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            self.history.append((time.monotonic(), self.in_flight))
        time.sleep(self.delay)
        answer = self.rule(request) if step is None else step() if callable(step) else step
        with self._lock:
            self.in_flight -= 1
            self.history.append((time.monotonic(), self.in_flight))
        return answer

    def mean_in_flight(self, requests: int) -> float:
        """Requests in flight on average, while the last of so many had not yet arrived."""
        total, arrived, (before, count) = 0.0, 1, self.history[0]
        first = before
        for moment, now in self.history[1:]:
            total += count * (moment - before)
            arrived += now > count
            before, count = moment, now
            if arrived == requests:
                break
        return total / (before - first)

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()
