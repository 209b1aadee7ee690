"""What counts as done: after kills, changed configurations, and files removed by hand.

A kill is an exception that nothing catches, at a moment of the test's choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config import Config
from pipeline.ledger import LedgerError
from pipeline.registry import STAGES
from pipeline.runner import Runner, current_ledger
from pipeline.state import State, StateReader
from stages import shard
from stages.contract import StageError
from stages.corpus import Committed, Corpus
from stages.schemas import FILTER
from stages.storage import Storage
from tests.pipeline.line import shard_bytes, tables


class Killed(BaseException):
    """The process dies here."""


@contextmanager
def killed_after(
    patch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    fatal: Callable[..., bool],
    *,
    before: bool = False,
) -> Iterator[None]:
    """Die after (or before) the first call of a function with fatal arguments."""
    original: Callable[..., Any] = getattr(owner, name)

    def deadly(*arguments: Any, **named: Any) -> Any:
        if before and fatal(*arguments):
            raise Killed
        result = original(*arguments, **named)
        if fatal(*arguments):
            raise Killed
        return result

    with patch.context() as inside:
        inside.setattr(owner, name, deadly)
        with pytest.raises(Killed):
            yield


def changed(config: Config, section: str, **values: object) -> Config:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def states(config: Config) -> dict[str, set[str]]:
    reader = StateReader(config, Corpus(config.corpus, Storage()))
    return {stage.name: set(reader.read(stage).states.values()) for stage in STAGES}


def assert_equal_to(config: Config, undisturbed: Config) -> None:
    """Run again; then tables and shards are those of the undisturbed run."""
    Runner(config).run()
    assert tables(config.corpus) == tables(undisturbed.corpus)
    assert shard_bytes(config.corpus) == shard_bytes(undisturbed.corpus)
    assert all(found == {State.DONE} for found in states(config).values())


def test_a_kill_between_edges_and_decisions_and_the_old_threshold_back(
    small_run: Config, own_run: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = changed(own_run, "dedup", threshold=0.999)

    def fatal(_corpus: Corpus, _stage: str, table: str, *_: object) -> bool:
        return table == "dedup"

    with killed_after(monkeypatch, Corpus, "commit", fatal, before=True):
        Runner(other).run()
    assert State.MISSING in states(own_run)["dedup"]
    assert_equal_to(own_run, small_run)


@pytest.mark.parametrize("moment", ["first tar", "all tars"])
def test_a_kill_while_shards_are_written_and_the_old_size_back(
    small_run: Config, own_run: Config, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    other = changed(own_run, "shard", max_samples=2)
    owner, name = (shard, "_write_tar") if moment == "first tar" else (shard, "_remove_others")
    with killed_after(monkeypatch, owner, name, lambda *_: True):
        Runner(other).run()
    assert_equal_to(own_run, small_run)


def test_a_kill_between_quarantine_and_rows_and_the_old_limit_back(
    small_run: Config, own_run: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = changed(own_run, "ingest", max_pixels=3000)

    def fatal(_corpus: Corpus, stage: str, *_: object) -> bool:
        return stage == "ingest"

    with killed_after(monkeypatch, Corpus, "_write_quarantine", fatal):
        Runner(other).run()
    assert states(own_run)["ingest"] == {State.DONE, State.MISSING}
    assert_equal_to(own_run, small_run)


@pytest.mark.parametrize(
    ("lost", "stage"),
    [
        ("items/batch=00000/part-00001.parquet", "ingest"),
        ("edges/batch=00000/part-00001.parquet", "dedup"),
        ("dedup/batch=00000/part-00000.parquet", "dedup"),
        ("shards/shard-000000.tar", "shard"),
        ("shards/index.json", "shard"),
        ("shards/_pieces/shard-000001.tar.json", "shard"),
    ],
)
def test_a_file_removed_by_hand_is_made_again(
    small_run: Config, own_run: Config, lost: str, stage: str
) -> None:
    Path(own_run.corpus, lost).unlink()
    assert State.MISSING in states(own_run)[stage]
    assert_equal_to(own_run, small_run)


def test_a_forced_shard_writes_damaged_tars_again(small_run: Config, own_run: Config) -> None:
    tar = Path(own_run.corpus, "shards", "shard-000000.tar")
    data = bytearray(tar.read_bytes())
    data[2000] ^= 1
    tar.write_bytes(data)
    Runner(own_run).run("shard", force=True)
    assert shard_bytes(own_run.corpus) == shard_bytes(small_run.corpus)


def test_a_quarantine_removed_by_hand_breaks_the_ledger_and_force_mends_it(
    small_run: Config, own_run: Config
) -> None:
    for path in Path(own_run.corpus, "quarantine").rglob("*.parquet"):
        path.unlink()
    with pytest.raises(LedgerError, match=r"winnow stage ingest CONFIG --force"):
        Runner(own_run).run()
    with pytest.raises(LedgerError):
        current_ledger(own_run, Corpus(own_run.corpus, Storage()))
    Runner(own_run).run("ingest", force=True)
    assert_equal_to(own_run, small_run)


@pytest.mark.parametrize("name", ["profile", "items"])
def test_a_damaged_table_is_named_and_mended_by_removing_it(
    small_run: Config, own_run: Config, name: str
) -> None:
    file = Path(own_run.corpus, name, "batch=00000", "part-00001.parquet")
    file.write_bytes(b"garbage")
    with pytest.raises(StageError, match=r"part-00001\.parquet is damaged .* remove it and run"):
        Runner(own_run).run()
    file.unlink()
    assert_equal_to(own_run, small_run)


def test_the_mark_of_a_batch_is_made_again_where_a_kill_prevented_it(own_run: Config) -> None:
    mark = Path(own_run.corpus, "profile", "batch=00000", "_complete.json")
    content = mark.read_bytes()
    mark.unlink()
    assert sum(each.computed for each in Runner(own_run).run().stages) == 0
    assert mark.read_bytes() == content


def test_a_partition_newer_than_its_batch_s_mark_is_asked_itself(own_run: Config) -> None:
    corpus = Corpus(own_run.corpus, Storage())
    first = corpus.partitions()[0]
    stamp = corpus.stamps("profile")[first]
    rows = corpus.read("profile", first)
    stray = type(stamp)("another recipe", "another", stamp.items_in, stamp.rows, 0)
    corpus.commit("profile", "profile", first, Committed(rows), stray)
    assert corpus.stamps("profile")[first] == stray
    assert State.STALE in states(own_run)["profile"]


def test_a_kill_of_a_forced_stage_leaves_a_corpus_that_ends_the_same(
    small_run: Config, own_run: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fatal(_corpus: Corpus, stage: str, _table: str, partition: Any, *_: object) -> bool:
        return stage == "profile" and partition.part == 1

    with killed_after(monkeypatch, Corpus, "commit", fatal):
        Runner(own_run).run("profile", force=True)
    assert states(own_run)["filter"] == {State.DONE, State.STALE}
    assert_equal_to(own_run, small_run)


def test_only_what_is_ours_is_removed_below_a_corpus(own_run: Config) -> None:
    notes = Path(own_run.corpus, "notes")
    notes.mkdir()
    (notes / "_mine.tmp").write_text("keep me")
    Runner(own_run).run()
    assert (notes / "_mine.tmp").read_text() == "keep me"


def test_a_drop_without_a_clause_breaks_the_ledger(own_run: Config) -> None:
    corpus = Corpus(own_run.corpus, Storage())
    first = corpus.partitions()[0]
    ids = corpus.read("filter", first).column("item_id")
    passed = pa.array([False] * len(ids))
    rows = pa.table([ids, passed, pa.nulls(len(ids), pa.string())], schema=FILTER)
    corpus.commit("filter", "filter", first, Committed(rows), corpus.stamps("filter")[first])
    for name in ("dedup", "ocr", "caption", "shards"):
        for each in corpus.partitions():
            corpus.drop(name, each)
    with pytest.raises(LedgerError, match="is filtered without a reason"):
        current_ledger(own_run, corpus)


@pytest.mark.parametrize("what", ["only broken files", "all filtered"])
def test_a_line_with_nothing_to_keep_ends_well(tmp_path: Path, what: str) -> None:
    from tests.pipeline.line import config_for, picture

    (tmp_path / "in").mkdir()
    if what == "only broken files":
        (tmp_path / "in" / "a.jpg").write_bytes(b"no image")
    if what == "all filtered":
        picture(1, (30, 30)).save(tmp_path / "in" / "a.jpg")
    config = config_for(str(tmp_path / "in"), str(tmp_path / "out"))
    ledger = Runner(config).run().ledger
    assert ledger.items == 1
    assert ledger.outcomes["kept"] == 0
    assert sum(each.computed for each in Runner(config).run().stages) == 0


def test_a_source_file_that_is_gone_can_be_put_in_quarantine_as_the_message_says(
    tmp_path: Path,
) -> None:
    from tests.pipeline.line import config_for, picture

    (tmp_path / "in").mkdir()
    for seed in range(3):
        picture(seed).save(tmp_path / "in" / f"{seed}.png")
    config = config_for(str(tmp_path / "in"), str(tmp_path / "out"))
    Runner(config).run()
    (tmp_path / "in" / "1.png").unlink()
    smaller = changed(config, "shard", max_samples=1)
    with pytest.raises(StageError, match=r"1\.png does not exist.*ingest\.missing=quarantine"):
        Runner(smaller).run()
    outcomes = Runner(changed(smaller, "ingest", missing="quarantine")).run().ledger.outcomes
    assert (outcomes["kept"], outcomes["quarantined"]) == (2, 1)
