"""Configuration: every mistake is a sentence that names the key and what it may be."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.config import Config, load_config, parse_config
from stages.contract import ConfigurationError

ROOT = Path(__file__).resolve().parent.parent.parent
MINIMAL = {"corpus": "out", "source": {"uri": "photos"}}


def mistake(**changes: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_config({**MINIMAL, **changes}, "run.yaml")
    return str(caught.value)


def test_one_source_or_many() -> None:
    one = parse_config(MINIMAL, "x")
    many = parse_config({**MINIMAL, "source": [{"uri": "a"}, {"uri": "b", "kind": "tar"}]}, "x")
    assert [each.uri for each in one.source] == ["photos"]
    assert [each.kind for each in many.source] == ["auto", "tar"]


def test_unknown_key_suggests_the_nearest() -> None:
    assert "dedup.treshold is not a known key; did you mean 'threshold'?" in mistake(
        dedup={"treshold": 0.9}
    )
    assert "source.0.url" in mistake(source={"uri": "x", "url": "y"})
    assert "did you mean 'caption'?" in mistake(captoin={})


def test_unknown_key_without_a_neighbour_lists_the_known() -> None:
    text = mistake(shard={"zzz": 1})
    assert "known keys: max_mb, max_samples" in text


def test_value_out_of_range_names_the_range() -> None:
    assert "dedup.threshold must be in [-1" in mistake(dedup={"threshold": 1.3})
    assert "got 1.3" in mistake(dedup={"threshold": 1.3})
    assert "run.max_quarantine must be in [0" in mistake(run={"max_quarantine": -0.5})
    assert "shard.max_samples must be in [1, 1000000], got 0" in mistake(shard={"max_samples": 0})


def test_types_are_strict() -> None:
    assert "shard.max_samples" in mistake(shard={"max_samples": "10"})
    assert "run.executor" in mistake(run={"executor": "slurm"})


def test_all_mistakes_are_told_at_once() -> None:
    text = mistake(shard={"max_samples": 0}, dedup={"treshold": 1})
    assert "max_samples" in text
    assert "treshold" in text


def test_missing_keys_are_named() -> None:
    with pytest.raises(ConfigurationError, match="corpus is required"):
        parse_config({"source": {"uri": "x"}}, "x")


def test_overrides(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(MINIMAL))
    config = load_config(
        file, ["source.uri=elsewhere", "dedup.threshold=0.5", "filter.clauses={a: 'width > 3'}"]
    )
    assert config.source[0].uri == "elsewhere"
    assert config.dedup.threshold == 0.5
    assert config.filter.clauses == {"a": "width > 3"}


def test_overrides_into_lists(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({**MINIMAL, "source": [{"uri": "a"}, {"uri": "b"}]}))
    assert load_config(file, ["source.1.uri=c"]).source[1].uri == "c"
    with pytest.raises(ConfigurationError, match=r"must be a list index in \[0, 1\]"):
        load_config(file, ["source.7.uri=c"])


def test_one_source_is_a_list_of_one_for_overrides(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(MINIMAL))
    assert [each.uri for each in load_config(file, ["source.0.uri=c"]).source] == ["c"]


def test_a_key_that_stands_twice_is_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("corpus: a\nsource: {uri: x}\ncorpus: b\n")
    with pytest.raises(ConfigurationError, match="key 'corpus' stands twice"):
        load_config(file)


@pytest.mark.parametrize("override", ["dedup.threshold", "=3", "corpus.x=1"])
def test_bad_overrides(tmp_path: Path, override: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(MINIMAL))
    with pytest.raises(ConfigurationError, match="--set"):
        load_config(file, [override])


@pytest.mark.parametrize("text", ["[1, 2", "- a\n- b", ""])
def test_files_that_are_no_configuration(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"run\.yaml"):
        load_config(file)
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_config(tmp_path / "absent.yaml")


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_the_example_configurations_are_valid(file: Path) -> None:
    assert load_config(file).corpus


def test_the_resolved_configuration_loads_back() -> None:
    config = parse_config(MINIMAL, "x")
    again = Config.model_validate(yaml.safe_load(config.to_yaml()))
    assert again == config


def test_settings_that_only_change_speed_stay_out_of_the_fingerprint() -> None:
    for name in ("ingest", "profile", "embed", "ocr", "caption"):
        settings = parse_config(MINIMAL, "x").stage(name)
        assert "threads" not in settings.fingerprint_fields(), name


def test_an_empty_corpus_is_refused() -> None:
    assert "corpus: " in mistake(corpus="")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe\x00corpus")
    with pytest.raises(ConfigurationError, match="cannot read the configuration"):
        load_config(tmp_path / "run.yaml")
