"""A bounded stream of images through an embedder that keeps its threads and the model busy."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.contract import ItemError, Reason
from stages.embedders.base import Embedder
from stages.images import decode

Vector = NDArray[np.float32]
Prepared = NDArray[np.generic]


def encoders_of(embedder: Embedder, device: str, threads: int) -> int:
    """How many batches of an embedder are encoded side by side.

    Args:
        embedder: Which one.
        device: ``cpu`` or ``cuda``.
        threads: Threads of the worker.
    """
    return threads if embedder.reentrant and device == "cpu" else 1


def load_for_stream(embedder: Embedder, device: str, threads: int) -> None:
    """Load an embedder with the threads that one batch of a stream may use.

    Raises:
        ConfigurationError: If it cannot be loaded.
    """
    embedder.load(device, threads // encoders_of(embedder, device, threads))


class EmbeddingStream:
    """Encoded images in, vectors out, in the same order.

    On CUDA one thread feeds the model while ``threads`` others decode and resize. On the CPU
    there is nothing to gain from that: the ``threads`` threads take whatever there is to do,
    an image to decode or a batch to encode, so that no core waits and none is fought over.
    What is prepared ahead is at most two batches for each batch in the model.

    Args:
        embedder: Loaded by ``load_for_stream``.
        device: What it was loaded for.
        threads: Threads that decode, at least 1.
        batch_size: Images that go through the model at once, at least 1.
        decoder: From bytes to the RGB image; an exception it raises quarantines the item.

    Attributes:
        images: Images that came in so far.
        wall_s: Seconds since the first was asked for, until the last was given.
        prepare_s: Seconds of decoding and resizing, all threads together.
        encode_s: Seconds in the model, all batches together.
    """

    def __init__(
        self,
        embedder: Embedder,
        device: str,
        threads: int,
        batch_size: int,
        decoder: Callable[[bytes], Image.Image] = decode,
    ) -> None:
        self._embedder = embedder
        self._decode = decoder
        self._threads = threads
        self._batch = batch_size
        self._encoders = encoders_of(embedder, device, threads)
        self._shared = embedder.reentrant and device == "cpu"
        self._lock = threading.Lock()
        self.images = 0
        self.wall_s = self.prepare_s = self.encode_s = 0.0

    def metrics(self) -> dict[str, float]:
        """Figures for the events.

        Returns:
            ``images_per_s``; ``wait_share``, the share of its time, 0..1, in which the model had
            no batch to work on; ``wait_s``, the same in seconds; ``encode_s`` and ``prepare_s``.
        """
        offered = self._encoders * self.wall_s
        waited = max(0.0, offered - self.encode_s)
        return {
            "images_per_s": self.images / self.wall_s if self.wall_s else 0.0,
            "wait_share": waited / offered if offered else 0.0,
            "wait_s": waited,
            "encode_s": self.encode_s,
            "prepare_s": self.prepare_s,
        }

    def run(self, encoded: Iterable[bytes | ItemError]) -> Iterator[Vector | ItemError]:
        """Embed a stream of encoded images.

        Args:
            encoded: Bytes, or why there are none; read from one thread, no further ahead than
                three batches for each that is in the model.

        Yields:
            For each a vector, float32 (dim,) of unit length, or the error that quarantines it.
        """
        started = time.perf_counter()
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="embed")
        model = pool if self._shared else ThreadPoolExecutor(1, thread_name_prefix="encode")
        try:
            for vectors in self._batches(iter(encoded), pool, model):
                self.images += len(vectors)
                self.wall_s = time.perf_counter() - started
                yield from vectors
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            model.shutdown(wait=True, cancel_futures=True)

    def _batches(
        self,
        encoded: Iterator[bytes | ItemError],
        pool: ThreadPoolExecutor,
        model: ThreadPoolExecutor,
    ) -> Iterator[list[Vector | ItemError]]:
        """The results of batch after batch, while later ones are prepared and encoded."""
        ahead: deque[list[Future[Prepared | ItemError]]] = deque()
        inside: deque[Future[list[Vector | ItemError]]] = deque()
        while True:
            while len(ahead) < 2 * self._encoders:
                chunk = [pool.submit(self._prepare, data) for data in islice(encoded, self._batch)]
                if not chunk:
                    break
                ahead.append(chunk)
            if ahead:
                prepared = [each.result() for each in ahead.popleft()]
                inside.append(model.submit(self._encode, prepared))
            if not inside:
                return
            # One more than there are encoders, so that none waits for this thread.
            if len(inside) > self._encoders or not ahead:
                yield inside.popleft().result()

    def _prepare(self, data: bytes | ItemError) -> Prepared | ItemError:
        if isinstance(data, ItemError):
            return data
        with self._timed("prepare_s"):
            try:
                return self._embedder.prepare(self._decode(data))
            except ItemError as error:
                return error
            except MemoryError:
                raise  # the machine, not the item: the runner retries the partition
            except Exception as error:  # noqa: BLE001 - the item is quarantined with this reason
                return ItemError(Reason.STAGE_ERROR, f"{type(error).__name__}: {error}")

    def _encode(self, prepared: list[Prepared | ItemError]) -> list[Vector | ItemError]:
        good = [each for each in prepared if not isinstance(each, ItemError)]
        with self._timed("encode_s"):
            vectors = iter(self._embedder.encode(good) if good else ())
        return [
            each if isinstance(each, ItemError) else self._judged(next(vectors))
            for each in prepared
        ]

    def _judged(self, vector: Vector) -> Vector | ItemError:
        if np.isfinite(vector).all():
            return vector
        detail = f"{self._embedder.name} gave a vector that is zero or not finite"
        return ItemError(Reason.STAGE_ERROR, detail)

    @contextmanager
    def _timed(self, figure: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                setattr(self, figure, getattr(self, figure) + time.perf_counter() - started)
