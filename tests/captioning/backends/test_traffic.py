"""The rate limit over a clock of our own, and the pauses before a repeat."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.backends.traffic import RateLimit, Traffic, asked_pause, pause_before_repeat


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@given(st.integers(1, 600), st.lists(st.floats(0, 3), min_size=2, max_size=40))
def test_no_more_requests_a_minute_than_allowed(limit: int, gaps: list[float]) -> None:
    clock = Clock()
    rate = RateLimit(limit, clock=clock, sleep=clock.sleep)
    sent = []
    for gap in gaps:
        clock.now += gap
        rate.wait()
        sent.append(clock.now)
    for start in sent:
        # The one at the start of the minute is beyond the spacing.
        assert sum(start <= moment < start + 60 for moment in sent) <= limit + 1


def test_tokens_are_spread_by_what_answers_took() -> None:
    clock = Clock()
    rate = RateLimit(tokens=6000, clock=clock, sleep=clock.sleep)
    for _ in range(61):
        rate.wait()
        rate.settle(100)
    # 6000 tokens a minute are one answer of 100 tokens a second.
    assert clock.now - 100.0 == pytest.approx(60.0, abs=25.0)


def test_without_a_limit_nobody_waits() -> None:
    clock = Clock()
    rate = RateLimit(clock=clock, sleep=clock.sleep)
    assert sum(rate.wait() for _ in range(100)) == 0


def test_a_server_can_hold_back_all() -> None:
    clock = Clock()
    rate = RateLimit(clock=clock, sleep=clock.sleep)
    rate.hold(7.0)
    assert rate.wait() == pytest.approx(7.0)
    assert rate.wait() == 0


def test_pauses_grow_and_differ() -> None:
    for repeat, most in enumerate((0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)):
        pauses = [pause_before_repeat(repeat) for _ in range(50)]
        assert most / 2 <= min(pauses) < max(pauses) <= most


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_pause_a_server_asks_for(headers: dict[str, str] | None, seconds: float | None) -> None:
    assert asked_pause(headers) == seconds
    if seconds is not None:
        assert pause_before_repeat(5, headers) == seconds


def test_most_in_flight() -> None:
    traffic = Traffic()
    with traffic.request(), traffic.request():
        pass
    with traffic.request():
        pass
    figures = traffic.take()
    assert (figures.most_in_flight, figures.requests) == (2, 3)
    assert traffic.take().most_in_flight == 0
