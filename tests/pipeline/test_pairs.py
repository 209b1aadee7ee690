"""The stage ``pairs`` in the whole line, over clips and edits whose groups are known."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageEnhance

from captioning.caption import LANGUAGES
from captioning.rendered import Poster, carry_out
from captioning.rendered_posters import draw, font_names
from pipeline.config import Config
from pipeline.demo.canvas import font_path
from pipeline.registry import stages_of
from pipeline.rendered import render_pairs
from pipeline.report.pairs import pair_facts
from pipeline.report.tables import Tables
from pipeline.runner import Runner
from stages import pairs as stage
from stages.caption import CaptionSettings
from stages.contract import ConfigurationError
from tests.captioning.chat_server import GOOD_ANSWER, Answer, Server, completion
from tests.pipeline.line import config_for, picture, tables
from tests.stages.sources.clips import write_clip

SIZE = (160, 120)
EDITS = {"sky": 1, "sea": 3}  # versions beside the source


def write_sources(folder: Path) -> None:
    for number in range(2):
        still = np.asarray(picture(40 + number, SIZE)).copy()
        frames = []
        for step in range(8):
            frame = still.copy()
            frame[30:70, 12 * step : 12 * step + 30] = (250, 240, 40)
            frames.append(frame)
        write_clip(folder / "clips" / f"clip{number}.mp4", frames, rate=4)
    (folder / "edits").mkdir()
    rows = []
    for number, (name, edits) in enumerate(EDITS.items()):
        image = picture(60 + number, SIZE)
        versions = [
            image,
            ImageEnhance.Brightness(image).enhance(0.6),
            image.convert("L").convert("RGB"),
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        ]
        for version, each in enumerate(versions[: edits + 1]):
            path = f"{name}-{version}.png"
            each.save(folder / "edits" / path)
            rows.append({"path": path, "edit_group": name})
    (folder / "edits" / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    render_pairs(folder / "posters", 2, seed=3, edits=2)
    (folder / "photos").mkdir()
    for seed in range(4):
        picture(seed, SIZE).save(folder / "photos" / f"{seed}.png")
    near = picture(0, SIZE)
    near.paste((250, 20, 20), (10, 10, 60, 50))
    near.save(folder / "photos" / "0-red.png")
    picture(1, SIZE).save(folder / "photos" / "1-again.bmp")  # the same pixels


def config(folder: Path, corpus: Path, **settings: Any) -> Config:
    names = ("clips", "edits/list.jsonl", "posters/images.jsonl", "photos")
    sources = [{"uri": str(folder / name), "interval_s": 0.5} for name in names]
    return config_for(sources, str(corpus), pairs={"enabled": True, "video_low": 0.3, **settings})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sources and a corpus over them."""
    folder = tmp_path_factory.mktemp("pairs")
    write_sources(folder / "in")
    Runner(config(folder / "in", folder / "corpus")).run()
    return folder / "in", folder / "corpus"


def rows_of(corpus: Path, table: str) -> list[dict[str, Any]]:
    return pa.concat_tables(tables(str(corpus))[table].values()).to_pylist()


def by_id(corpus: Path, table: str) -> dict[int, dict[str, Any]]:
    return {row["item_id"]: row for row in rows_of(corpus, table)}


def truth_of(item: dict[str, Any]) -> str | None:
    """The group an item is from, by the name of its file alone."""
    key, source = item["key"], item["source"]
    if "clips" in source:
        return f"video:{source}/{key.split('#')[0]}"
    if "edits" in source:
        return f"edit:{source}#{key.split('-')[0]}"
    return f"edit:{source}#3-{key.split('-')[0]}" if "posters" in source else None


def test_every_pair_is_from_the_group_it_says(made: tuple[Path, Path]) -> None:
    _, corpus = made
    items, decided = by_id(corpus, "items"), by_id(corpus, "dedup")
    pairs = rows_of(corpus, "pairs")
    kinds = Counter(pair["kind"] for pair in pairs)
    assert set(kinds) >= {"video", "edit", "copy"}
    for pair in pairs:
        ends = items[pair["source_id"]], items[pair["target_id"]]
        truths = {truth_of(end) for end in ends}
        known = [decided[end["item_id"]] for end in ends]
        if pair["kind"] in {"video", "edit"}:
            assert truths == {pair["group"]}
        else:
            level = "cluster" if pair["kind"] == "copy" else "subject"
            assert {f"{pair['kind']}:{each[level]}" for each in known} == {pair["group"]}
            assert len(truths) == 2 or truths == {None} or "video" in str(truths)
        assert ends[0]["sha256"] != ends[1]["sha256"]
        assert pair["kind"] == "edit" or pair["similarity"] < 0.985
    ways = Counter((pair["source_id"], pair["target_id"]) for pair in pairs)
    assert set(ways.values()) == {1}
    assert all((target, source) in ways for source, target in ways)


def test_n_edits_make_n_times_n_plus_one_pairs(made: tuple[Path, Path]) -> None:
    folder, corpus = made
    counts = Counter(p["group"] for p in rows_of(corpus, "pairs") if p["kind"] == "edit")
    expected = {f"edit:{folder}/edits/list.jsonl#{name}": n * (n + 1) for name, n in EDITS.items()}
    expected |= {f"edit:{folder}/posters/images.jsonl#3-{n:06d}": 6 for n in range(2)}
    assert counts == expected


def test_instructions_of_rendered_texts_are_exact(made: tuple[Path, Path]) -> None:
    folder, corpus = made
    fonts = font_names([font_path("Sans"), font_path("Serif")])
    items = by_id(corpus, "items")
    exact = [pair for pair in rows_of(corpus, "pairs") if pair["backend"] == "rendered"]
    assert len(exact) == 12
    for pair in exact:
        source, target = items[pair["source_id"]], items[pair["target_id"]]
        poster = Poster.from_json(json.loads(source["meta"])["rendered"])
        with Image.open(folder / "posters" / target["key"]) as image:
            wanted = np.asarray(image.convert("RGB"))
        for language in LANGUAGES:
            done = carry_out(pair[f"instruction_{language}"], poster, language)
            assert np.array_equal(draw(done, fonts), wanted)
        assert json.loads(pair["differences"])
        assert pair["checks"] == []


def test_the_composer_says_what_was_done(made: tuple[Path, Path]) -> None:
    _, corpus = made
    keys = {identifier: item["key"] for identifier, item in by_id(corpus, "items").items()}
    said = {
        (keys[pair["source_id"]], keys[pair["target_id"]]): pair
        for pair in rows_of(corpus, "pairs")
    }
    assert "darker" in said["sky-0.png", "sky-1.png"]["instruction_en"]
    assert "brighter" in said["sky-1.png", "sky-0.png"]["instruction_en"]
    assert said["sea-0.png", "sea-2.png"]["instruction_zh"] == "请将画面改为黑白。"
    assert said["sea-0.png", "sea-3.png"]["instruction_en"] == "Mirror the image left to right."
    red = said["0.png", "0-red.png"]
    assert red["kind"] == "copy"
    assert red["instruction_en"].endswith("at the top left to red.")
    assert ("1.png", "1-again.bmp") not in said


def test_every_item_is_accounted_for_and_a_rerun_computes_nothing(
    made: tuple[Path, Path],
) -> None:
    folder, corpus = made
    paired, decided = by_id(corpus, "paired"), by_id(corpus, "dedup")
    assert set(paired) == set(decided)
    pairs = rows_of(corpus, "pairs")
    assert sum(row["as_source"] for row in paired.values()) == len(pairs)
    assert sum(row["as_target"] for row in paired.values()) == len(pairs)
    result = Runner(config(folder, corpus)).run()
    assert {report.stage: report.computed for report in result.stages}["pairs"] == 0
    line = {line.stage: line for line in result.ledger.lines}["pairs"]
    assert line.items_in == line.rows == len(decided)


def test_what_is_written_is_not_written_again(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, corpus = made
    copy = tmp_path / "corpus"
    shutil.copytree(corpus, copy)
    before = rows_of(copy, "pairs")
    shutil.rmtree(copy / "paired")

    def none(*_: object) -> None:
        raise AssertionError("a pair was written again")

    monkeypatch.setattr(stage, "write_pairs", none)
    Runner(config(folder, copy)).run("pairs")
    assert rows_of(copy, "pairs") == before
    assert len(rows_of(copy, "paired")) == len(rows_of(corpus, "paired"))


def test_other_settings_and_an_image_that_is_gone(made: tuple[Path, Path], tmp_path: Path) -> None:
    folder, corpus = made
    copy, sources = tmp_path / "corpus", tmp_path / "in"
    shutil.copytree(corpus, copy)
    gone = folder / "edits" / "sky-1.png"
    shutil.move(gone, sources)
    try:
        Runner(config(folder, copy, kinds=["edit"], per_edit_group=1)).run("pairs")
    finally:
        shutil.move(sources, gone)
    pairs = rows_of(copy, "pairs")
    assert Counter(pair["kind"] for pair in pairs) == {"edit": 8}
    broken = [pair for pair in pairs if pair["instruction_en"] is None]
    assert len(broken) == 2
    assert all(pair["checks"][0].startswith("missing: ") for pair in broken)
    # The pieces of the earlier settings are gone, those of these are there.
    assert len(list((copy / "pairs" / "_pieces").iterdir())) == 1


def test_the_report_shows_pairs_side_by_side(made: tuple[Path, Path]) -> None:
    _, corpus = made
    runner = Runner(config(*made))
    stages = [each.name for each in stages_of(runner.config)]
    with Tables(runner.corpus, stages) as found:
        facts = pair_facts(found, 8)
    assert facts is not None
    counts = Counter(pair["kind"] for pair in rows_of(corpus, "pairs"))
    assert {row["kind"]: row["pairs"] for row in facts["kinds"]} == counts
    assert facts["pairs"] == sum(counts.values()) == sum(facts["backends"].values())
    assert len(facts["examples"]) == 8
    assert {each["kind"] for each in facts["examples"]} == set(counts)
    for each in facts["examples"]:
        ends = [item["item_id"] for item in each["pair"]]
        assert ends == [each["source_id"], each["target_id"]]
    with Tables(runner.corpus, stages[:-1]) as found:
        assert pair_facts(found, 8) is None


def test_an_endpoint_writes_and_is_paid_once(made: tuple[Path, Path], tmp_path: Path) -> None:
    folder, corpus = made
    copy = tmp_path / "corpus"
    shutil.copytree(corpus, copy)
    server = Server()

    def answer(request: dict[str, Any]) -> Answer:
        text = request["messages"][0]["content"][-1]["text"]
        if "caption" in text.lower() and "key differences" not in text:
            return GOOD_ANSWER
        found = {"differences": ["The light is weaker."]}
        said = {"instruction_en": "Dim the light.", "instruction_zh": "把光线调暗。"}
        return 200, completion(json.dumps(found if "key differences" in text else said))

    server.rule = answer
    asked = config(folder, copy, kinds=["edit"], backend="openai").model_copy(
        update={"caption": CaptionSettings(model="m", base_url=server.url, answers=1)}
    )
    try:
        Runner(asked).run("pairs")
        pairs = rows_of(copy, "pairs")
        written = Counter(pair["backend"] for pair in pairs)
        assert written == {"rendered": 12, "m": 14}
        assert {p["instruction_en"] for p in pairs if p["backend"] == "m"} == {"Dim the light."}
        paid = len(server.requests)
        shutil.rmtree(copy / "pairs")
        shutil.rmtree(copy / "paired")
        Runner(asked).run("pairs")
        assert len(server.requests) == paid
        assert rows_of(copy, "pairs") == pairs
    finally:
        server.close()


def test_off_unless_asked_for_and_wrong_settings_say_so(tmp_path: Path) -> None:
    off = config_for(str(tmp_path), str(tmp_path / "c"))
    assert "pairs" not in [each.name for each in stages_of(off)]
    on = config_for(str(tmp_path), str(tmp_path / "c"), pairs={"enabled": True})
    assert [each.name for each in stages_of(on)][-1] == "pairs"
    with pytest.raises(ConfigurationError, match="copy_low must be below high"):
        config_for(str(tmp_path), str(tmp_path / "c"), pairs={"copy_low": 0.99})
    endpoint = {"enabled": True, "backend": "openai"}
    wanting = config_for(str(tmp_path), str(tmp_path / "c"), pairs=endpoint)
    with pytest.raises(ConfigurationError, match=r"caption\.model is missing"):
        stage.PairsStage(wanting.stage("pairs"), None).check()  # type: ignore[arg-type]


def test_the_command_writes_a_source_and_all_pairs(tmp_path: Path) -> None:
    done = render_pairs(tmp_path / "a", 2, seed=5, edits=2)
    again = render_pairs(tmp_path / "b", 2, seed=5, edits=2)
    assert (done.images, done.pairs) == (again.images, again.pairs) == (6, 12)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    listed = [json.loads(line) for line in (tmp_path / "a" / "pairs.jsonl").open()]
    groups = {0: range(3), 1: range(3)}
    wanted = [
        (f"{g:06d}-{a}.png", f"{g:06d}-{b}.png")
        for g in groups
        for a, b in permutations(range(3), 2)
    ]
    assert [(row["source"], row["target"]) for row in listed] == wanted
    with pytest.raises(ConfigurationError, match="not empty"):
        render_pairs(tmp_path / "a", 1)
    with pytest.raises(ConfigurationError, match="no font that can be read"):
        render_pairs(tmp_path / "c", 1, fonts=[tmp_path / "a" / "pairs.jsonl"])
