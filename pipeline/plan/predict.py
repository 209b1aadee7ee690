"""From work and rates to a prediction: time, disk and memory of every step, and what is lacking."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace

from pipeline.config import Config
from pipeline.plan.human import amount, byte_size
from pipeline.plan.machine import Machine, scratch_place
from pipeline.plan.model import COPIES, PRODUCT_EFFICIENCY, Part
from pipeline.plan.rates import Rate, Rates
from pipeline.plan.steps import Step, steps_of
from stages.contract import ConfigurationError
from stages.storage import Storage

#: Widest vectors that are planned for.
MOST_DIM = 65_536
_BUILTIN_DIM = 256
_ALWAYS = (
    (
        "Times are linear extrapolations of rates of single operations on an idle machine; other "
        "load, slow disks and networks are not in them."
    ),
    (
        "Counted as if every image passed the filters and were kept: what is taken out shortens "
        "ocr, caption and shard."
    ),
    "Memory of a stage is what its workers ask for; memory of dedup is what its data take.",
    (
        f"dedup: an item is counted in {COPIES:g} cells; 1.0 to 5 were seen. Its rows by cell stay "
        "in graph/ for later batches, and their bytes grow with that number."
    ),
    (
        f"dedup: products reach {PRODUCT_EFFICIENCY:g} of their bare rate; what is done besides "
        "(numbers handled) is scaled from a search of planted vectors. Data without clear clusters "
        "took 2.5 times as long in a trial."
    ),
)


@dataclass(frozen=True)
class Timed:
    """One operation of a step, and how long it takes.

    Args:
        part: The operation and its amount.
        lanes: Cores, GPUs, workers or disks that share it.
        rate: The rate used; ``None`` where there is none.
    """

    part: Part
    lanes: float
    rate: Rate | None

    @property
    def seconds(self) -> float | None:
        """Amount over rate, lanes and efficiency; ``None`` where one of them is missing."""
        if self.rate is None or not self.lanes:
            return None
        return self.part.amount / (self.rate.value * self.lanes * self.part.efficiency)


@dataclass(frozen=True)
class Prediction:
    """What is predicted of one step.

    Args:
        step: Its work and its workers.
        parts: Its operations with their rates.
        unknown: Why its time is not told; ``None`` where it is.
    """

    step: Step
    parts: tuple[Timed, ...]
    unknown: str | None

    @property
    def name(self) -> str:
        """The step's name."""
        return self.step.work.step

    @property
    def seconds(self) -> float | None:
        """How long it takes; ``None`` where that is unknown."""
        if self.unknown is not None:
            return None
        times = [part.seconds or 0.0 for part in self.parts]
        return max(times) if self.step.work.overlap else sum(times)


@dataclass(frozen=True)
class Plan:
    """A prediction of a whole run.

    Args:
        items: Images.
        dim: Width of their vectors.
        machine: Where it runs.
        steps: In their order.
        rates: All rates at hand.
        notes: What the figures rest on.
        problems: What will not fit, and what to do.
    """

    items: int
    dim: int
    machine: Machine
    steps: tuple[Prediction, ...]
    rates: Rates
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Time of all steps whose time is known, one after the other."""
        return sum(step.seconds or 0.0 for step in self.steps)

    @property
    def unknown(self) -> list[str]:
        """Steps whose time is not known, and so not in the sum."""
        return [step.name for step in self.steps if step.seconds is None]

    @property
    def disk_bytes(self) -> float:
        """What the run leaves on disk."""
        return sum(step.step.work.disk_bytes for step in self.steps)

    @property
    def memory_bytes(self) -> float:
        """The most that any step holds."""
        return max(step.step.work.memory_bytes for step in self.steps)


def make_plan(
    config: Config,
    items: int,
    dim: int,
    machine: Machine,
    rates: Rates,
    notes: tuple[str, ...] = (),
) -> Plan:
    """Predict a run.

    Args:
        config: The run.
        items: Images, at least 1.
        dim: Width of their vectors, in 1..65536.
        machine: What it runs on.
        rates: What to reckon with.
        notes: Further sentences, such as what could not be measured.

    Raises:
        ConfigurationError: If a number is out of range.
    """
    check_size(items, dim)
    steps = tuple(
        predict_step(step, rates) for step in steps_of(config, items, dim, machine, rates)
    )
    plan = Plan(items, dim, machine, steps, rates, (), ())
    return replace(
        plan,
        notes=(*_assumptions(plan, config), *notes),
        problems=(*_room(plan), *_disk(plan, config), *_memory(plan, config)),
    )


def check_size(items: int, dim: int) -> None:
    """Refuse sizes that no run has.

    Raises:
        ConfigurationError: If a number is out of range.
    """
    if items < 1:
        raise ConfigurationError(f"--items must be at least 1, got {items}")
    if not 1 <= dim <= MOST_DIM:
        raise ConfigurationError(f"--dim must be in 1..{MOST_DIM}, got {dim}")


def predict_step(step: Step, rates: Rates) -> Prediction:
    """Time one step by the rates there are."""
    parts = tuple(
        Timed(part, step.layout.lanes(part.spread), rates.get(part.operation))
        for part in step.work.parts
    )
    return Prediction(step, parts, _why_unknown(step, parts))


def _why_unknown(step: Step, parts: tuple[Timed, ...]) -> str | None:
    if step.reason is not None:
        return step.reason
    if any(not part.lanes for part in parts):
        return "it runs on a GPU, and there is none: name them with --gpus"
    missing = [part.part.operation for part in parts if part.rate is None]
    if not missing:
        return None
    on_gpu = any(operation.endswith("@gpu") for operation in missing)
    where = "a machine with a GPU" if on_gpu else "the machine of the run"
    return f"no recorded rate; run winnow plan --measure on {where}"


def _assumptions(plan: Plan, config: Config) -> list[str]:
    images = plan.rates.images
    size = f"{amount(images.pixels)} pixels and {byte_size(images.bytes)} each"
    notes = [
        *_ALWAYS,
        f"Images as those the rates come from: {images.what}, {size}; larger ones take longer.",
    ]
    if config.embed.model == "builtin" and plan.dim != _BUILTIN_DIM:
        notes.append(
            f"embed.model is builtin, whose vectors have {_BUILTIN_DIM} dimensions; counted are "
            f"the {plan.dim} of --dim."
        )
    if str(config.dedup.graph.method).startswith("faiss"):
        notes.append(
            f"dedup.graph.method is {config.dedup.graph.method}; counted is the cells method."
        )
    if "://" in config.corpus or any("://" in source.uri for source in config.source):
        notes.append("Requests to object stores are counted as reads and writes of a local disk.")
    return notes


def _room(plan: Plan) -> list[str]:
    """Stages of which not a single worker fits."""
    found: dict[str, str] = {}
    for each in plan.steps:
        if each.step.layout.fits:
            continue
        stage, needs, machine = each.name.partition(":")[0], each.step.resources, plan.machine
        if stage == "dedup":  # it runs where the run was started, which asks nobody for room
            found[stage] = (
                f"dedup.threads is {needs.cpus}, there are {machine.cores} cores. Name what the "
                "cluster has with --cores, or lower dedup.threads"
            )
            continue
        wanted, there = f"{needs.cpus} cores", f"{machine.cores}"
        if needs.gpus:
            wanted, there = f"{wanted} and {needs.gpus:g} GPU", f"{there} and {machine.gpus}"
        found[stage] = (
            f"{stage}: a worker needs {wanted}, there are {there}, so the run would refuse. "
            f"Name what the cluster has with --cores and --gpus, or lower {stage}.threads"
        )
    return list(found.values())


def _disk(plan: Plan, config: Config) -> list[str]:
    storage = Storage(config.storage)
    if not storage.is_local(config.corpus):
        return []
    free = shutil.disk_usage(scratch_place(storage, config.corpus)).free
    if plan.disk_bytes <= free:
        return []
    what = f"{byte_size(plan.disk_bytes)} of tables, graph and shards are needed"
    there = f"the disk of {config.corpus} has {byte_size(free)} free"
    return [f"disk: {what}, and {there}. Put the corpus on a larger disk"]


def _memory(plan: Plan, config: Config) -> list[str]:
    """Steps that hold more than this machine has; of a cluster only what sits on one machine."""
    limit = plan.machine.memory_bytes
    if limit is None:
        return []
    here = f"this machine has {byte_size(limit)}"
    cluster = plan.machine.cluster or "RAY_ADDRESS" in os.environ
    problems = []
    asked = getattr(config.dedup, "memory_gb", None)
    if asked and asked * 2**30 > limit:
        problems.append(f"memory: dedup.memory_gb is {asked:g}, and {here}. Lower it")
    for each in plan.steps:
        held = each.step.work.memory_bytes
        in_dedup = each.name.startswith("dedup")
        if held > limit and (in_dedup or not cluster):
            what = "use a machine with more memory" if in_dedup else "lower run.workers"
            problems.append(f"memory: {each.name} holds {byte_size(held)}, and {here}: {what}")
    return problems
