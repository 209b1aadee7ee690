"""Several embedders in one corpus: each a stage and a table of its own beside the line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config import Config, parse_config
from pipeline.plan import plan_run
from pipeline.query import query, read_table, table_names
from pipeline.registry import stages_of
from pipeline.report import write_report
from pipeline.runner import Runner, current_ledger
from pipeline.state import State, StateReader
from stages.contract import ConfigurationError
from stages.corpus import Corpus
from stages.embedders.open_clip import OpenClipEmbedder
from stages.embedders.towers import TowerEmbedder
from stages.schemas import EMBED
from stages.storage import Storage
from tests.pipeline.line import config_for, tables, write_pictures

TOWER = {"image_size": 64, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
TEXT = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny open_clip model as a folder."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    model = {"embed_dim": 24, "vision_cfg": TOWER, "text_cfg": TEXT}
    config = {"model_cfg": model, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    made = open_clip.create_model(f"local-dir:{folder}")
    tensors = {name: value.contiguous() for name, value in made.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return f"open_clip/local-dir:{folder}"


def embedders(clip: str, **more: Any) -> dict[str, Any]:
    small = {"model": clip, "device": "cpu", "batch_size": 8}
    return {"more": {"clip": small, **{name: {**small, **each} for name, each in more.items()}}}


@pytest.fixture(scope="module")
def finished(clip: str, tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("more")
    write_pictures(folder / "in", 20)
    config = config_for(str(folder / "in"), str(folder / "out"), embed=embedders(clip))
    Runner(config).run()
    return config


def written(config: Config, tmp_path: Path) -> str:
    (tmp_path / "run.yaml").write_text(config.to_yaml())
    return str(tmp_path / "run.yaml")


def winnow(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, " ".join(result.output.split())


def computed(config: Config, **options: Any) -> dict[str, int]:
    return {each.stage: each.computed for each in Runner(config).run(**options).stages}


def test_each_has_a_table_of_its_own(finished: Config) -> None:
    corpus = Corpus(finished.corpus, Storage())
    main, clip = read_table(corpus, "embed"), read_table(corpus, "embed_clip", None)
    assert clip.schema.equals(EMBED)
    assert clip.column("item_id").equals(main.column("item_id"))
    lengths = {len(each) for each in clip.column("vector").to_pylist()}
    assert lengths == {24}
    assert "embed_clip" in table_names(corpus)
    counted = query(corpus, "select count(*) as n from embed_clip join items using (item_id)")
    assert counted.to_pylist() == [{"n": clip.num_rows}]


def test_the_ledger_and_the_events_have_a_line_for_it(finished: Config) -> None:
    corpus = Corpus(finished.corpus, Storage())
    ledger = current_ledger(finished, corpus)
    lines = {line.stage: line for line in ledger.lines}
    assert list(lines).index("embed_clip") == list(lines).index("embed") + 1
    assert lines["embed_clip"].items_in == lines["embed"].items_in
    assert ledger.items == sum(ledger.outcomes.values())
    events = [
        json.loads(line)
        for path in Path(finished.corpus, "runs").glob("*/events.jsonl")
        for line in path.read_text().splitlines()
    ]
    partitions = [each for each in events if each.get("stage") == "embed_clip" and "part" in each]
    assert partitions
    for each in partitions:
        assert each["images_per_s"] > 0
        assert 0 <= each["wait_share"] <= 1


def test_commands_know_it(finished: Config, tmp_path: Path) -> None:
    file = written(finished, tmp_path)
    code, said = winnow("status", file)
    assert code == 0
    assert "embed_clip 2 0 0" in said
    code, said = winnow("table", finished.corpus, "embed_clip", "--columns", "key,vector")
    assert code == 0
    assert (
        said.count('"vector"')
        == read_table(Corpus(finished.corpus, Storage()), "embed_clip").num_rows
    )
    assert winnow("stage", "embed_clip", file)[0] == 0
    code, said = winnow("stage", "embed_clap", file)
    assert code == 2
    assert "embed, embed_clip" in said
    code, said = winnow("table", finished.corpus, "embed_clap")
    assert code == 2
    assert "embed_clip" in said
    code, said = winnow("doctor", file)
    assert "embed_clip" in said


def test_it_is_computed_resumed_and_staled_by_itself(finished: Config, clip: str) -> None:
    assert set(computed(finished).values()) == {0}
    before = tables(finished.corpus)
    # Another precision: other vectors of this one, and of no other.
    raw = finished.model_dump(mode="json")
    raw["embed"]["more"]["clip"]["precision"] = "bf16"
    changed = parse_config(raw, "test")
    reader = StateReader(changed, Corpus(changed.corpus, Storage()))
    states = {stage.name: reader.read(stage) for stage in stages_of(changed)}
    assert [name for name, state in states.items() if state.of(State.STALE)] == ["embed_clip"]
    assert computed(changed, only="embed_clip") == {"embed_clip": 2}
    assert tables(finished.corpus) == before
    # A lost file is made again, and only it.
    uri = Corpus(changed.corpus, Storage()).table_uri("embed_clip", next(iter(reader.partitions)))
    Path(uri).unlink()
    assert computed(changed) == {**dict.fromkeys(states, 0), "embed_clip": 1}
    assert computed(finished)["embed_clip"] == 2
    # One more beside it leaves all others as they are.
    raw["embed"]["more"] = embedders(clip, other={"threads": 2})["more"]
    more = computed(parse_config(raw, "test"))
    assert more == {**dict.fromkeys(more, 0), "embed_other": 2}


def test_what_it_cannot_embed_stays_in_the_line(
    clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = TowerEmbedder.encode

    def overflowing(self: OpenClipEmbedder, prepared: Sequence[Any]) -> NDArray[np.float32]:
        vectors = sound(self, prepared)
        vectors[0] = np.nan
        return vectors

    monkeypatch.setattr(TowerEmbedder, "encode", overflowing)
    write_pictures(tmp_path / "in", 8)
    config = config_for(str(tmp_path / "in"), str(tmp_path / "out"), embed=embedders(clip))
    ledger = Runner(config).run().ledger
    (line,) = [each for each in ledger.lines if each.stage == "embed_clip"]
    assert line.quarantined["stage_error"] >= 1
    plain = config_for(str(tmp_path / "in"), str(tmp_path / "plain"))
    assert Runner(plain).run().ledger.outcomes == ledger.outcomes
    index = json.loads(Path(config.corpus, "shards", "index.json").read_bytes())
    assert index["count"] == ledger.outcomes["kept"]
    page = write_report(config, Corpus(config.corpus, Storage()), ledger)
    assert "embed_clip" in Path(page).read_text()


def test_the_plan_counts_it(finished: Config) -> None:
    planned = plan_run(finished, 10_000, 256, gpus=0, cores=2)
    assert {"embed", "embed_clip"} <= {step.name for step in planned.steps}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"Clip": {}}, "embed.more: the name 'Clip' must be lower-case letters"),
        ({"clip": {"modle": "builtin"}}, "embed.more.clip.modle is not a known key; did you mean"),
        ({"clip": {"threads": 0}}, "embed.more.clip.threads must be in [1, 256], got 0"),
        ({"clip": {"more": {}}}, "embed.more.clip.more is not a known key"),
    ],
)
def test_mistakes_name_the_key(more: dict[str, Any], said: str) -> None:
    raw = {"corpus": "out", "source": {"uri": "in"}, "embed": {"more": more}}
    with pytest.raises(ConfigurationError) as caught:
        parse_config(raw, "run.yaml")
    assert said in str(caught.value)


def test_a_wrong_model_fails_before_anything_runs(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 8)
    wrong = {"more": {"clip": {"model": "open_clip/ViT-B-23/openai"}}}
    config = config_for(str(tmp_path / "in"), str(tmp_path / "out"), embed=wrong)
    with pytest.raises(ConfigurationError, match=r"embed\.more\.clip: open_clip has no model"):
        Runner(config).run()
    assert not (tmp_path / "out" / "items").exists()


@pytest.mark.slow
def test_ray_workers_know_stages_that_only_a_configuration_names(
    finished: Config, clip: str, tmp_path: Path
) -> None:
    raw = finished.model_dump(mode="json")
    raw["run"] = {**raw["run"], "executor": "ray", "workers": 1}
    raw["embed"]["more"] = embedders(clip, ray={"threads": 1})["more"]
    config = parse_config(raw, "test")
    assert computed(config, only="embed_ray") == {"embed_ray": 2}
    corpus = Corpus(config.corpus, Storage())
    assert read_table(corpus, "embed_ray").equals(read_table(corpus, "embed_clip"))
