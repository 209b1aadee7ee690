"""Run one peer in a process of its own: ``python -m bench.peers NAME JOB.json``.

Writes ``found.npz`` and ``times.json`` beside the job. Thread counts of the numerical libraries
come from the environment, which the caller sets before this process starts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.peers import PEERS
from bench.peers.base import Clock, Job


def main() -> None:
    """Run the peer, then note what it found and how long it took."""
    name, job_file = sys.argv[1], Path(sys.argv[2])
    clock = Clock()
    found = PEERS[name](Job.read(job_file), clock)
    found.save(job_file.with_name("found.npz"))
    times = json.dumps(vars(clock))
    job_file.with_name("times.json").write_text(times, encoding="utf-8")


if __name__ == "__main__":
    main()
