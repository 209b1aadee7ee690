"""``winnow plan``: time, disk and memory of a run before it starts."""

from __future__ import annotations

from pipeline.config import Config
from pipeline.plan.machine import Machine, this_machine
from pipeline.plan.predict import Plan, check_size, make_plan
from pipeline.plan.rates import Rate, Rates, recorded
from pipeline.plan.table import plan_json, print_plan

__all__ = [
    "Machine",
    "Plan",
    "Rate",
    "Rates",
    "make_plan",
    "plan_json",
    "plan_run",
    "print_plan",
    "recorded",
    "this_machine",
]


def plan_run(
    config: Config,
    items: int,
    dim: int,
    *,
    gpus: int | None = None,
    cores: int | None = None,
    measured: bool = False,
) -> Plan:
    """Predict time, disk and memory of a run, step by step.

    Args:
        config: The run.
        items: Images, at least 1.
        dim: Width of their vectors, in 1..65536.
        gpus: GPUs, at least 0; ``None`` for those of this machine.
        cores: CPU cores of the cluster, at least 1; ``None`` for those of this machine.
        measured: Measure this machine first, for about half a minute; what cannot be measured
            is taken from the record.

    Raises:
        ConfigurationError: If a number is out of range.
    """
    check_size(items, dim)
    machine = this_machine(cores, gpus)
    rates, notes = recorded(), []
    if measured:
        from pipeline.plan.measure import measure

        found = measure(config, dim, machine)
        rates, notes = rates.updated(found.rates, found.images), found.notes
    return make_plan(config, items, dim, machine, rates, tuple(notes))
