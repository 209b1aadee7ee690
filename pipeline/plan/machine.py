"""What a run is given: cores, GPUs, memory, disk; and how a stage's workers fit into it."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.plan.model import Spread
from stages.contract import ConfigurationError, Resources
from stages.storage import Storage

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """What a run has.

    Args:
        cores: CPU cores, at least 1.
        gpus: GPUs, at least 0.
        memory_bytes: Memory of this machine; ``None`` where it cannot be told.
        cluster: Whether the cores are those of a cluster, named by the caller.
        name: This machine, in words.
    """

    cores: int
    gpus: int
    memory_bytes: int | None
    cluster: bool
    name: str


@dataclass(frozen=True)
class Layout:
    """How a stage's workers lie on a machine.

    Args:
        workers: How many, at least 1.
        cores: Cores they keep busy together.
        gpus: GPUs they keep busy together; whole ones, however many workers share one.
        fits: Whether the machine holds a single worker at all.
    """

    workers: int
    cores: int
    gpus: float
    fits: bool

    def lanes(self, spread: Spread) -> float:
        """Over how many lanes a piece of work is shared out."""
        if spread is Spread.CORES:
            return float(self.cores)
        if spread is Spread.GPUS:
            return self.gpus
        if spread is Spread.WORKERS:
            return float(self.workers)
        return 1.0


def this_machine(cores: int | None = None, gpus: int | None = None) -> Machine:
    """This machine, or the cluster whose size the caller names.

    Args:
        cores: CPU cores; ``None`` for those of this machine.
        gpus: GPUs; ``None`` for those of this machine.

    Raises:
        ConfigurationError: If a number is out of range.
    """
    if cores is not None and cores < 1:
        raise ConfigurationError(f"--cores must be at least 1, got {cores}")
    if gpus is not None and gpus < 0:
        raise ConfigurationError(f"--gpus must be at least 0, got {gpus}")
    return Machine(
        cores=cores or own_cores(),
        gpus=own_gpus() if gpus is None else gpus,
        memory_bytes=_own_memory(),
        cluster=cores is not None,
        name=_own_name(),
    )


def own_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def own_gpus() -> int:
    """CUDA devices of this machine; torch is asked only where there is a driver."""
    if not (shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()):
        return 0
    import torch

    return torch.cuda.device_count()


def lay_out(resources: Resources, machine: Machine, limit: int, *, local: bool) -> Layout:
    """How many workers of a stage run side by side, and what they keep busy.

    Args:
        resources: What one worker needs.
        machine: What there is.
        limit: Most workers: ``run.workers``, or as many as there are pieces of work.
        local: Whether the run stays in one process (``run.executor: local``).
    """
    room = machine.cores // max(resources.cpus, 1)
    if resources.gpus:
        room = min(room, int(machine.gpus / resources.gpus))
    wanted = 1 if local else max(room, 1)
    workers = max(1, min(wanted, limit))
    # A run in this process asks nobody for room.
    fits = room >= 1 or (local and machine.gpus >= resources.gpus)
    return Layout(
        workers=workers,
        cores=min(workers * max(resources.cpus, 1), machine.cores),
        gpus=min(float(machine.gpus), max(1.0, workers * resources.gpus)),
        fits=fits,
    )


def scratch_place(storage: Storage, corpus: str) -> Path:
    """The folder that is there already and whose disk holds a local corpus, or else scratch."""
    if not storage.is_local(corpus):
        return Path(tempfile.gettempdir())
    path = Path(storage.locate(corpus)[1])
    while not path.is_dir():
        path = path.parent
    return path


def _own_memory() -> int | None:
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    # A container may be allowed less than the machine has.
    if _CGROUP_LIMIT.is_file():
        limit = _CGROUP_LIMIT.read_text(encoding="ascii").strip()
        memory = min(memory, int(limit)) if limit.isdecimal() else memory
    return memory


def _own_name() -> str:
    model = platform.processor() or platform.machine()
    if _CPU_INFO.is_file():
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    cores = own_cores()
    memory = _own_memory()
    size = f", {memory / 2**30:.0f} GB" if memory else ""
    return f"{cores} core{'s' * (cores > 1)} of {model}{size}"
