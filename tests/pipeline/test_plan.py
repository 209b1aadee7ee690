"""``winnow plan``: the cost model, the rates, the prediction, and what the command prints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from pipeline.cli import app
from pipeline.config import Config, load_config
from pipeline.console import Exit
from pipeline.plan import Machine, Plan, Rate, make_plan, recorded, this_machine
from pipeline.plan.human import amount, byte_size, duration
from pipeline.plan.machine import lay_out
from pipeline.plan.measure import measure
from pipeline.plan.model import (
    CELL_ITEMS,
    COPIES,
    EDGE_BYTES,
    EDGES_PER_ITEM,
    FLAT_CELLS,
    ONE_CELL,
    STATE_BYTES,
    assign_products,
    cells,
    centroids_scanned,
    compare_products,
    dedup_work,
    driver_bytes,
    row_bytes,
    rows_bytes,
)
from pipeline.plan.rates import parse_rates
from pipeline.registry import STAGES
from pipeline.runner import Runner
from stages.contract import ConfigurationError, Resources
from tests.pipeline.line import config_for, write_pictures

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "configs" / "quickstart.yaml"
PRODUCTION = ROOT / "configs" / "production.yaml"

FLAT_ITEMS = FLAT_CELLS * CELL_ITEMS
sizes = st.integers(1, 10**11)
widths = st.integers(1, 4096)


def machine(cores: int = 4, gpus: int = 0, memory: int | None = 1 << 45) -> Machine:
    return Machine(cores, gpus, memory, cluster=False, name="a machine")


def plan_of(config: Config | Path, items: int, dim: int = 512, **changes: Any) -> Plan:
    settings = config if isinstance(config, Config) else load_config(config)
    return make_plan(settings, items, dim, machine(**changes), recorded())


def winnow(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def words(result: Result) -> str:
    return " ".join(result.output.split())


# The cost model


@given(sizes, st.integers(0, 10**11), widths)
def test_more_items_never_take_less_room(items: int, more: int, dim: int) -> None:
    few, many = (dedup_work(count, dim, 4.0) for count in (items, items + more))
    for one, other in zip(few, many, strict=True):
        assert one.disk_bytes <= other.disk_bytes
        assert one.memory_bytes <= other.memory_bytes


@given(
    st.sampled_from([(1, ONE_CELL), (ONE_CELL + 1, FLAT_ITEMS), (FLAT_ITEMS + 1, 10**11)]),
    widths,
    st.data(),
)
def test_more_items_are_never_less_work(regime: tuple[int, int], dim: int, data: Any) -> None:
    # Where the engine changes its ways, an item may get cheaper; in between it does not.
    items = data.draw(st.integers(*regime))
    more = data.draw(st.integers(items, regime[1]))
    few, many = (dedup_work(count, dim, 4.0) for count in (items, more))
    for one, other in zip(few, many, strict=True):
        least = {part.operation: part.amount for part in one.parts}
        most = {part.operation: part.amount for part in other.parts}
        # Cells are whole: where there is one more, the others shrink a little.
        assert all(least[name] <= most[name] * (1 + 1 / cells(items)) for name in least)


@given(st.integers(1, 10**10), widths, st.integers(2, 10))
def test_bytes_are_linear_in_items(items: int, dim: int, times: int) -> None:
    assert rows_bytes(times * items, dim) == pytest.approx(times * rows_bytes(items, dim))
    assert driver_bytes(times * items) == times * driver_bytes(items)


def test_bytes_have_the_units_they_claim() -> None:
    # A row is a float16 vector, its int8 code, 3/8 of the code again, and some numbers; an edge
    # two int64 and a float32.
    assert row_bytes(512) == 1024 + 512 + 192 + 52
    assert rows_bytes(1000, 512) == pytest.approx(1000 * COPIES * 1780)
    edges = {work.step: work.disk_bytes for work in dedup_work(1000, 512, 4.0)}["dedup: compare"]
    assert edges == pytest.approx(1000 * EDGES_PER_ITEM * EDGE_BYTES)
    union_find = {work.step: work.memory_bytes for work in dedup_work(1000, 8, 4.0)}
    assert union_find["dedup: components"] == 8000


@settings(deadline=None)  # the engine's kernels load in the first call
@given(sizes)
def test_cells_are_those_of_the_engine(items: int) -> None:
    from dedup.cells.graph import cell_count

    assert cells(items) == cell_count(items)
    assert centroids_scanned(cells(items)) <= cells(items)


def test_one_cell_compares_each_pair_once() -> None:
    assert compare_products(20_000) == pytest.approx(20_000**2 / 2)
    assert assign_products(20_000) == 20_000


@given(st.integers(1, 4096))
@example(128)
@example(512)
@example(768)
@example(65_536)
def test_a_row_by_cell_is_as_large_as_the_engine_says(dim: int) -> None:
    from dedup.cells import shuffle

    assert row_bytes(dim) == shuffle.row_bytes(dim, "float16", codes=True)


@given(st.integers(ONE_CELL + 1, 10**9), widths, st.sampled_from([0.25, 4.0, 4096.0]))
def test_rows_by_cell_are_kept_however_much_memory_there_is(
    items: int, dim: int, memory_gb: float
) -> None:
    works = {work.step: work for work in dedup_work(items, dim, memory_gb)}
    assigning, comparing = works["dedup: assign + shuffle"], works["dedup: compare"]
    size = rows_bytes(items, dim)
    assert assigning.disk_bytes == size
    assert {part.operation: part.amount for part in assigning.parts}["disk_write"] == size
    assert {part.operation: part.amount for part in comparing.parts}["disk_read"] == size
    # Pairs are in the table and in the graph.
    assert comparing.disk_bytes == pytest.approx(2 * items * EDGES_PER_ITEM * EDGE_BYTES)
    assert works["dedup: communities + keepers"].disk_bytes == items * STATE_BYTES


@given(st.integers(1, ONE_CELL), widths)
def test_up_to_one_cell_no_graph_is_kept(items: int, dim: int) -> None:
    works = dedup_work(items, dim, 4.0)
    assert sum(work.disk_bytes for work in works) == items * EDGES_PER_ITEM * EDGE_BYTES
    assert "disk_write" not in {part.operation for work in works for part in work.parts}


def test_products_grow_with_the_width_and_looks_at_them_do_not() -> None:
    narrow, wide = (
        {part.operation: part.amount for part in dedup_work(10**6, dim, 4.0)[3].parts}
        for dim in (256, 512)
    )
    assert wide["products"] == pytest.approx(2 * narrow["products"])
    assert wide["scan"] == narrow["scan"]


# Prediction


def times(plan: Plan) -> dict[str, float | None]:
    return {step.name: step.seconds for step in plan.steps}


def test_every_stage_and_every_step_of_dedup_is_predicted() -> None:
    plan = plan_of(QUICKSTART, 10**6)
    names = [step.name for step in plan.steps]
    stages = [name for name in names if not name.startswith(("dedup", "start-up"))]
    assert stages == [stage.name for stage in STAGES if stage.name != "dedup"]
    assert [name for name in names if name.startswith("dedup")] == [
        "dedup: exact",
        "dedup: centroids",
        "dedup: assign + shuffle",
        "dedup: compare",
        "dedup: components",
        "dedup: communities + keepers",
        "dedup: recall audit",
    ]
    assert plan.unknown == []
    assert plan.seconds == pytest.approx(sum(step.seconds or 0 for step in plan.steps))


@given(sizes, st.integers(0, 10**11))
def test_a_larger_run_never_takes_less(items: int, more: int) -> None:
    # With more workers, one more piece of work can keep one more of them busy.
    config = load_config(QUICKSTART, ["run.executor=local"])
    few, many = (plan_of(config, count) for count in (items, items + more))
    # But for the search, whose ways change with its size.
    searching = {"dedup: centroids", "dedup: assign + shuffle", "dedup: compare"}
    for name in set(times(few)) - searching:
        shorter, longer = times(few)[name], times(many)[name]
        assert shorter is not None
        assert longer is not None
        assert shorter <= longer * (1 + 1e-9), name
    assert few.disk_bytes <= many.disk_bytes
    assert few.memory_bytes <= many.memory_bytes


def test_stages_are_linear_in_items_and_in_cores() -> None:
    one, twice = times(plan_of(QUICKSTART, 128 * 8000)), times(plan_of(QUICKSTART, 128 * 16000))
    wide = times(plan_of(QUICKSTART, 128 * 8000, cores=8))
    for name in ("ingest", "profile", "embed", "filter", "ocr", "caption", "shard"):
        first, second, shared = one[name], twice[name], wide[name]
        assert first is not None
        assert second == pytest.approx(2 * first, rel=0.01)
        assert shared == pytest.approx(first / 2, rel=0.01)


def test_a_rate_gives_the_time_it_says() -> None:
    config = load_config(QUICKSTART, ["run.executor=local"])
    rates = recorded()
    rate = rates.rates["profile"]
    free = {name: replace(each, value=1e30) for name, each in rates.rates.items()}
    plan = make_plan(config, 3000, 64, machine(), replace(rates, rates=free | {"profile": rate}))
    assert plan.seconds == pytest.approx(3000 / rate.value)


def test_a_local_run_is_one_worker_and_starts_nothing() -> None:
    plan = plan_of(load_config(QUICKSTART, ["run.executor=local"]), 10**5, cores=16)
    assert {step.step.layout.workers for step in plan.steps} == {1}
    assert "start-up" not in times(plan)


def test_workers_are_limited_by_the_configuration_the_work_and_the_room() -> None:
    needs = Resources(cpus=4, gpus=0.5)
    assert lay_out(needs, machine(64, 2), 100, local=False).workers == 4
    assert lay_out(needs, machine(8, 2), 100, local=False).workers == 2
    assert lay_out(needs, machine(64, 2), 3, local=False).workers == 3
    assert lay_out(needs, machine(64, 2), 100, local=False).gpus == 2
    none = lay_out(needs, machine(2, 2), 100, local=False)
    assert (none.workers, none.cores, none.fits) == (1, 2, False)
    limited = plan_of(load_config(QUICKSTART, ["run.workers=2"]), 10**6, cores=16)
    assert times(limited)["ocr"] == pytest.approx(times(plan_of(QUICKSTART, 10**6, cores=2))["ocr"])


def test_without_a_gpu_a_gpu_step_has_no_time() -> None:
    plan = plan_of(PRODUCTION, 10**6, cores=64)
    (embed,) = [step for step in plan.steps if step.name == "embed"]
    assert embed.seconds is None
    assert "there is none: name them with --gpus" in str(embed.unknown)
    assert times(plan)["dedup: compare"]  # products run on the CPU where there is no GPU
    assert any("embed: a worker needs 8 cores and 1 GPU" in each for each in plan.problems)


def test_no_gpu_rate_is_invented() -> None:
    config = load_config(PRODUCTION, ["dedup.graph.device=auto"])
    plan = plan_of(config, 10**9, cores=256, gpus=8)
    expected = "no recorded rate; run winnow plan --measure on a machine with a GPU"
    for step in plan.steps:
        gpu = any(part.part.operation.endswith("@gpu") for part in step.parts)
        assert (step.unknown == expected) == gpu, step.name
    assert {"embed", "dedup: compare", "dedup: assign + shuffle"} <= set(plan.unknown)
    assert "caption" in plan.unknown  # an endpoint's pace is its own


def test_a_recorded_gpu_rate_is_used_and_decoding_runs_beside_it() -> None:
    config = load_config(PRODUCTION, ["embed.model=open_clip/ViT-B-32/openai", "embed.threads=32"])
    encoding = recorded().rates["embed/open_clip/ViT-B-32@gpu"]
    assert encoding.source == "recorded"
    assert "H200" in encoding.machine
    many = times(plan_of(config, 10**8, cores=4096, gpus=2))["embed"]
    assert many == pytest.approx(10**8 / (2 * encoding.value), rel=0.01)
    few = times(plan_of(config, 10**8, cores=8, gpus=1))["embed"]
    decoding = recorded().rates["decode"].value
    assert few == pytest.approx(10**8 / (8 * decoding), rel=0.01)


def test_what_will_not_fit_is_said() -> None:
    config = load_config(QUICKSTART)
    problems = plan_of(config, 10**12, memory=1 << 34).problems
    assert any(text.startswith("disk: ") and "free" in text for text in problems)
    assert any("memory: dedup: communities + keepers holds" in text for text in problems)
    assert plan_of(config, 1000).problems == ()


@pytest.mark.parametrize(
    ("items", "dim", "message"),
    [
        (0, 512, "--items must be at least 1, got 0"),
        (-5, 512, "--items must be at least 1, got -5"),
        (10, 0, "--dim must be in 1..65536, got 0"),
        (10, 65_537, "--dim must be in 1..65536, got 65537"),
    ],
)
def test_sizes_have_limits(items: int, dim: int, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message.replace(".", r"\.")):
        plan_of(QUICKSTART, items, dim)


def test_machines_have_limits() -> None:
    with pytest.raises(ConfigurationError, match="--gpus must be at least 0, got -1"):
        this_machine(gpus=-1)
    with pytest.raises(ConfigurationError, match="--cores must be at least 1, got 0"):
        this_machine(cores=0)
    assert this_machine(gpus=0).gpus == 0


def test_predicted_tables_are_as_large_as_written_ones(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 60)
    config = config_for(str(tmp_path / "in"), str(tmp_path / "out"))
    for stage in ("ingest", "profile", "embed", "score", "filter"):
        Runner(config).run(stage)
    predicted = {
        step.name: step.step.work.disk_bytes for step in plan_of(config, 66, dim=256).steps
    }
    for stage, table in (("ingest", "items"), ("profile", "profile"), ("embed", "embed")):
        files = (tmp_path / "out" / table).rglob("part-*.parquet")
        written = sum(file.stat().st_size for file in files)
        assert predicted[stage] == pytest.approx(written, rel=0.3)


# Rates


def test_recorded_rates_say_where_they_come_from() -> None:
    for rate in recorded().rates.values():
        assert rate.source == "recorded"
        assert rate.date.startswith("20")
        assert rate.machine
        assert rate.command
        assert rate.unit


def test_a_record_with_a_mistake_is_refused() -> None:
    record = {"date": "2026-01-01", "machine": "m", "command": "c", "rates": {"ingest": 1.0}}
    raw: dict[str, Any] = {
        "tables": {},
        "sample_bytes": 1,
        "images": {"what": "w", "bytes": 1, "pixels": 1},
    }
    with pytest.raises(ValueError, match="records ingest twice"):
        parse_rates({**raw, "records": [record, record]})
    with pytest.raises(ValueError, match="ingest must be above 0, got 0"):
        parse_rates({**raw, "records": [{**record, "rates": {"ingest": 0}}]})


def test_measured_rates_take_the_place_of_recorded_ones() -> None:
    mine = Rate("profile", 10.0, "measured", "2026-01-01", "here", "winnow plan --measure")
    rates = recorded().updated([mine], None)
    assert rates.get("profile") == mine
    assert rates.get("ingest") == recorded().get("ingest")
    plan = make_plan(load_config(QUICKSTART), 1000, 64, machine(), rates)
    sources = {
        part.rate.operation: part.rate.source
        for step in plan.steps
        for part in step.parts
        if part.rate
    }
    assert sources["profile"] == "measured"
    assert sources["ingest"] == "recorded"


# Numbers for people


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.01, "< 0.1 s"),
        (1.24, "1.2 s"),
        (99.7, "1.7 min"),
        (600, "10 min"),
        (3 * 3600, "3.0 h"),
        (47.6 * 3600, "48 h"),
        (49.1 * 3600, "2.0 days"),
        (200 * 86400, "200 days"),
        (365.25 * 86400 * 3, "3.0 years"),
        (365.25 * 86400 * 12_345, "12,000 years"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_and_sizes() -> None:
    assert [amount(value) for value in (0, 7, 999.6, 1234, 4.62e13)] == [
        *("0", "7", "1 k", "1.23 k", "46.2 T"),
    ]
    assert byte_size(1.4e12) == "1.4 TB"


@given(st.floats(1.0, 1e15))
def test_a_duration_keeps_two_digits(seconds: float) -> None:
    units = {"s": 1, "min": 60, "h": 3600, "days": 86400, "years": 365.25 * 86400}
    value, unit = duration(seconds).replace(",", "").split()
    assert float(value) * units[unit] == pytest.approx(seconds, rel=0.06)


# The command


def test_the_command_shows_an_example() -> None:
    result = winnow("plan", "--help")
    assert "winnow plan" in result.output.split("Example", 1)[1]


def test_the_table_names_steps_sources_and_totals() -> None:
    result = winnow("plan", QUICKSTART, "--items", 1_000_000, "--dim", 512, "--gpus", 0)
    assert result.exit_code == Exit.DONE, result.output
    first = [line.split()[0] for line in result.output.splitlines() if line.split()]
    for name in ("ingest", "embed", "centroids", "compare", "recall", "ocr", "shard", "total"):
        assert name in first
    assert "recorded a" in result.output
    assert "linear extrapolations" in words(result)
    assert "whose vectors have 256 dimensions; counted are the 512 of --dim" in words(result)


def test_json_says_the_same_with_all_rates() -> None:
    arguments = ("plan", PRODUCTION, "--items", 10**9, "--dim", 512, "--gpus", 8, "--cores", 512)
    result = winnow(*arguments, "--json")
    assert result.exit_code == Exit.DONE, result.output
    plan = json.loads(result.stdout)
    assert plan["machine"]["cores"] == 512
    assert plan["machine"]["cluster"]
    known = [step for step in plan["steps"] if step["seconds"] is not None]
    assert plan["total"]["seconds"] == pytest.approx(sum(step["seconds"] for step in known))
    unknown = [step["step"] for step in plan["steps"] if step["seconds"] is None]
    assert plan["total"]["without"] == unknown
    for step in known:
        for part in step["parts"]:
            rate = part["rate"]
            assert rate["source"] == "recorded"
            assert rate["date"]
            assert rate["machine"]
            spent = part["amount"] / (rate["value"] * part["lanes"] * part["efficiency"])
            assert part["seconds"] == pytest.approx(spent)
    assert plan["measured"] == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--items", 0, "--dim", 512), "--items must be at least 1, got 0"),
        (("--items", 9, "--dim", 70_000), "--dim must be in 1..65536, got 70000"),
        (("--items", 9, "--dim", 8, "--gpus", -2), "--gpus must be at least 0, got -2"),
        (("--items", 9, "--dim", 8, "--set", "dedup.threshold=3"), "must be in [-1, 1], got 3"),
    ],
)
def test_bad_values_are_told(arguments: tuple[object, ...], message: str) -> None:
    result = winnow("plan", QUICKSTART, *arguments)
    assert result.exit_code == Exit.USAGE
    assert message in words(result)


# Measuring


@pytest.mark.slow
def test_measuring_runs_the_stages_on_the_runs_own_images(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 20)  # with a truncated one, which is passed over
    config = config_for(str(tmp_path / "in"), str(tmp_path / "out"))
    found = measure(config, 64, this_machine(gpus=0))
    assert found.images is not None
    assert "of the source" in found.images.what
    rates = {rate.operation: rate for rate in found.rates}
    stages = {"ingest", "profile", "embed/builtin", "filter", "ocr/rapidocr", "caption/composer"}
    assert stages | {"disk_write", "disk_read", "products", "components", "solve", "handle"} <= set(
        rates
    )
    assert {rate.source for rate in found.rates} == {"measured"}
    assert all(rate.value > 0 for rate in found.rates)
    assert rates["ingest"].value > rates["ocr/rapidocr"].value
    assert [path.name for path in tmp_path.iterdir()] == ["in"]  # nothing stays behind


@pytest.mark.slow
def test_what_cannot_be_measured_is_said(tmp_path: Path) -> None:
    gone = tmp_path / "nothing.pt"
    config = config_for(
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        embed={"model": "open_clip/ViT-B-32", "checkpoint": str(gone)},
        filter={"clauses": {"large": "width > 100000"}},
        ocr={"backend": "paddleocr", "model_dir": str(tmp_path)},
        caption={"backend": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m"},
    )
    found = measure(config, 64, this_machine(gpus=0))
    operations = {rate.operation for rate in found.rates}
    assert not any(name.startswith(("embed", "ocr", "caption")) for name in operations)
    assert "profile" in operations
    notes = " ".join(found.notes)
    assert "embed was not measured" in notes
    assert "ocr was not measured" in notes
    plan = make_plan(config, 1000, 64, machine(), recorded().updated(found.rates, found.images), ())
    assert set(plan.unknown) == {"ocr", "caption"}
