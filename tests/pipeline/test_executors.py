"""Executors: every partition is computed once, whatever dies, hangs or raises on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from pipeline.executors import LocalExecutor, PartitionExecutor
from pipeline.ray_executor import RayExecutor
from pipeline.worker import Job, SetupError, Task
from stages.contract import Resources, StageError
from stages.corpus import Corpus, Partition
from stages.storage import Storage, StorageSettings
from tests.pipeline.toys import (
    AwkwardStage,
    BrokenSetupStage,
    QuarantiningStage,
    ToySettings,
    ToyStage,
    UnreadableStage,
)

PARTITIONS = [Partition(0, part) for part in range(3)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    executor = RayExecutor()
    list(executor.map(abs, [-1], Resources()))
    yield
    ray.shutdown()


@pytest.fixture(params=["local", "ray"])
def executor(request: pytest.FixtureRequest) -> PartitionExecutor:
    if request.param == "local":
        return LocalExecutor()
    request.getfixturevalue("cluster")
    return RayExecutor(workers=2, partition_timeout_s=60)


def job(folder: Path, settings: ToySettings, stage: type[ToyStage] = ToyStage) -> Job:
    return Job(stage, settings, StorageSettings(), str(folder), Resources(recycle_after=2))


def run(executor: PartitionExecutor, job: Job) -> Corpus:
    tasks = [Task(each, "recipe", "fingerprint") for each in PARTITIONS]
    done = list(executor.run_partitions(job, tasks))
    assert sorted(each.partition for each in done) == PARTITIONS
    return Corpus(job.corpus, Storage())


def test_all_partitions_are_committed(executor: PartitionExecutor, tmp_path: Path) -> None:
    corpus = run(executor, job(tmp_path, ToySettings()))
    assert sum(corpus.read("filter", each).num_rows for each in PARTITIONS) == 3 * 64
    assert {stamp.recipe for stamp in corpus.stamps("filter").values()} == {"recipe"}


def test_quarantined_items_are_written_with_their_reason(
    executor: PartitionExecutor, tmp_path: Path
) -> None:
    corpus = run(executor, job(tmp_path, ToySettings(), QuarantiningStage))
    taken = corpus.read_quarantine("toy", PARTITIONS[1])
    assert taken.num_rows == 32
    assert set(taken.column("reason").to_pylist()) == {"unreadable"}


def test_an_item_that_raises_is_singled_out(executor: PartitionExecutor, tmp_path: Path) -> None:
    corpus = run(executor, job(tmp_path, ToySettings(poison=[5, 40], harm="raise")))
    for each in PARTITIONS:
        taken = corpus.read_quarantine("toy", each)
        rows = [item & 0xFFFFF for item in taken.column("item_id").to_pylist()]
        assert rows == [5, 40]
        assert set(taken.column("reason").to_pylist()) == {"stage_error"}
        assert "is poison" in taken.column("detail")[0].as_py()
        assert corpus.read("filter", each).num_rows == 62


@pytest.mark.parametrize("rows", [4, 64])
def test_a_fault_of_all_items_fails_the_run(
    executor: PartitionExecutor, tmp_path: Path, rows: int
) -> None:
    poison = ToySettings(rows=rows, poison=list(range(rows)), harm="raise")
    with pytest.raises(StageError, match="the items are not at fault"):
        run(executor, job(tmp_path, poison))


def test_a_lost_item_fails_the_run(executor: PartitionExecutor, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"stage toy, batch 0 partition \d: 64 items in, 63 rows"):
        run(executor, job(tmp_path, ToySettings(poison=[0], harm="lose")))


def test_a_setup_that_fails_is_not_retried(executor: PartitionExecutor, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"could not start: FileNotFoundError: weights\.bin"):
        run(executor, job(tmp_path, ToySettings(), BrokenSetupStage))


@pytest.mark.usefixtures("cluster")
def test_an_item_that_kills_its_worker_is_singled_out(tmp_path: Path) -> None:
    settings = ToySettings(rows=16, poison=[3], harm="exit")
    corpus = run(RayExecutor(workers=2), job(tmp_path, settings))
    for each in PARTITIONS:
        taken = corpus.read_quarantine("toy", each).to_pylist()
        assert [row["item_id"] & 0xFFFFF for row in taken] == [3]
        assert taken[0]["reason"] == "worker_crash"
        assert corpus.read("filter", each).num_rows == 15


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_dies_once_costs_one_retry(tmp_path: Path) -> None:
    marker = str(tmp_path / "died")
    settings = ToySettings(poison=[7], harm="exit", once=marker)
    corpus = run(RayExecutor(workers=2), job(tmp_path / "corpus", settings))
    assert sum(corpus.read("filter", each).num_rows for each in PARTITIONS) == 3 * 64


@pytest.mark.usefixtures("cluster")
@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    marker = str(tmp_path / "hung")
    settings = ToySettings(poison=[7], harm="hang", once=marker)
    executor = RayExecutor(workers=2, partition_timeout_s=8)
    corpus = run(executor, job(tmp_path / "corpus", settings))
    assert sum(corpus.read("filter", each).num_rows for each in PARTITIONS) == 3 * 64


def test_an_error_that_cannot_be_pickled_is_singled_out(
    executor: PartitionExecutor, tmp_path: Path
) -> None:
    corpus = run(executor, job(tmp_path, ToySettings(poison=[3]), AwkwardStage))
    for each in PARTITIONS:
        (taken,) = corpus.read_quarantine("toy", each).to_pylist()
        assert taken["reason"] == "stage_error"
        assert "AwkwardError: 404 no such thing" in taken["detail"]


def test_an_input_that_cannot_be_read_fails_the_run(
    executor: PartitionExecutor, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match=r"toy, batch 0 .*its input cannot be read: half a page"):
        run(executor, job(tmp_path, ToySettings(), UnreadableStage))


def test_a_run_that_is_closed_early_keeps_what_was_committed(
    executor: PartitionExecutor, tmp_path: Path
) -> None:
    toy = job(tmp_path, ToySettings())
    running = executor.run_partitions(toy, [Task(each, "r", "f") for each in PARTITIONS])
    first = next(running)
    running.close()
    corpus = Corpus(toy.corpus, Storage())
    assert corpus.stamps("filter")[first.partition].recipe == "r"
    assert run(executor, toy).stamps("filter").keys() == set(PARTITIONS)


def test_no_partitions_are_no_work(executor: PartitionExecutor, tmp_path: Path) -> None:
    assert list(executor.run_partitions(job(tmp_path, ToySettings()), [])) == []


def refuse(number: int) -> int:
    if number == 3:
        raise StageError("stage toy: 3 is refused")
    return number


def test_what_a_mapped_function_raises_arrives_as_it_was(executor: PartitionExecutor) -> None:
    with pytest.raises(StageError) as caught:
        list(executor.map(refuse, range(8), Resources()))
    assert type(caught.value) is StageError
    assert str(caught.value) == "stage toy: 3 is refused"
    assert list(executor.map(refuse, [1, 2], Resources())) == [1, 2]


def die(_number: int) -> None:
    os._exit(7)


@pytest.mark.usefixtures("cluster")
def test_a_mapped_function_that_kills_its_worker_fails_the_stage() -> None:
    with pytest.raises(StageError, match="a worker died 4 times on one task"):
        list(RayExecutor().map(die, [1], Resources()))


@pytest.mark.usefixtures("cluster")
def test_map_keeps_the_order_of_tasks() -> None:
    assert list(RayExecutor().map(abs, list(range(0, -20, -1)), Resources())) == list(range(20))
