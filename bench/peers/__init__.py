"""What ``bench/dedup.py`` compares: ways from vectors on disk to keepers on disk.

A peer is a function of a job and a clock. It imports its libraries itself, before the clock
runs: a peer's process holds no library of another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from bench.peers.base import Clock, Found, Job

Peer = Callable[[Job, Clock], Found]


def _winnow(job: Job, clock: Clock) -> Found:
    from bench.peers.cells import run

    return run(job, clock)


def _ivf_leiden(k: int, job: Job, clock: Clock) -> Found:
    from bench.peers.ivf import knn_and_leiden

    return knn_and_leiden(job, clock, k)


def _ivf_components(job: Job, clock: Clock) -> Found:
    from bench.peers.ivf import range_and_components

    return range_and_components(job, clock)


def _semdedup(per_cluster: int, job: Job, clock: Clock) -> Found:
    from bench.peers.semdedup import run

    return run(job, clock, per_cluster)


def _fastdup(job: Job, clock: Clock) -> Found:
    from bench.peers.fastdup_peer import run

    return run(job, clock)


PEERS: Mapping[str, Peer] = {
    "winnow": _winnow,
    "ivf-leiden-16": partial(_ivf_leiden, 16),
    "ivf-leiden-100": partial(_ivf_leiden, 100),
    "ivf-components": _ivf_components,
    "semdedup": partial(_semdedup, 8_800),
    "semdedup-1000": partial(_semdedup, 1_000),
    "fastdup": _fastdup,
}
