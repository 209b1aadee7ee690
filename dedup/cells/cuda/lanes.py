"""Lanes: streams of a GPU with page-locked buffers, each used by one thread at a time.

A task takes a lane, uploads its rows and computes on the lane's stream. As several lanes are
busy at once, uploads of one overlap with the arithmetic of another, and the number of lanes
bounds the memory that is in use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from queue import SimpleQueue
from threading import Lock

import numpy as np
import torch
from torch import Tensor

#: Bytes of one buffer; a lane has two of them and fills one while the other is under way.
_BUFFER = 1 << 24
#: Memory of a GPU that one lane may need at its peak, and the most lanes that pay.
_LANE_BYTES = 16 << 30
_MOST_LANES = 8

_pools: dict[str, SimpleQueue[Lane]] = {}
_lock = Lock()


class Lane:
    """A way onto a device.

    Args:
        device: Of torch.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._on_gpu = device.type == "cuda"
        if self._on_gpu:
            self._stream = torch.cuda.Stream(device)
            self._buffers = [
                torch.empty(_BUFFER, dtype=torch.uint8, pin_memory=True) for _ in range(2)
            ]
            self._sent = [torch.cuda.Event() for _ in self._buffers]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Everything inside runs on this lane's stream, and is done when the context ends."""
        with torch.cuda.stream(self._stream) if self._on_gpu else nullcontext():
            try:
                yield
            finally:
                if self._on_gpu:
                    self._stream.synchronize()

    def upload(self, array: np.ndarray) -> Tensor:
        """An array as a tensor on the device."""
        return torch.from_numpy(_writable(array)).to(self.device)

    def pieces(self, parts: list[np.ndarray]) -> Iterator[tuple[slice, Tensor]]:
        """Rows on the device, some at a time; the next are fetched while these are sent.

        Args:
            parts: Arrays of one type, (n_i, d), rows of at most 16 MiB; read one after the other.

        Yields:
            Which rows of them all, and the rows.
        """
        start = 0
        for number, views in enumerate(_batches(parts)):
            rows = self._send(views, number % 2)
            yield slice(start, start + len(rows)), rows
            start += len(rows)

    def _send(self, views: list[np.ndarray], place: int) -> Tensor:
        if not self._on_gpu:
            return torch.from_numpy(np.concatenate(views)).to(self.device)
        self._sent[place].synchronize()  # what the buffer held before has arrived
        count, width = sum(map(len, views)), views[0].shape[1]
        kind = torch.from_numpy(np.empty(0, dtype=views[0].dtype)).dtype
        buffer = self._buffers[place][: count * width * kind.itemsize]
        rows = buffer.view(kind).view(count, width)
        np.concatenate(views, out=rows.numpy())
        sent = rows.to(self.device, non_blocking=True)
        self._sent[place].record(self._stream)
        return sent


def _batches(parts: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Views of the rows of some arrays, in order, that fill one buffer each."""
    views: list[np.ndarray] = []
    room = 0
    for part in parts:
        start = 0
        while start < len(part):
            if not room:
                if views:
                    yield views
                views, room = [], max(1, _BUFFER // (part.dtype.itemsize * part.shape[1]))
            views.append(part[start : start + room])
            room -= len(views[-1])
            start += len(views[-1])
    if views:
        yield views


def _writable(array: np.ndarray) -> np.ndarray:
    """PyTorch warns of arrays that are read-only."""
    array = np.ascontiguousarray(array)
    return array if array.flags.writeable else array.copy()


@contextmanager
def lane(device: str) -> Iterator[Lane]:
    """A lane, for as long as the context lasts; waits while all are taken.

    Args:
        device: ``cuda`` for any GPU of this process, or one device by its name in torch.
    """
    pool = _pool(device)
    taken = pool.get()
    try:
        with taken.active():
            yield taken
    finally:
        pool.put(taken)


def _pool(device: str) -> SimpleQueue[Lane]:
    with _lock:
        if device not in _pools:
            pool: SimpleQueue[Lane] = SimpleQueue()
            for each in _lanes(device):
                pool.put(each)
            _pools[device] = pool
        return _pools[device]


def _lanes(device: str) -> list[Lane]:
    """The lanes of all GPUs in turn, so that tasks spread over them."""
    if torch.device(device).type != "cuda":
        return [Lane(torch.device(device)) for _ in range(_MOST_LANES)]
    count = torch.cuda.device_count()
    numbers = range(count) if device == "cuda" else [torch.device(device).index]
    devices = []
    for number in numbers:
        memory = torch.cuda.get_device_properties(number).total_memory
        lanes = min(_MOST_LANES, max(1, memory // _LANE_BYTES))
        devices += [(place, number) for place in range(lanes)]
    return [Lane(torch.device("cuda", number)) for _, number in sorted(devices)]
