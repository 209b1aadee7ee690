"""``winnow doctor``: finds what will go wrong before it does."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape

from pipeline.config import Config, load_config
from pipeline.registry import stages_of
from pipeline.runner import check_stage
from stages.contract import ConfigurationError
from stages.sources import fixed_place
from stages.storage import Storage

#: Distributions that write into the same folder: only one of each pair may be installed.
EXCLUSIVE = {
    "faiss": ("faiss-cpu", "faiss-gpu"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
}
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Finding:
    """One thing the doctor looked at.

    Args:
        topic: What was looked at.
        level: ``ok``, ``warning``, or ``error``, which a run would stumble over.
        text: What was found, and what to do where something is wrong.
    """

    topic: str
    level: Literal["ok", "warning", "error"]
    text: str


def diagnose(config: Path | None = None, overrides: list[str] | None = None) -> list[Finding]:
    """Look at the environment, and at what a configuration would need of it.

    Args:
        config: A run's configuration; ``None`` for the environment alone.
        overrides: ``key.path=value`` settings over it.

    Raises:
        ConfigurationError: If the configuration cannot be read.
    """
    findings = [*_python(), *_installs(), *_gpu(), *_threads()]
    if config is not None:
        findings += list(_run(load_config(config, overrides)))
    return findings


def print_findings(console: Console, findings: list[Finding]) -> None:
    """Print findings, a line each."""
    colours = {"ok": "green", "warning": "yellow", "error": "red"}
    for each in findings:
        level = f"[{colours[each.level]}]{each.level:<7}[/]"
        console.print(
            f"{level} {each.topic:<16} {escape(each.text)}", highlight=False, soft_wrap=True
        )


def _python() -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding("python", "ok", version)
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    level: Literal["ok", "warning"] = "ok" if free > 5 else "warning"
    yield Finding("disk", level, f"{free:.0f} GiB free here")


def _installs() -> Iterator[Finding]:
    installed = {
        _normal(each.metadata["Name"]): each.version
        for each in importlib.metadata.distributions()
        if each.metadata["Name"]
    }
    for module, pair in EXCLUSIVE.items():
        present = [name for name in pair if name in installed]
        if len(present) == 2:
            yield Finding(
                module,
                "error",
                f"{present[0]} and {present[1]} are both installed and overwrite each other: "
                f"uninstall both, then install one",
            )
        elif not present:
            yield Finding(module, "error", "not installed: pip install 'winnow[cpu]' or [gpu]")
        elif importlib.util.find_spec(module) is None:
            yield Finding(module, "error", f"{present[0]} is broken: reinstall it")
        else:
            yield Finding(module, "ok", f"{present[0]} {installed[present[0]]}")
    for name in ("torch", "open-clip-torch", "rapidocr", "igraph", "ray", "duckdb", "pyarrow"):
        found = installed.get(name)
        level: Literal["ok", "error"] = "ok" if found else "error"
        yield Finding(name, level, found or "not installed: reinstall winnow")


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _gpu() -> Iterator[Finding]:
    try:
        import torch
    except ImportError as error:
        yield Finding("gpu", "error", f"torch cannot be imported: {error}. Reinstall it")
        return
    driver = shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()
    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())}
        yield Finding("gpu", "ok", f"{torch.cuda.device_count()} x {', '.join(sorted(names))}")
        if importlib.util.find_spec("faiss") and not _faiss_sees_gpu():
            yield Finding("gpu", "warning", "faiss runs on the CPU: install winnow[gpu] for search")
    elif driver:
        yield Finding("gpu", "warning", "a driver is there but torch sees no GPU: check CUDA")
    else:
        yield Finding("gpu", "ok", "none; everything runs on the CPU")


def _faiss_sees_gpu() -> bool:
    import faiss

    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def _threads() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ}
    text = f"{cores} cores" + "".join(f", {name}={value}" for name, value in limits.items())
    too_many = any(value.isdecimal() and int(value) > (cores or 1) for value in limits.values())
    if too_many:
        yield Finding("threads", "warning", f"{text}: more threads than cores slow everything down")
    else:
        yield Finding("threads", "ok", text)


def _run(config: Config) -> Iterator[Finding]:
    storage = Storage(config.storage)
    places = [(fixed_place(source.uri), False) for source in config.source] + [
        (config.corpus, True)
    ]
    for uri, writable in places:
        try:
            storage.check(uri, writable=writable)
        except ConfigurationError as error:
            yield Finding("storage", "error", str(error))
        else:
            yield Finding("storage", "ok", f"{uri} {'writable' if writable else 'readable'}")
    for stage in stages_of(config):
        try:
            check_stage(stage, config, storage)
        except ConfigurationError as error:
            yield Finding(stage.name, "error", str(error))
        else:
            yield Finding(stage.name, "ok", "has what can be checked before it runs")
