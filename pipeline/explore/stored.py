"""What the explorer reads of a corpus: pairs, policy order, and the settings behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml

from dedup.arrays import Bools, Doubles, Ints
from dedup.policy import columns_of, matching, policy_rank
from dedup.restore import Restored, restore
from dedup.strata import threshold_grid
from pipeline.config import Config, load_config, parse_config
from pipeline.query import dataset, read_table, table_names
from pipeline.registry import stages_of
from pipeline.state import StateReader
from stages.contract import ConfigurationError, StageError
from stages.corpus import Corpus
from stages.dedup import DedupSettings
from stages.schemas import ROW_BITS, TABLES

_LOW, _HIGH, _STEP = 0.7, 0.99, 0.01


@dataclass(frozen=True)
class Settings:
    """The run whose settings hold.

    Args:
        config: Its configuration.
        origin: Where it was read from, for people.
        made_it: Whether the corpus' tables were made with it.
    """

    config: Config
    origin: str
    made_it: bool


def read_pairs(corpus: Corpus, floor: float | None = None) -> tuple[Restored, Ints]:
    """The stored pairs, and the ids of all items that were compared, ascending.

    Args:
        corpus: The tables.
        floor: No pair below it was stored; ``None`` for the lowest stored similarity.

    Raises:
        ConfigurationError: If ``dedup`` has not run.
        StageError: If its two tables contradict each other.
    """
    ids = read_table(corpus, "dedup", ["item_id"]).column("item_id").to_numpy()
    edges = read_table(corpus, "edges")
    try:
        return restore(edges, ids, floor), ids
    except ValueError as error:
        raise StageError(
            f"tables edges and dedup of {corpus.uri} contradict each other: {error}. "
            "Run the stage again: winnow stage dedup CONFIG --force"
        ) from error


def policy_order(corpus: Corpus, ids: Ints, settings: DedupSettings) -> tuple[Ints, Bools]:
    """The place of each item in policy order, and whether it is protected.

    Args:
        corpus: The tables.
        ids: The items, int64 (n,), ascending.
        settings: Of the stage: policy, protection, and whether earlier batches come first.

    Returns:
        Places, int64 (n,), all different, and protection, bool (n,).

    Raises:
        ConfigurationError: If policy or protection do not work.
        StageError: If items are not in both tables.
    """
    columns = {"item_id": pa.array(ids), "batch": pa.array(_batches(corpus, ids))}
    for table in ("items", "profile", "score"):
        known = [name for name in _columns_of(corpus, table) if name != "item_id"]
        terms = [each for each in (settings.keep, settings.protect) if each.strip()]
        named = {name for each in terms for name in columns_of(each, known)}
        if named:
            rows = _rows_of(corpus, table, sorted(named), ids)
            columns |= {name: rows.column(name) for name in named}
    items = pa.table(columns)
    try:
        return policy_rank(items, keep_order(settings)), matching(items, settings.protect)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _columns_of(corpus: Corpus, table: str) -> list[str]:
    """The columns of a table; those of its schema where it has not been written."""
    if table not in table_names(corpus):
        return list(TABLES[table].names)
    return list(dataset(corpus, table).schema.names)


def keep_order(settings: DedupSettings) -> str:
    """The policy with what the stage puts before it: images of earlier batches stay."""
    terms = ["batch"] if settings.keep_earlier else []
    return ", ".join([*terms, settings.keep] if settings.keep.strip() else terms)


def _batches(corpus: Corpus, ids: Ints) -> Ints:
    """The batch of each item; -1 where no plan names its partition."""
    batch = {each.part: each.batch for each in corpus.partitions()}
    parts, place = np.unique(ids >> ROW_BITS, return_inverse=True)
    numbers = [batch.get(part, -1) for part in parts.tolist()]
    return np.array(numbers, dtype=np.int64)[place]


def _rows_of(corpus: Corpus, table: str, columns: list[str], ids: Ints) -> pa.Table:
    rows = read_table(corpus, table, ["item_id", *columns])
    known = rows.column("item_id").to_numpy()
    place = np.minimum(np.searchsorted(known, ids), max(len(known) - 1, 0))
    if len(ids) and (not len(known) or (known[place] != ids).any()):
        raise StageError(
            f"table {table!r} of {corpus.uri} lacks items that dedup compared: bring the corpus "
            "up to date with winnow run CONFIG"
        )
    return rows.take(pa.array(place))


def find_settings(corpus: Corpus, config: Path | None = None, stage: str = "dedup") -> Settings:
    """The settings to explore with.

    Args:
        corpus: The tables.
        config: A configuration file; ``None`` for the latest of ``runs/`` that the tables of
            ``stage`` were made with, or, where there is none, the latest.
        stage: Whose tables are looked at.

    Raises:
        ConfigurationError: If the file is wrong, or no run has left one.
    """
    if config is not None:
        given = load_config(config)
        return Settings(given, str(config), _made(corpus, given, stage))
    latest = None
    for origin in _stored_configs(corpus):
        parsed = _parsed(corpus, origin)
        if parsed is None:
            continue
        if _made(corpus, parsed, stage):
            return Settings(parsed, origin, made_it=True)
        latest = latest or Settings(parsed, origin, made_it=False)
    if latest is None:
        raise ConfigurationError(
            f"{corpus.uri} holds no configuration of a run that can be read: name one with --config"
        )
    return latest


def _stored_configs(corpus: Corpus) -> list[str]:
    """Configurations of runs, the latest first: run ids begin with the time."""
    names = {
        str(info.path).replace("\\", "/").split("/")[-2]
        for info in corpus.storage.files(corpus.place("runs"))
        if str(info.path).endswith("config.yaml")
    }
    return [f"runs/{name}/config.yaml" for name in sorted(names, reverse=True)]


def _parsed(corpus: Corpus, origin: str) -> Config | None:
    """A stored configuration; ``None`` where this version cannot read it."""
    try:
        raw = yaml.safe_load(corpus.storage.read(corpus.place(*origin.split("/"))))
        return parse_config(raw, origin)
    except (yaml.YAMLError, ConfigurationError):
        return None


def _made(corpus: Corpus, config: Config, name: str) -> bool:
    """Whether the tables of a stage are up to date with a configuration."""
    reader = StateReader(config, corpus)
    for stage in stages_of(config):
        state = reader.read(stage)
        if stage.name == name:
            return state.settled
    return False


def read_grid(text: str | None, floor: float) -> Doubles:
    """The thresholds that a command was asked for.

    Args:
        text: LOW:HIGH:STEP; ``None`` for 0.7 (or the floor, if it is higher) to 0.99 by 0.01.
        floor: Lowest similarity that was stored.

    Raises:
        ConfigurationError: If it cannot be read, or is no grid.
    """
    if text is None:
        low = max(_LOW, min(1.0, math.ceil(floor / _STEP - 1e-6) * _STEP))
        return threshold_grid(round(low, 2), max(round(low, 2), _HIGH), _STEP)
    try:
        low, high, step = (float(part) for part in text.split(":"))
    except ValueError:
        raise ConfigurationError(
            f"--grid wants LOW:HIGH:STEP such as 0.7:0.99:0.01, got {text!r}"
        ) from None
    try:
        return threshold_grid(low, high, step)
    except ValueError as error:
        raise ConfigurationError(f"--grid {text}: {error}") from error


def decimals(thresholds: Sequence[float]) -> int:
    """Digits behind the point that write every threshold in full, at least two."""
    return max(2, *(len(f"{each:.9f}".rstrip("0").split(".")[1]) for each in thresholds))
