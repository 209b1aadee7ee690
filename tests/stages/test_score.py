"""The score stage: heads over stored vectors, and image against text; null where unknown."""

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from pipeline.config import Config
from pipeline.query import query, read_table
from pipeline.registry import stages_of
from pipeline.runner import Runner
from stages.contract import ConfigurationError
from stages.corpus import Corpus
from stages.heads.head import Head, save_head
from stages.heads.network import Layer, Network
from stages.schemas import SCORE
from stages.score import ScoreSettings, ScoreStage, embedder_of, unit_vectors
from stages.storage import Storage
from tests.pipeline.line import config_for, picture
from tests.stages.towers import tiny_model

BUILTIN = {"model": "builtin"}


def linear(width: int, seed: int = 0, **about: Any) -> Head:
    weight = np.random.default_rng(seed).normal(size=(1, width)).astype(np.float32)
    network = Network((Layer(weight.astype(np.float64), np.array([0.25])),), "identity", "sigmoid")
    return Head(network, "test", **about)


def write(path: Path, head: Head) -> str:
    path.write_bytes(save_head(head))
    return str(path)


def rows(vectors: list[list[float] | None], texts: list[str | None] | None = None) -> pa.Table:
    """What ``load`` gives of items with vectors in ``embed``."""
    count = len(vectors)
    return pa.table(
        {
            "item_id": pa.array(range(count), pa.int64()),
            "uri": pa.array(["u"] * count),
            "key": pa.array(["k"] * count),
            "alt_text": pa.array(texts or [None] * count, pa.string()),
            "embed": pa.array(vectors, pa.list_(pa.float16())),
        }
    )


def stage(**settings: Any) -> ScoreStage:
    return ScoreStage(ScoreSettings(**settings), Storage())


def test_without_heads_all_scores_are_null() -> None:
    plain = stage()
    plain.check()
    output = plain.process(rows([[1.0, 0.0], None]).drop_columns(["embed"]))
    assert output.rows.schema == SCORE
    assert output.rows.drop_columns(["item_id"]).to_pylist() == [dict.fromkeys(SCORE.names[1:])] * 2
    assert output.quarantined == []


def test_a_head_scores_the_vectors_there_are(tmp_path: Path) -> None:
    head = linear(3)
    file = write(tmp_path / "mine.safetensors", head)
    with_head = stage(heads={"watermark": {"file": file}, "glare_2": {"file": file}})
    # Of another length than one: only their direction counts.
    vectors = [[3.0, 4.0, 0.0], None, [0.0, 0.0, 2.0]]
    output = with_head.process(rows(vectors)).rows
    assert output.schema.names == [*SCORE.names, "glare_2"]
    assert output.schema.field("glare_2").type == pa.float32()
    expected = head.network.scores(np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]))
    assert output["watermark"].to_pylist() == [expected[0], None, expected[1]]
    assert output["glare_2"].equals(output["watermark"])
    assert output["aesthetic"].null_count == 3


def test_vectors_come_back_to_unit_length() -> None:
    known, vectors = unit_vectors(rows([[0.1, 0.2], None, [0.0, 0.0]])["embed"])
    assert known.tolist() == [True, False, True]
    assert np.allclose(np.linalg.norm(vectors[0]), 1.0, atol=1e-12)
    assert vectors[1].tolist() == [0.0, 0.0]
    known, vectors = unit_vectors(rows([None])["embed"])
    assert (known.tolist(), vectors.shape) == ([False], (0, 0))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Watermark", "must be lower-case letters"),
        ("a b", "must be lower-case letters"),
        ("_x", "must be lower-case letters"),
        ("2nd", "must be lower-case letters"),
        ("width", "is a column of another table"),
        ("phash", "is a column of another table"),
        ("keep", "is a column of another table"),
        ("image_text", "set score.image_text.table"),
    ],
)
def test_names_of_heads_are_columns(name: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ScoreSettings(heads={name: {"file": "x"}})  # type: ignore[dict-item]


def test_heads_that_do_not_fit_are_refused_before_anything_runs(tmp_path: Path) -> None:
    other = write(tmp_path / "other.safetensors", linear(3, embedder={"model": "open_clip/x"}))
    with pytest.raises(ConfigurationError, match=r"heads.nsfw: .*of open_clip/x, but .*builtin"):
        stage(heads={"nsfw": {"file": other}}).check()
    mine = write(tmp_path / "mine.safetensors", linear(3))
    with pytest.raises(ConfigurationError, match=r"nsfw.table='embed_clip' .*there are embed:"):
        stage(heads={"nsfw": {"file": mine, "table": "embed_clip"}}).check()
    with pytest.raises(ConfigurationError, match=r"score.heads.nsfw.file='gone' is not a file"):
        stage(heads={"nsfw": {"file": "gone"}}).check()
    with pytest.raises(ConfigurationError, match="builtin has no text tower"):
        stage(image_text={}).check()
    torch.save(torch.nn.Linear(768, 1).state_dict(), tmp_path / "laion.pth")
    laion = {"file": str(tmp_path / "laion.pth"), "layout": "laion"}
    with pytest.raises(ConfigurationError, match="take vectors of open_clip/ViT-L-14"):
        stage(heads={"aesthetic": laion}).check()


def test_a_head_of_another_width_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "head.safetensors", linear(3))
    with pytest.raises(
        ConfigurationError, match="takes vectors of 3 dimensions, the table holds 2"
    ):
        stage(heads={"nsfw": {"file": file}}).process(rows([[1.0, 0.0]]))
    with pytest.raises(ConfigurationError, match="differ in length"):
        stage(heads={"nsfw": {"file": file}}).process(rows([[1.0, 0.0], [1.0, 0.0, 0.0]]))


def test_heads_count_by_content(tmp_path: Path) -> None:
    first = write(tmp_path / "a.safetensors", linear(3))
    copy = write(tmp_path / "b.safetensors", linear(3))
    other = write(tmp_path / "c.safetensors", linear(3, seed=1))
    one, two, three = (
        ScoreSettings(heads={"nsfw": {"file": file}}).fingerprint_fields()  # type: ignore[dict-item]
        for file in (first, copy, other)
    )
    assert one == two != three


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, torch.nn.Module, Path]:
    """A corpus with two embedders, a head over each, and image against text."""
    folder = tmp_path_factory.mktemp("score")
    clip, model = tiny_model(folder)
    (folder / "in").mkdir()
    for seed in range(6):
        picture(seed).save(folder / "in" / f"{seed}.jpg")
    texts = ["a red circle", "  ", "深色的猫", "a red circle"]
    for seed, text in enumerate(texts):
        (folder / "in" / f"{seed}.txt").write_text(text, encoding="utf-8")
    base = config_for(str(folder / "in"), str(folder / "out"), embed={"more": {"clip": clip}})
    made = embedder_of(base.embed.tables()["embed_clip"])
    own = write(folder / "own.safetensors", linear(128, table="embed_clip", embedder=made))
    plain = write(folder / "plain.safetensors", linear(256, embedder=embedder_of(base.embed)))
    config = config_for(
        str(folder / "in"),
        str(folder / "out"),
        embed={"more": {"clip": clip}},
        score={
            "heads": {"watermark": {"file": own}, "dull": {"file": plain}},
            "image_text": {"table": "embed_clip"},
            "batch_size": 2,
        },
        filter={"clauses": {"dull": "dull < 2", "clean": "watermark >= 0"}},
        dedup={"keep": "dull desc, watermark"},
    )
    computed_of(config)
    return config, model, folder


def computed_of(config: Config) -> dict[str, int]:
    """Run the stages up to ``dedup``; partitions that each computed."""
    names = [stage.name for stage in stages_of(config)]
    reports = [Runner(config).run(name).stages[0] for name in names[: names.index("dedup") + 1]]
    return {each.stage: each.computed for each in reports}


def test_heads_score_the_tables_they_were_trained_on(
    line: tuple[Config, torch.nn.Module, Path],
) -> None:
    config, _, _ = line
    corpus = Corpus(config.corpus, Storage())
    scores = read_table(corpus, "score")
    assert scores.column_names == [*SCORE.names, "dull"]
    for column, table, width in (("watermark", "embed_clip", 128), ("dull", "embed", 256)):
        _, vectors = unit_vectors(read_table(corpus, table)["vector"])
        expected = linear(width).network.scores(vectors)
        assert scores[column].to_numpy().tolist() == expected.tolist()


def test_image_and_text_are_compared_by_the_model_itself(
    line: tuple[Config, torch.nn.Module, Path],
) -> None:
    config, model, folder = line
    corpus = Corpus(config.corpus, Storage())
    items = read_table(corpus, "items", ["item_id", "key", "alt_text"]).to_pylist()
    scores = read_table(corpus, "score")["image_text"].to_pylist()
    preprocess = open_clip.image_transform(112, is_train=False)
    compared = 0
    for item, score in zip(items, scores, strict=True):
        if not (item["alt_text"] or "").strip():
            assert score is None
            continue
        from PIL import Image

        image = Image.open(folder / "in" / item["key"]).convert("RGB")
        tokens = open_clip.tokenize([item["alt_text"]], context_length=16)
        with torch.no_grad():
            pair = (model.encode_image(preprocess(image)[None]), model.encode_text(tokens))
        expected = float(torch.nn.functional.cosine_similarity(*pair))
        assert score == pytest.approx(expected, abs=2e-3), "vectors are stored in half precision"
        compared += 1
    assert compared == 3


def test_scores_are_columns_everywhere(line: tuple[Config, torch.nn.Module, Path]) -> None:
    config, _, _ = line
    corpus = Corpus(config.corpus, Storage())
    found = query(corpus, "select count(dull) n, count(nsfw) m from score").to_pylist()
    assert found == [{"n": 6, "m": 0}]
    assert query(corpus, "select bool_and(passed) ok from filter").to_pylist() == [{"ok": True}]


def test_another_head_makes_stale_what_reads_scores_and_nothing_before(
    line: tuple[Config, torch.nn.Module, Path],
) -> None:
    config, _, folder = line
    assert set(computed_of(config).values()) == {0}
    made = embedder_of(config.embed)
    write(folder / "plain.safetensors", linear(256, seed=5, embedder=made))
    fresh = {name for name, count in computed_of(config).items() if count}
    assert fresh == {"score", "filter", "dedup"}
    write(folder / "plain.safetensors", linear(256, embedder=made))
