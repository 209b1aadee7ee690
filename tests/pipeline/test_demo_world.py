"""``winnow demo --world``: scenes written as a source, run, and compared with the truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from generator.shards import Shards
from generator.world import Scene, parse, read, split
from pipeline.cli import app
from pipeline.config import load_config
from pipeline.demo import world
from pipeline.runner import Runner
from stages.contract import ConfigurationError

ROOT = Path(__file__).resolve().parent.parent.parent
COUNT = 12


def _rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "out"
    world.write_world(folder, COUNT, 3)
    return folder


@pytest.fixture(scope="module")
def shards(written: Path) -> Shards:
    """Of a finished run over the world."""
    config = world.world_config(written)
    local = config.run.model_copy(update={"executor": "local"})
    Runner(config.model_copy(update={"run": local})).run()
    return Shards(written / "corpus" / "shards" / "index.json")


def test_drawings_captions_and_truth_agree(written: Path) -> None:
    rows = _rows(written / "scenes.jsonl")
    assert len(rows) == len(list((written / "images").glob("*.png"))) == COUNT
    for row in rows:
        scene = Scene.from_dict(row["scene"])
        path = written / row["path"]
        assert read(np.asarray(Image.open(path))) == scene
        sidecar = json.loads(path.with_suffix(".json").read_text("utf-8"))
        assert sidecar == {name: value for name, value in row.items() if name != "path"}
        assert parse(row["caption"]) == parse(row["title"]) == scene
        for texts in row["captions"].values():
            assert {parse(text) for text in texts.values()} == {scene}


def test_held_out_scenes_are_on_the_other_side(written: Path) -> None:
    trained = [Scene.from_dict(row["scene"]) for row in _rows(written / "scenes.jsonl")]
    asked = [Scene.from_dict(row["scene"]) for row in _rows(written / "held_out.jsonl")]
    assert {split(scene) for scene in trained} == {"train"}
    assert {split(scene) for scene in asked} == {"held_out"}
    assert len(set(asked)) == world.HELD_OUT


def test_writing_again_changes_nothing_and_fewer_leaves_no_strays(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    world.write_world(folder, 6)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    world.write_world(folder, 6)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")} == before
    foreign = folder / "images" / "mine.png"
    foreign.write_bytes(b"x")
    rows = _rows(folder / "scenes.jsonl")
    rows.append({"path": "../outside.png"})
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"x")
    (folder / "scenes.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    world.write_world(folder, 4)
    assert len(list((folder / "images").glob("scene-*"))) == 8
    assert foreign.is_file()
    assert outside.is_file()


def test_the_shards_hold_all_scenes_with_true_captions(shards: Shards, written: Path) -> None:
    assert len(shards) == COUNT
    index = written / "corpus" / "shards" / "index.json"
    truths = world.check_shards(index)
    assert truths == world.Truths(COUNT, COUNT, {"en": COUNT, "zh": COUNT})
    assert world.check_shards(index, most=5).samples == 5


def test_what_a_trainer_is_given_is_true(shards: Shards, written: Path) -> None:
    scenes = {row["path"]: Scene.from_dict(row["scene"]) for row in _rows(written / "scenes.jsonl")}
    index = written / "corpus" / "shards" / "index.json"
    for languages in (("en", "zh"), ("en",), ("zh",)):
        data = Shards(index, levels=("short",), languages=languages)
        found = []
        for number in range(len(data)):
            image, text = data.load(number, np.random.default_rng(number))
            assert read(np.asarray(image)) == parse(text)
            found.append(parse(text))
        assert set(found) == set(scenes.values())


def test_a_wrong_caption_or_image_is_counted(
    shards: Shards, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del shards
    monkeypatch.setattr(world, "parse", lambda text: parse(text.replace("white", "black")))
    monkeypatch.setattr(world, "matches", lambda image, scene: scene.background == "grey")
    truths = world.check_shards(written / "corpus" / "shards" / "index.json")
    scenes = [Scene.from_dict(row["scene"]) for row in _rows(written / "scenes.jsonl")]
    grey = sum(scene.background == "grey" for scene in scenes)
    white = sum(scene.background == "white" for scene in scenes)
    assert white > 0
    assert (truths.images, truths.captions["en"]) == (grey, COUNT - white)
    assert truths.captions["zh"] == COUNT


def test_the_configuration_in_the_repository_is_the_one_that_runs() -> None:
    file = load_config(ROOT / "configs" / "world.yaml")
    assert file == world.world_config(Path("world-out"))


def test_chance_is_printed(written: Path) -> None:
    console = Console(record=True, width=200)
    world.print_chance(console, written)
    assert "of 500 held-out captions right" in console.export_text()


def test_another_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear", "utf-8")
    with pytest.raises(ConfigurationError, match="no world: choose another folder"):
        world.run_world(Console(), tmp_path, 3, 0)


def test_more_scenes_than_there_are_is_an_error_of_the_command(tmp_path: Path) -> None:
    answer = CliRunner().invoke(
        app, ["demo", "--world", str(tmp_path / "out"), "--count", "99999999"]
    )
    assert answer.exit_code != 0
    assert not (tmp_path / "out").exists()


def test_a_count_needs_the_world(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["demo", str(tmp_path / "out"), "--count", "5"])
    assert answer.exit_code != 0
    assert not (tmp_path / "out").exists()
