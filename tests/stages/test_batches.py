from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.batches import Plan, read_plans, read_units, update_plans
from stages.sources import SourceSettings
from stages.storage import Storage
from tests.stages.sources.made import encoded, run_ingest, tar_of

STORAGE = Storage()


def _plan(tmp_path: Path, *sources: SourceSettings, items: int = 4) -> list[Plan]:
    return update_plans(STORAGE, str(tmp_path / "corpus"), sources, items)


def _folder(tmp_path: Path, count: int, name: str = "in") -> SourceSettings:
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"{number:03d}.jpg").write_bytes(b"%d" % number)
    return SourceSettings(uri=str(folder))


def _units(plans: list[Plan]) -> list[tuple[int, int, str]]:
    return [
        (plan.batch, part, unit.uri.rsplit("/", 1)[-1])
        for plan in plans
        for part in plan.parts()
        for unit in plan.units_of(part)
    ]


def test_units_are_packed_in_order_and_never_twice(tmp_path: Path) -> None:
    source = _folder(tmp_path, 10)
    first = _plan(tmp_path, source)
    assert _units(first) == [(0, number // 4, f"{number:03d}.jpg") for number in range(10)]
    file = tmp_path / "corpus/items/batch=00000/_plan.parquet"
    before = file.stat()
    again = _plan(tmp_path, source, source, SourceSettings(uri=f"{source.uri}/../in/"), items=7)
    assert _units(again) == _units(first)
    assert file.stat() == before
    assert read_units(STORAGE, str(tmp_path / "corpus"), 0, 2) == first[0].units_of(2)


def test_relative_and_absolute_names_are_one_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _folder(tmp_path, 3)
    monkeypatch.chdir(tmp_path)
    first = _plan(tmp_path, SourceSettings(uri="in"))
    monkeypatch.chdir("/")
    second = _plan(tmp_path, SourceSettings(uri=str(tmp_path / "in")))
    third = _plan(tmp_path, SourceSettings(uri=f"file://{tmp_path}/in"))
    assert _units(first) == _units(second) == _units(third)


def test_new_files_are_a_new_batch_and_changed_ones_stay_where_they_are(tmp_path: Path) -> None:
    source = _folder(tmp_path, 6)
    first = _plan(tmp_path, source)
    prints = first[0].fingerprints()
    (tmp_path / "in" / "005.jpg").write_bytes(b"changed")
    (tmp_path / "in" / "000a.jpg").write_bytes(b"new")
    (tmp_path / "in" / "002.jpg").unlink()
    plans = _plan(tmp_path, source)
    assert _units(plans) == [*_units(first), (1, 2, "000a.jpg")]
    now = plans[0].fingerprints()
    assert now[0] == prints[0]
    assert now[1] != prints[1]
    assert now == {part: plans[0].fingerprint_of(part) for part in plans[0].parts()}
    assert _units(read_plans(STORAGE, str(tmp_path / "corpus"))) == _units(plans)


def test_a_sidecar_makes_its_partition_stale(tmp_path: Path) -> None:
    source = _folder(tmp_path, 5)
    before = _plan(tmp_path, source)[0].fingerprints()
    (tmp_path / "in" / "001.txt").write_text("a caption")
    after = _plan(tmp_path, source)
    assert len(after) == 1
    assert after[0].fingerprint_of(0) != before[0]
    assert after[0].fingerprint_of(1) == before[1]


def test_a_sidecar_whose_image_comes_later_changes_sides_and_back(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("early")
    (tmp_path / "in" / "b.jpg").write_bytes(encoded(2))
    source = SourceSettings(uri=str(tmp_path / "in"))
    assert run_ingest(tmp_path / "corpus", source).reasons == {"a.txt": "no_image"}
    (tmp_path / "in" / "a.jpg").write_bytes(encoded(1))
    result = run_ingest(tmp_path / "corpus", source)
    assert result.row("a.jpg")["alt_text"] == "early"
    assert not result.quarantined
    (tmp_path / "in" / "a.jpg").unlink()
    assert run_ingest(tmp_path / "corpus", source).reasons["a.txt"] == "no_image"


def test_settings_that_shape_rows_make_them_stale_and_others_do_not(tmp_path: Path) -> None:
    source = _folder(tmp_path, 3)
    before = _plan(tmp_path, source)[0].fingerprint_of(0)
    same = source.model_copy(update={"exclude": ["nothing"]})
    assert _plan(tmp_path, same)[0].fingerprint_of(0) == before
    other = source.model_copy(update={"language": "zh"})
    assert _plan(tmp_path, other)[0].fingerprint_of(0) != before


def test_a_list_inside_a_folder_counts_as_a_list(tmp_path: Path) -> None:
    source = _folder(tmp_path, 2)
    file = tmp_path / "in" / "list.jsonl"
    file.write_text(json.dumps({"path": "000.jpg"}) + "\n")
    plans = _plan(tmp_path, source, SourceSettings(uri=str(file)))
    assert (
        dict(zip(*(plans[0].units[name].to_pylist() for name in ("uri", "kind")), strict=True))[
            str(file)
        ]
        == "jsonl"
    )


def test_a_list_that_grows_and_shrinks(tmp_path: Path) -> None:
    file = tmp_path / "list.jsonl"
    line = json.dumps({"path": "x" * 100 + ".jpg"}) + "\n"
    source = SourceSettings(uri=str(file))

    def keys() -> int:
        result = run_ingest(tmp_path / "corpus", source, partition_items=1000)
        return len(result.quarantined)

    for count in (500, 5000, 700, 3000):
        file.write_text(line * count)
        os.utime(file, ns=(count, count))
        assert keys() == count
    parts = [
        part for plan in read_plans(STORAGE, str(tmp_path / "corpus")) for part in plan.parts()
    ]
    assert parts == sorted(set(parts))


def test_tars_are_never_split(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        data = tar_of([(f"{n}.jpg", bytes(100_000)) for n in range(4)])
        (tmp_path / "in" / f"{number}.tar").write_bytes(data)
    plans = _plan(tmp_path, SourceSettings(uri=str(tmp_path / "in")), items=8)
    assert _units(plans) == [(0, 0, "0.tar"), (0, 0, "1.tar"), (0, 1, "2.tar")]


def test_an_empty_folder_plans_nothing(tmp_path: Path) -> None:
    assert _plan(tmp_path, _folder(tmp_path, 0)) == []


@given(rounds=st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_every_file_is_planned_exactly_once_for_ever(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[int]]
) -> None:
    tmp_path = tmp_path_factory.mktemp("rounds")
    source = _folder(tmp_path, 0)
    seen: set[str] = set()
    places: dict[str, tuple[int, int]] = {}
    for numbers in rounds:
        for number in numbers:
            (tmp_path / "in" / f"{number}.jpg").write_bytes(os.urandom(number + 1))
        seen |= {f"{number}.jpg" for number in numbers}
        units = _units(_plan(tmp_path, source))
        now = {name: (batch, part) for batch, part, name in units}
        assert len(now) == len(units)
        assert set(now) == seen
        assert places.items() <= now.items()
        places = now


def test_gone_files_stay_unless_they_are_to_be_quarantined(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in").mkdir()
    for name in "abcd":
        (tmp_path / "in" / f"{name}.jpg").write_bytes(name.encode())
    storage, corpus = Storage(), str(tmp_path / "out")
    sources = [SourceSettings(uri=str(tmp_path / "in"))]
    (plan,) = update_plans(storage, corpus, sources, 2)
    before = plan.fingerprints()
    (tmp_path / "in" / "c.jpg").unlink()

    (kept,) = update_plans(storage, corpus, sources, 2)
    assert kept.fingerprints() == before
    assert "1 files are no longer listed" in caplog.text
    (marked,) = update_plans(storage, corpus, sources, 2, missing="quarantine")
    after = marked.fingerprints()
    assert [part for part in before if after[part] != before[part]] == [1]
    (again,) = update_plans(storage, corpus, sources, 2, missing="quarantine")
    assert again.fingerprints() == after

    (tmp_path / "in" / "c.jpg").write_bytes(b"back")
    (back,) = update_plans(storage, corpus, sources, 2, missing="quarantine")
    assert back.fingerprints()[1] not in {before[1], after[1]}


def test_sources_that_are_no_longer_configured_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(name.encode())
    storage, corpus = Storage(), str(tmp_path / "out")
    update_plans(storage, corpus, [SourceSettings(uri=str(tmp_path / "one"))], 2)
    plans = update_plans(storage, corpus, [SourceSettings(uri=str(tmp_path / "two"))], 2)
    assert len(plans) == 2
    assert str(tmp_path / "one") in caplog.text
