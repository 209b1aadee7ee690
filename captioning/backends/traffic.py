"""Requests on their way: how many at once, how fast, how long to wait, and what they cost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

#: Longest pause that a server may ask for, in seconds.
LONGEST_PAUSE = 300.0
_FIRST_PAUSE, _MOST_PAUSE = 0.5, 30.0


@dataclass(frozen=True)
class Figures:
    """What has gone over the wire.

    Args:
        requests: Requests sent, repeats included.
        repeats: Those that were sent because one before had failed.
        answers: Answers received.
        kept_answers: Answers that an earlier run had paid for.
        prompt_tokens: Of the answers received.
        completion_tokens: Of the answers received.
        request_seconds: Of all requests together.
        waited: Seconds that requests were held back, by the rate limit or a server's word.
        most_in_flight: Most requests on their way at once.
    """

    requests: int = 0
    repeats: int = 0
    answers: int = 0
    kept_answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    request_seconds: float = 0.0
    waited: float = 0.0
    most_in_flight: int = 0


class Traffic:
    """Counts requests; may be used by several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_flight = 0
        self._figures = Figures()

    def take(self) -> Figures:
        """The figures since the last call."""
        with self._lock:
            figures, self._figures = self._figures, Figures(most_in_flight=self._in_flight)
            return figures

    def add(self, **figures: float) -> None:
        """Add to some of the figures."""
        with self._lock:
            old = self._figures
            sums = {name: getattr(old, name) + value for name, value in figures.items()}
            self._figures = replace(old, **sums)

    @contextmanager
    def request(self) -> Iterator[None]:
        """While a request is on its way."""
        with self._lock:
            self._in_flight += 1
            most = max(self._figures.most_in_flight, self._in_flight)
            self._figures = replace(self._figures, most_in_flight=most)
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1
            self.add(requests=1, request_seconds=time.perf_counter() - started)


class RateLimit:
    """Keeps requests and tokens per minute below a limit, evenly spread.

    Args:
        requests: A minute; ``None`` for no limit.
        tokens: A minute, prompts and answers together; ``None`` for no limit.
        clock: Seconds since some moment.
        sleep: Waits some seconds.
    """

    def __init__(
        self,
        requests: int | None = None,
        tokens: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._lock = threading.Lock()
        self._clock, self._sleep = clock, sleep
        self._rates = (requests or 0) / 60, (tokens or 0) / 60
        self._free = [clock(), clock()]
        self._held_until = clock()
        self._mean_tokens, self._settled = 2000.0, 0

    def wait(self) -> float:
        """Wait for one's turn; returns the seconds it took.

        The tokens of a request are not known before its answer: the mean of those before it
        is set aside, and ``settle`` corrects it.
        """
        with self._lock:
            now = self._clock()
            turn = max([now, self._held_until, *self._free])
            costs = 1.0, self._mean_tokens
            for index, (rate, cost) in enumerate(zip(self._rates, costs, strict=True)):
                if rate:
                    self._free[index] = max(self._free[index], now) + cost / rate
        pause = turn - now
        while pause > 0:
            self._sleep(pause)
            with self._lock:  # a server may have asked for more in the meantime
                pause = self._held_until - self._clock()
        return max(0.0, self._clock() - now)

    def settle(self, tokens: int) -> None:
        """Say what an answer took in fact."""
        with self._lock:
            if self._rates[1]:
                self._free[1] += (tokens - self._mean_tokens) / self._rates[1]
            self._settled += 1
            weight = max(1 / self._settled, 0.02)
            self._mean_tokens += (tokens - self._mean_tokens) * weight

    def hold(self, seconds: float) -> None:
        """Hold back all requests for some time, because the server said so."""
        with self._lock:
            self._held_until = max(self._held_until, self._clock() + seconds)


def pause_before_repeat(repeat: int, headers: Mapping[str, str] | None = None) -> float:
    """Seconds to wait before a request is sent again.

    Args:
        repeat: 0 for the first repeat.
        headers: Of the failed response; ``Retry-After-Ms`` and ``Retry-After`` in seconds
            are obeyed (RFC 9110 10.2.3; its dates are not).

    Returns:
        What the server asks for; else a random time between half and all of 0.5, 1, 2, ...,
        30 s, so that workers that failed together do not come back together.
    """
    asked = asked_pause(headers)
    if asked is not None:
        return asked
    most = min(_FIRST_PAUSE * 2**repeat, _MOST_PAUSE)
    return most * random.uniform(0.5, 1.0)  # noqa: S311 - nothing secret


def asked_pause(headers: Mapping[str, str] | None) -> float | None:
    """The seconds that a response asks to wait; ``None`` where it does not say."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float((headers or {})[name]) * unit
        except (KeyError, ValueError):
            continue
        if seconds >= 0:
            return seconds
    return None
