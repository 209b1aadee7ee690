"""The whole line on a small folder: accounts, skips, staleness, shards."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pyarrow.compute as pc
import pytest

from pipeline.config import Config
from pipeline.ledger import outcome_tables
from pipeline.registry import STAGES
from pipeline.runner import Runner, RunResult, current_ledger
from pipeline.state import State, StateReader
from stages.contract import ConfigurationError
from stages.corpus import Corpus
from stages.storage import Storage
from tests.pipeline.line import config_for, picture, shard_bytes, tables, write_pictures


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, RunResult, Path]:
    folder = tmp_path_factory.mktemp("line")
    write_pictures(folder / "in")
    config = config_for(str(folder / "in"), str(folder / "out"))
    return config, Runner(config).run(), folder


def outcomes(config: Config) -> dict[str, dict[str, object]]:
    corpus = Corpus(config.corpus, Storage())
    names = [stage.name for stage in STAGES]
    rows = [
        row
        for each in outcome_tables(corpus, corpus.partitions(), names)
        for row in each.to_pylist()
    ]
    return {Path(str(row["uri"])).name: row for row in rows}


def test_every_file_has_exactly_one_outcome(finished: tuple[Config, RunResult, Path]) -> None:
    config, result, folder = finished
    found = outcomes(config)
    files = {path.name for path in (folder / "in").iterdir() if path.suffix != ".txt"}
    assert set(found) == files
    assert result.ledger.items == len(files)
    assert sum(result.ledger.outcomes.values()) == len(files)
    assert {name: found[name]["reason"] for name in ("broken.jpg", "empty.png", "labels.csv")} == {
        "broken.jpg": "truncated",
        "empty.png": "empty",
        "labels.csv": "not_an_image",
    }
    assert found["tiny.png"]["status"] == "filtered"


def test_copies_are_removed_with_a_kept_witness(
    finished: tuple[Config, RunResult, Path],
) -> None:
    config, _, _ = finished
    found = outcomes(config)
    by_id = {row["item_id"]: row for row in found.values()}
    for pair in (("photo_000.jpg", "copy_000.jpg"), ("photo_001.jpg", "near_001.jpg")):
        states = {name: found[name]["status"] for name in pair}
        assert sorted(str(state) for state in states.values()) == ["kept", "removed"], states
        removed = next(found[name] for name in pair if found[name]["status"] == "removed")
        assert by_id[removed["witness_id"]]["status"] == "kept"
    assert "exact" in {found[name]["reason"] for name in ("photo_000.jpg", "copy_000.jpg")}


def test_text_is_read_and_quoted(finished: tuple[Config, RunResult, Path]) -> None:
    config, _, _ = finished
    sign = outcomes(config)["sign.png"]["item_id"]
    corpus = Corpus(config.corpus, Storage())
    rows = [
        row
        for each in corpus.partitions()
        for row in corpus.read("caption", each).to_pylist()
        if row["item_id"] == sign
    ]
    assert len(rows) == 1
    assert "OPEN DAILY" in rows[0]["en_long"]
    assert "OPEN DAILY" in rows[0]["zh_long"]


def test_shards_hold_the_original_bytes(finished: tuple[Config, RunResult, Path]) -> None:
    config, result, folder = finished
    index = json.loads((Path(config.corpus) / "shards" / "index.json").read_bytes())
    assert index["count"] == result.ledger.outcomes["kept"]
    originals = {
        hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "in").iterdir()
    }
    for shard in index["shards"]:
        data = (Path(config.corpus) / "shards" / shard["shard"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == shard["sha256"]
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            names = tar.getnames()
            assert names == sorted(names)
            assert {member.mtime for member in tar} == {0}
            for sample in shard["samples"]:
                image = tar.extractfile(f"{sample['key']}.{sample['extension']}")
                assert image is not None
                assert hashlib.sha256(image.read()).hexdigest() == sample["sha256"]
                assert sample["sha256"] in originals


def test_the_resolved_configuration_and_events_are_beside_the_run(
    finished: tuple[Config, RunResult, Path],
) -> None:
    config, result, _ = finished
    folder = Path(config.corpus) / "runs" / result.run_id
    assert "max_samples: 20" in (folder / "config.yaml").read_text()
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert events[0]["event"] == "run_start"
    assert events[-1] == {**events[-1], "event": "run_end", "status": "done"}
    partitions = [each for each in events if each["event"] == "partition"]
    assert sum(each["items_in"] for each in partitions if each["stage"] == "ingest") == (
        result.ledger.items
    )


def test_a_second_run_computes_nothing(finished: tuple[Config, RunResult, Path]) -> None:
    config, _, _ = finished
    before = tables(config.corpus)
    again = Runner(config).run()
    assert {each.stage: each.computed for each in again.stages} == {
        stage.name: 0 for stage in STAGES
    }
    assert tables(config.corpus) == before


def copy_run(tmp_path: Path) -> Config:
    write_pictures(tmp_path / "in", 12)
    config = config_for(str(tmp_path / "in"), str(tmp_path / "out"))
    Runner(config).run()
    return config


def with_section(config: Config, name: str, **changes: object) -> Config:
    section = getattr(config, name).model_copy(update=changes)
    return config.model_copy(update={name: section})


def test_a_threshold_recomputes_dedup_and_what_depends_on_it(tmp_path: Path) -> None:
    config = with_section(copy_run(tmp_path), "dedup", threshold=0.999)
    computed = {each.stage: each.computed for each in Runner(config).run().stages}
    partitions = len(Corpus(config.corpus, Storage()).partitions())
    assert computed["dedup"] == partitions
    assert [computed[name] for name in ("ingest", "profile", "embed", "filter")] == [0] * 4
    # A partition whose kept items did not change is not read or captioned again.
    assert computed["ocr"] <= partitions


def test_force_makes_what_depends_on_it_stale(tmp_path: Path) -> None:
    config = copy_run(tmp_path)
    before = tables(config.corpus)
    result = Runner(config).run("ocr", force=True)
    partitions = len(Corpus(config.corpus, Storage()).partitions())
    assert [(each.stage, each.computed) for each in result.stages] == [("ocr", partitions)]
    reader = StateReader(config, Corpus(config.corpus, Storage()))
    states = {stage.name: reader.read(stage) for stage in STAGES}
    assert states["ocr"].settled
    assert len(states["caption"].of(State.STALE)) == partitions
    assert len(states["shard"].of(State.STALE)) == partitions
    again = {each.stage: each.computed for each in Runner(config).run().stages}
    assert again == {**dict.fromkeys(again, 0), "caption": partitions, "shard": partitions}
    assert tables(config.corpus) == before


def test_a_stage_refuses_stale_input(tmp_path: Path) -> None:
    config = with_section(copy_run(tmp_path), "filter", clauses={"never": "width > 100000"})
    with pytest.raises(ConfigurationError, match="stage dedup reads tables that are missing or"):
        Runner(config).run("dedup")


def test_new_files_become_a_new_batch(tmp_path: Path) -> None:
    config = copy_run(tmp_path)
    before = tables(config.corpus)
    picture(77).save(tmp_path / "in" / "late.jpg", quality=92)
    picture(3).save(tmp_path / "in" / "late_copy.jpg", quality=60)
    result = Runner(config).run()
    computed = {each.stage: each.computed for each in result.stages}
    assert [computed[name] for name in ("ingest", "profile", "embed", "filter")] == [1] * 4
    after = tables(config.corpus)
    for part, rows in before["items"].items():
        assert after["items"][part] == rows
    found = outcomes(config)
    assert found["late.jpg"]["status"] == "kept"
    assert sorted(str(found[n]["status"]) for n in ("photo_003.jpg", "late_copy.jpg")) == [
        "kept",
        "removed",
    ]


def test_shards_are_byte_identical_when_made_again(
    finished: tuple[Config, RunResult, Path], tmp_path: Path
) -> None:
    config, _, folder = finished
    again = config_for(str(folder / "in"), str(tmp_path / "out"))
    Runner(again).run()
    assert shard_bytes(again.corpus) == shard_bytes(config.corpus)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    config = copy_run(tmp_path)
    picture(900, (200, 150)).save(tmp_path / "in" / "photo_005.jpg", quality=95)
    computed = {each.stage: each.computed for each in Runner(config).run().stages}
    assert computed["ingest"] == 1
    row = outcomes(config)["photo_005.jpg"]
    corpus = Corpus(config.corpus, Storage())
    items = corpus.read("items", corpus.partitions()[int(str(row["item_id"])) >> 20])
    width = items.filter(pc.equal(items["item_id"], row["item_id"])).column("width")[0].as_py()
    assert width == 200


def test_a_broken_ledger_fails_and_names_the_partition(tmp_path: Path) -> None:
    from pipeline.ledger import LedgerError
    from stages.corpus import Committed

    config = copy_run(tmp_path)
    corpus = Corpus(config.corpus, Storage())
    first = corpus.partitions()[0]
    stamp = corpus.stamps("profile")[first]
    rows = corpus.read("profile", first)
    corpus.commit("profile", "profile", first, Committed(rows.slice(1)), stamp)
    with pytest.raises(LedgerError, match="stage profile, batch 0 partition 0"):
        current_ledger(config, corpus)
