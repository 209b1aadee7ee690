"""The stream of images through an embedder: in order, bounded, nothing lost."""

import io
import threading
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from stages.contract import ItemError, Reason
from stages.embedders.base import Embedder
from stages.embedders.stream import EmbeddingStream, encoders_of


class Grey(Embedder):
    """Two numbers that say how bright an image is; counts what is done at once."""

    name = "grey"
    reentrant: ClassVar[bool] = False

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = self.most_inside = self.prepared = self.encoded = 0
        self.batches: list[int] = []

    @property
    def dim(self) -> int:
        return 2

    def prepare(self, image: Image.Image) -> NDArray[np.float32]:
        grey = float(np.asarray(image).mean())
        if grey > 250:
            raise ValueError("too bright to look at")
        with self.lock:
            self.prepared += 1
        return np.float32([np.cos(grey / 255), np.sin(grey / 255)])

    def encode(self, prepared: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        with self.lock:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            self.batches.append(len(prepared))
        found = np.stack(prepared).astype(np.float32)
        found[found[:, 0] == 1.0] = np.nan  # black: the model fails on it
        with self.lock:
            self.inside -= 1
            self.encoded += len(prepared)
        return found


class ReentrantGrey(Grey):
    reentrant: ClassVar[bool] = True


def encoded(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2), (grey, grey, grey)).save(buffer, "PNG")
    return buffer.getvalue()


GREYS = {grey: encoded(grey) for grey in (0, 40, 80, 120, 200, 255)}
Source = int | str


def data_of(source: Source) -> bytes | ItemError:
    if source == "gone":
        return ItemError(Reason.MISSING, "gone")
    return b"no image" if source == "junk" else GREYS[int(source)]


def expected(source: Source) -> str | float:
    kinds = {"gone": "missing", "junk": "unreadable", 0: "stage_error", 255: "stage_error"}
    return kinds[source] if source in kinds else round(np.sin(int(source) / 255), 4)


@settings(max_examples=60, deadline=None)
@given(
    sources=st.lists(st.sampled_from([*GREYS, "gone", "junk"]), max_size=40),
    threads=st.integers(1, 4),
    batch=st.integers(1, 9),
    kind=st.sampled_from([Grey, ReentrantGrey]),
    device=st.sampled_from(["cpu", "cuda"]),
)
def test_each_image_gives_its_vector_or_its_error_in_order(
    sources: list[Source], threads: int, batch: int, kind: type[Grey], device: str
) -> None:
    embedder = kind()
    stream = EmbeddingStream(embedder, device, threads, batch)
    found = [
        each.reason.value if isinstance(each, ItemError) else round(float(each[1]), 4)
        for each in stream.run(map(data_of, sources))
    ]
    assert found == [expected(source) for source in sources]
    assert stream.images == len(sources)
    assert all(size <= batch for size in embedder.batches)
    assert embedder.most_inside <= encoders_of(embedder, device, threads)
    metrics = stream.metrics()
    assert 0 <= metrics["wait_share"] <= 1
    assert all(value >= 0 for value in metrics.values())


@pytest.mark.parametrize(
    ("kind", "device"), [(Grey, "cpu"), (Grey, "cuda"), (ReentrantGrey, "cpu")]
)
def test_it_reads_only_a_few_batches_ahead(kind: type[Grey], device: str) -> None:
    threads, batch = 2, 5
    embedder = kind()
    taken = most = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield GREYS[40]

    run = EmbeddingStream(embedder, device, threads, batch).run(endless())
    for given_back in range(1, 201):
        next(run)
        most = max(most, taken - given_back)
    run.close()
    assert most <= (3 * encoders_of(embedder, device, threads) + 2) * batch
    assert taken < 200 + 60


def test_an_embedder_that_breaks_ends_the_stream() -> None:
    class Broken(Grey):
        def encode(self, prepared: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
            raise RuntimeError("out of memory")

    stream = EmbeddingStream(Broken(), "cpu", 2, 4)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(stream.run([GREYS[40]] * 30))
    assert not [each for each in threading.enumerate() if each.name.startswith("embed_")]


def test_a_source_that_breaks_ends_the_stream() -> None:
    def source() -> Iterator[bytes]:
        yield from [GREYS[40]] * 7
        raise OSError("the store has gone")

    found = []
    with pytest.raises(OSError, match="the store has gone"):
        found.extend(EmbeddingStream(Grey(), "cpu", 2, 3).run(source()))


def test_only_reentrant_embedders_on_the_cpu_encode_side_by_side() -> None:
    assert encoders_of(Grey(), "cpu", 4) == 1
    assert encoders_of(ReentrantGrey(), "cpu", 4) == 4
    assert encoders_of(ReentrantGrey(), "cuda", 4) == 1
