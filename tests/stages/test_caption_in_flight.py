"""The endpoint gets its next request as soon as it has answered one, counted at the server."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from stages.caption import CaptionSettings, CaptionStage
from stages.contract import Output
from stages.schemas import ITEMS, OCR
from stages.storage import Storage
from tests.captioning.chat_server import GOOD_ANSWER, Answer, Server

pytest.importorskip("openai", reason="the extra `vlm` is not installed")

IMAGES, IN_FLIGHT = 48, 6
PATIENCE = 30.0


class Gate:
    """Answers a request only while as many are in flight as there should be."""

    def __init__(self) -> None:
        self.arrived = self.left = self.waited_in_vain = 0
        self._changed = threading.Condition()

    def __call__(self, _: dict[str, Any]) -> Answer:
        with self._changed:
            self.arrived += 1
            self._changed.notify_all()
            if not self._changed.wait_for(self._opens, PATIENCE):
                self.waited_in_vain += 1
            self.left += 1
        return GOOD_ANSWER

    def _opens(self) -> bool:
        return self.arrived - self.left >= IN_FLIGHT or self.arrived == IMAGES


class SlowFirst:
    """Answers the first request after all others."""

    def __init__(self) -> None:
        self.arrived = self.left = 0
        self.overtaken = False
        self._changed = threading.Condition()

    def __call__(self, _: dict[str, Any]) -> Answer:
        with self._changed:
            self.arrived += 1
            if self.arrived == 1:
                self.overtaken = self._changed.wait_for(lambda: self.left == IMAGES - 1, PATIENCE)
                return GOOD_ANSWER
            self.left += 1
            self._changed.notify_all()
        return GOOD_ANSWER


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    folder = tmp_path_factory.mktemp("images")
    rows = []
    for number in range(IMAGES):
        pixels = np.full((24, 32, 3), number, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append({"item_id": number, "uri": str(folder / f"{number}.png"), "key": str(number)})
    items = pa.Table.from_pylist(rows, schema=ITEMS)
    return items.append_column(OCR.field("lines"), pa.array([[]] * IMAGES, OCR.field("lines").type))


def run(table: pa.Table, server: Server) -> Output:
    settings = CaptionSettings(
        backend="openai", model="m", base_url=server.url, concurrency=IN_FLIGHT, keep_answers=False
    )
    stage = CaptionStage(settings, Storage())
    stage.check()
    stage.setup()
    return stage.process(table)


def test_every_answer_is_followed_by_a_request(table: pa.Table, server: Server) -> None:
    server.rule = gate = Gate()
    output = run(table, server)
    assert gate.arrived == IMAGES
    assert gate.waited_in_vain == 0
    assert server.most_in_flight == IN_FLIGHT == output.metrics["most_in_flight"]
    assert output.rows["item_id"].to_pylist() == list(range(IMAGES))


def test_an_answer_that_takes_long_holds_up_no_other(table: pa.Table, server: Server) -> None:
    server.rule = slow = SlowFirst()
    output = run(table, server)
    assert slow.overtaken
    assert output.rows["item_id"].to_pylist() == list(range(IMAGES))


def test_requests_in_flight_on_average(server: Server) -> None:
    server.history = [(0.0, 1), (1.0, 2), (3.0, 1), (4.0, 2), (9.0, 1)]
    assert server.mean_in_flight(3) == pytest.approx((1 * 1 + 2 * 2 + 1 * 1) / 4)
