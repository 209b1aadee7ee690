"""The caption stage over an endpoint that fails in every way, and what a resume pays."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from stages.caption import CaptionSettings, CaptionStage
from stages.contract import Output, Reason, UnavailableError
from stages.schemas import CAPTION, ITEMS, OCR
from stages.storage import Storage
from tests.captioning.chat_server import GOOD, Answer, Server, completion

pytest.importorskip("openai", reason="the extra `vlm` is not installed")

IMAGES = 60
STALL = 0.8
GARBAGE = (
    completion("Sure! Here are your captions:"),
    completion(json.dumps(GOOD)[:120]),
    completion(json.dumps({**GOOD, "zh_long": 7})),
    completion(json.dumps(GOOD), reason="length"),
    b"<html>bad gateway</html>",
)
REFUSALS = (
    completion(None, refusal="I cannot help with that."),
    completion("I'm sorry, but I can't assist with this image."),
)


class Faulty:
    """Garbage in 30 % of calls, stalls in 5 %, refusals in 5 %, decided by the question."""

    def __init__(self) -> None:
        self.paid: Counter[tuple[str, float, int]] = Counter()
        self.kinds: Counter[str] = Counter()
        self.left = 10**9
        self._stalled: set[Any] = set()
        self._broken: set[Any] = set()

    def __call__(self, sent: dict[str, Any]) -> Answer:
        self.left -= 1
        if self.left < 0:
            return 503, b'{"error": {"message": "shutting down"}}'
        image = sent["messages"][0]["content"][0]["image_url"]["url"]
        question = (image, sent["temperature"], len(sent["messages"]))
        chance = int(hashlib.sha256(repr(question).encode()).hexdigest()[:8], 16) / 16**8
        if chance < 0.3:
            body = GARBAGE[int(chance * 1000) % len(GARBAGE)]
            self.kinds["garbage"] += 1
            if not body.startswith(b"<"):
                return self._pay(question, body)
            if question not in self._broken:  # a gateway's page, once
                self._broken.add(question)
                return 200, body
        elif chance < 0.35 and question not in self._stalled:
            self.kinds["stall"] += 1
            self._stalled.add(question)
            time.sleep(STALL)
            return 200, b"{}"  # nobody listens any more
        elif 0.35 <= chance < 0.4:
            self.kinds["refusal"] += 1
            return self._pay(question, REFUSALS[int(chance * 1000) % 2])
        return self._pay(question, completion(json.dumps(GOOD)))

    def _pay(self, question: tuple[str, float, int], body: bytes) -> Answer:
        self.paid[question] += 1
        return 200, body


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
        pixels = np.random.default_rng(number).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append({"item_id": number, "uri": str(folder / f"{number}.png"), "key": str(number)})
    items = pa.Table.from_pylist(rows, schema=ITEMS)
    return items.append_column(OCR.field("lines"), pa.array([[]] * IMAGES, OCR.field("lines").type))


def run(table: pa.Table, server: Server, kept: Path, **settings: Any) -> Output:
    options: dict[str, Any] = {"concurrency": 8, "timeout": 0.4, "max_retries": 3, **settings}
    stage = CaptionStage(
        CaptionSettings(backend="openai", model="org/tiny", base_url=server.url, **options),
        Storage(),
    )
    stage.check()
    stage.setup()
    stage._answers.base = str(kept)
    return stage.process(table)


def test_every_image_has_captions_or_a_reason_and_nothing_is_paid_twice(
    table: pa.Table, server: Server, tmp_path: Path
) -> None:
    faulty = Faulty()
    server.rule = faulty
    output = run(table, server, tmp_path)
    assert min(faulty.kinds[kind] for kind in ("garbage", "stall", "refusal")) > 0
    assert output.rows.schema == CAPTION
    quarantined = {each.item_id: each for each in output.quarantined}
    done = set(output.rows["item_id"].to_pylist())
    assert done | set(quarantined) == set(range(IMAGES))
    assert not done & set(quarantined)
    assert 0 < len(quarantined) < IMAGES / 2
    for each in quarantined.values():
        assert each.reason == Reason.CAPTION_FAILED
        assert "org/tiny gave no valid captions: " in each.detail
    assert set(faulty.paid.values()) == {1}
    paid = sum(faulty.paid.values())
    assert output.metrics["prompt_tokens"] == 10 * paid
    assert output.metrics["answers"] == paid
    assert output.metrics["requests"] == len(server.requests)
    # The runner writes them beside these into the event of a partition.
    taken = {"stage", "batch", "part", "items_in", "rows", "quarantined", "seconds", "attempts"}
    assert not taken & set(output.metrics)
    asked = len(server.requests)

    again = run(table, server, tmp_path)
    assert len(server.requests) == asked, "a rerun asks nothing"
    assert again.rows.equals(output.rows)
    assert again.quarantined == output.quarantined
    assert again.metrics["kept_answers"] == paid
    assert again.metrics["cost"] == 0.0


def test_a_resume_pays_only_for_what_was_not_answered(
    table: pa.Table, server: Server, tmp_path: Path
) -> None:
    faulty = server.rule = Faulty()
    whole = run(table, server, tmp_path / "whole")
    cost = sum(faulty.paid.values())

    faulty = server.rule = Faulty()
    faulty.left = 40
    server.headers = {"Retry-After-Ms": "1"}
    with pytest.raises(UnavailableError, match="shutting down"):
        run(table, server, tmp_path / "killed", max_retries=1)
    assert 0 < sum(faulty.paid.values()) < cost
    faulty.left = 10**9
    resumed = run(table, server, tmp_path / "killed")
    assert resumed.rows.equals(whole.rows)
    assert resumed.quarantined == whole.quarantined
    assert set(faulty.paid.values()) == {1}
    assert sum(faulty.paid.values()) == cost


def test_requests_in_flight_are_kept_at_the_concurrency(
    table: pa.Table, server: Server, tmp_path: Path
) -> None:
    server.delay = 0.25
    metrics = run(table, server, tmp_path, concurrency=6, timeout=20.0, prompt_price=2.5,
                  completion_price=10.0).metrics  # fmt: skip
    assert server.most_in_flight == metrics["most_in_flight"] == 6
    assert metrics["mean_in_flight"] > 3.0
    assert metrics["cost"] == pytest.approx(IMAGES * (10 * 2.5 + 20 * 10.0) / 1e6)


def test_images_by_reference(table: pa.Table, server: Server, tmp_path: Path) -> None:
    folder = Path(table["uri"][0].as_py()).parent
    two = table.slice(0, 2)
    run(two, server, tmp_path / "a", send="reference")
    run(two, server, tmp_path / "b", send="reference", reference_from=folder.as_uri() + "/",
        reference_to="https://images.internal/")  # fmt: skip
    sent = [r["messages"][0]["content"][0]["image_url"]["url"] for r in server.requests]
    assert sorted(sent[:2]) == [(folder / f"{n}.png").as_uri() for n in (0, 1)]
    assert sorted(sent[2:]) == [f"https://images.internal/{n}.png" for n in (0, 1)]
