"""One YAML file describes a run; every mistake in it is a sentence that says what to do."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from stages.caption import CaptionSettings
from stages.contract import ConfigurationError, StageSettings
from stages.dedup import DedupSettings
from stages.embed import EmbedSettings
from stages.filter import FilterSettings
from stages.ingest import IngestSettings
from stages.ocr import OcrSettings
from stages.pairs import PairsSettings
from stages.profile import ProfileSettings
from stages.score import ScoreSettings
from stages.shard import ShardSettings
from stages.sources.base import SourceSettings
from stages.storage import StorageSettings


class RunSettings(BaseModel):
    """How a run is executed; nothing here changes a row."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )

    executor: Literal["ray", "local"] = "ray"
    """``ray``: a pool of workers, on this machine or on the cluster that ``RAY_ADDRESS`` names;
    ``local``: in this process, for debugging."""
    workers: int | None = Field(default=None, ge=1, le=100_000)
    """Most workers of one stage; null for as many as the machine or the cluster holds."""
    partition_timeout_s: float = Field(default=3600.0, gt=0, le=86_400)
    """Seconds after which a worker that is still on one partition is taken for hung."""
    max_quarantine: float = Field(default=0.05, ge=0, le=1)
    """Share of all items; above it a finished run exits with 3."""


class ReportSettings(BaseModel):
    """What the audit report shows."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )

    title: str = "Winnow audit report"
    """Heading of the page."""
    groups: int = Field(default=24, ge=0, le=500)
    """Most duplicate groups shown."""
    examples: int = Field(default=12, ge=0, le=200)
    """Most example images per list."""
    thumbnail_px: int = Field(default=144, ge=32, le=512)
    """Longest side of a thumbnail, in pixels."""


class Config(BaseModel):
    """A run: sources, corpus, and each stage's settings."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )

    corpus: str = Field(min_length=1)
    """Folder or object-store prefix that holds all tables."""
    source: list[SourceSettings] = Field(min_length=1)
    """Where images come from: one mapping or a list of them."""
    storage: StorageSettings = StorageSettings()
    run: RunSettings = RunSettings()
    ingest: IngestSettings = IngestSettings()
    profile: ProfileSettings = ProfileSettings()
    embed: EmbedSettings = EmbedSettings()
    score: ScoreSettings = ScoreSettings()
    filter: FilterSettings = FilterSettings()
    dedup: DedupSettings = DedupSettings()
    ocr: OcrSettings = OcrSettings()
    caption: CaptionSettings = CaptionSettings()
    shard: ShardSettings = ShardSettings()
    pairs: PairsSettings = PairsSettings()
    report: ReportSettings = ReportSettings()

    @field_validator("source", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:  # noqa: ANN401 - raw YAML
        return [value] if isinstance(value, dict) else value

    def stage(self, name: str) -> StageSettings:
        """The settings of one stage, told of what they need to know of the others'."""
        sections = {each: getattr(self, each) for each in type(self).model_fields}
        stages = {k: value for k, value in sections.items() if isinstance(value, StageSettings)}
        stages |= self.embed.tables()
        return stages[name].beside(stages)

    def to_yaml(self) -> str:
        """The resolved configuration: every default spelled out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class _UniqueKeys(yaml.SafeLoader):
    """YAML takes the last of two equal keys without a word; here that is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if isinstance(key, str) and keys.count(key) > 1:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key!r} stands twice in one section", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep)


def load_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read a configuration file and apply ``key.path=value`` overrides.

    Args:
        path: YAML file.
        overrides: Such as ``dedup.threshold=0.92``; values are YAML.

    Raises:
        ConfigurationError: Says which key is wrong, and what it may be.
    """
    file = Path(path)
    try:
        raw = yaml.load(file.read_text(encoding="utf-8"), _UniqueKeys)  # noqa: S506 - safe
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the configuration {path}: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path} must hold a mapping at the top, got {type(raw).__name__}")
    for override in overrides or []:
        _apply(raw, override)
    return parse_config(raw, str(path))


def parse_config(raw: dict[str, Any], origin: str) -> Config:
    """Validate a raw mapping.

    Raises:
        ConfigurationError: All mistakes at once, a line each.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        lines = [_sentence(dict(each)) for each in error.errors()]
        raise ConfigurationError("\n".join([f"in {origin}:", *(f"  {x}" for x in lines)])) from None


def _apply(raw: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    if not separator or not path.strip():
        raise ConfigurationError(f"--set wants key.path=value, got {override!r}")
    *parents, last = path.strip().split(".")
    node: Any = raw
    for name in parents:
        node = _step(node, name, path)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"--set {path}: {text!r} is not valid YAML: {error}") from error
    if isinstance(node, list):
        node[_index(node, last, path)] = value
    else:
        node[last] = value


def _step(node: Any, name: str, path: str) -> Any:  # noqa: ANN401 - raw YAML
    if isinstance(node, list):
        return node[_index(node, name, path)]
    if name == "0" and name not in node:
        return node  # one source stands for the list of it
    if node.get(name) is None:
        node[name] = {}
    if not isinstance(node[name], dict | list):
        raise ConfigurationError(f"--set {path}: {name!r} holds {node[name]!r}, not a section")
    return node[name]


def _index(node: list[Any], name: str, path: str) -> int:
    if not name.isdecimal() or int(name) >= len(node):
        raise ConfigurationError(
            f"--set {path}: {name!r} must be a list index in [0, {len(node) - 1}]"
        )
    return int(name)


def _sentence(error: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return _unknown_key(error["loc"])
    if error["type"] == "missing":
        return f"{where} is required"
    limits = _range_of(error["loc"])
    if limits and error["type"].split("_than")[0] in {"greater", "less"}:
        return f"{where} must be in {limits}, got {error['input']!r}"
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{where}: {message}, got {error['input']!r}"


def _unknown_key(loc: tuple[str | int, ...]) -> str:
    where = ".".join(str(part) for part in loc)
    model = _model_at(loc[:-1])
    known = sorted(model.model_fields) if model else []
    near = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
    return f"{where} is not a known key; {hint}"


def _model_at(loc: tuple[str | int, ...]) -> type[BaseModel] | None:
    model: type[BaseModel] = Config
    names = iter(loc)
    for name in names:
        if isinstance(name, int):
            continue
        info = model.model_fields.get(name)
        inner = inner_model(info) if info else None
        if info is None or inner is None:
            return None
        if is_named(info):
            next(names, None)  # the user's own name
        model = inner
    return model


def is_named(info: FieldInfo) -> bool:
    """Whether a field holds models under names that the user chooses."""
    return get_origin(info.annotation) is dict


def inner_model(info: FieldInfo) -> type[BaseModel] | None:
    """The model that a field holds, itself, in a list or by name; ``None`` for plain values."""
    candidates = [info.annotation, *get_args(info.annotation)]
    models = [each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)]
    return models[0] if models else None


def _range_of(loc: tuple[str | int, ...]) -> str | None:
    model = _model_at(loc[:-1])
    info = model.model_fields.get(str(loc[-1])) if model else None
    return limits_of(info) if info else None


def limits_of(info: FieldInfo) -> str | None:
    """The range of a number, such as ``[0, 1)``; ``None`` where it has no limits."""
    low, high = "(-inf", "inf)"
    for limit in info.metadata:
        if isinstance(limit, annotated_types.Ge):
            low = f"[{limit.ge}"
        elif isinstance(limit, annotated_types.Gt):
            low = f"({limit.gt}"
        elif isinstance(limit, annotated_types.Le):
            high = f"{limit.le}]"
        elif isinstance(limit, annotated_types.Lt):
            high = f"{limit.lt})"
    limits = f"{low}, {high}"
    return None if limits == "(-inf, inf)" else limits
