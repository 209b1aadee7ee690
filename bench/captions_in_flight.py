"""Whether the caption stage keeps an endpoint busy, counted at the endpoint.

A server of this machine answers each request after a time drawn by lot; one in fifty takes ten
times as long. It counts what it has in hand: on average until the last request has arrived, at
most, and what each worker's event says.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from tests.captioning.chat_server import GOOD_ANSWER, Answer, Server

SIZE = (640, 480)
SECONDS = (1.0, 3.0)
_STRAGGLERS, _TIMES = 0.02, 10.0


def in_flight(wanted: int, images: int) -> dict[str, Any]:
    """Caption images with so many requests in flight, and count them.

    Args:
        wanted: ``caption.concurrency``.
        images: How many.
    """
    from stages.caption import CaptionSettings, CaptionStage
    from stages.storage import Storage

    server, lots = Server(), random.Random(0)

    def rule(_: dict[str, Any]) -> Answer:
        slow = _TIMES if lots.random() < _STRAGGLERS else 1.0
        time.sleep(slow * lots.uniform(*SECONDS))
        return GOOD_ANSWER

    server.rule = rule
    settings = CaptionSettings(
        backend="openai", model="m", base_url=server.url, concurrency=wanted, keep_answers=False
    )
    with tempfile.TemporaryDirectory() as folder:
        stage = CaptionStage(settings, Storage())
        stage.setup()
        table = _table(Path(folder), images)
        started = time.perf_counter()
        output = stage.process(table)
        seconds = time.perf_counter() - started
    server.close()
    return {
        "wanted": wanted,
        "images": images,
        "captioned": output.rows.num_rows,
        "at_the_server_mean": round(server.mean_in_flight(images), 3),
        "at_the_server_most": server.most_in_flight,
        "in_the_event_mean": output.metrics["mean_in_flight"],
        "in_the_event_most": output.metrics["most_in_flight"],
        "seconds": round(seconds, 2),
        "images_per_s": round(images / seconds, 2),
    }


def _table(folder: Path, images: int) -> pa.Table:
    """Rows as the runner gives them, over soft noise of about the size of a photograph."""
    from stages.schemas import ITEMS, OCR

    rows = []
    for number in range(images):
        coarse = np.random.default_rng(number).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        place = folder / f"{number}.jpg"
        Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC).save(place, quality=90)
        rows.append({"item_id": number, "uri": str(place), "key": str(number)})
    lines = pa.array([[]] * images, OCR.field("lines").type)
    return pa.Table.from_pylist(rows, schema=ITEMS).append_column(OCR.field("lines"), lines)
