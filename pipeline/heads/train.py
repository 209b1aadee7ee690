"""Trains a head on stored vectors, and measures it on images that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipeline.explore.stored import find_settings
from pipeline.heads.fit import FOLDS, Fitted, Ints, fit, make_folds
from pipeline.heads.labels import Labels, read_labels
from pipeline.heads.measures import (
    Bin,
    Bools,
    Doubles,
    Interval,
    average_precision,
    brier,
    calibration_bins,
    calibration_error,
    roc_auc,
)
from pipeline.heads.plot import calibration_plot
from pipeline.query import dataset, table_names
from stages.contract import ConfigurationError
from stages.corpus import Corpus
from stages.heads.head import Head, save_head
from stages.heads.network import Layer, Network
from stages.score import embedder_of, unit_vectors

#: Tenths of the labelled images that no fit sees.
_HELD_OUT = 3
_DEALS = 10
#: Groups of copies that each label must be given to at least.
_LEAST = 10
_ENDING = ".safetensors"


@dataclass(frozen=True)
class Held:
    """How a head does on images that it has not seen.

    Args:
        scores: Their probabilities, (n,).
        labels: (n,).
        auc: Area under the ROC curve.
        precision: Average precision.
        brier: Mean squared error of the probability.
        bins: For the calibration plot.
    """

    scores: Doubles
    labels: Bools
    auc: Interval
    precision: float
    brier: float
    bins: list[Bin]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error."""
        return calibration_error(self.bins)

    def above(self, threshold: float) -> tuple[float, float]:
        """Shares of the yes and of the no that score at least ``threshold``."""
        over = self.scores >= threshold
        return float(over[self.labels].mean()), float(over[~self.labels].mean())


@dataclass(frozen=True)
class TrainedHead:
    """A head, what is known of it, and where it lies.

    Args:
        head: The head.
        fitted: How it was fitted.
        held: How it does on held-out images.
        trained: Labelled images it was fitted to.
        groups: Whether copies were kept on one side of the split.
        without_vector: Labelled images that have no vector and count for nothing.
        file: Its file.
        plot: The calibration plot.
    """

    head: Head
    fitted: Fitted
    held: Held
    trained: int
    groups: bool
    without_vector: int
    file: str
    plot: str


def train_head(
    corpus: Corpus,
    file: Path,
    output: str,
    *,
    table: str = "embed",
    name: str | None = None,
    hidden: int = 0,
    seed: int = 0,
    config: Path | None = None,
) -> TrainedHead:
    """Train a head on labelled images of a corpus and write it, with its calibration plot.

    Three tenths of the images are held out, with their copies where ``dedup`` has found them.
    The head that is written is the one that was measured on them.

    Args:
        corpus: The tables.
        file: CSV of labels, see ``read_labels``.
        output: Where the head goes, a .safetensors file; the plot stands beside it.
        table: The table of vectors.
        name: What it scores; ``None``: the name of the output file.
        hidden: Width of a hidden layer; 0 for logistic regression.
        seed: Of the split and of the hidden layer.
        config: The configuration that made the vectors, where ``runs/`` does not hold it.

    Raises:
        ConfigurationError: If labels, table or output cannot work, or there are too few labels.
    """
    if not output.endswith(_ENDING):
        raise ConfigurationError(f"{output} must end in {_ENDING}")
    embedder = _embedder(corpus, table, config)
    labels = read_labels(corpus, file)
    known, vectors = _vectors(corpus, table, labels.ids)
    ids, truth = labels.ids[known], labels.labels[known]
    groups, grouped = _groups(corpus, ids)
    _check_counts(file, truth, groups)
    held = make_folds(truth, groups, _DEALS, seed) < _HELD_OUT
    folds = make_folds(truth[~held], groups[~held], FOLDS, seed)
    fitted = fit(vectors[~held], truth[~held], folds, hidden, seed)
    network = _rounded(fitted.network)
    measured = _measure(network, vectors[held], truth[held])
    title = name or output.rsplit("/", 1)[-1].removesuffix(_ENDING)
    summary = _summary(labels, truth, held, fitted, measured, hidden, seed)
    head = Head(network, title, table, embedder, f"1: labelled yes ({title})", summary)
    plot = output.removesuffix(_ENDING) + ".calibration.svg"
    corpus.storage.write(plot, calibration_plot(title, measured.bins, *_by_label(measured)))
    corpus.storage.write(output, save_head(head))
    missing = int((~known).sum())
    return TrainedHead(head, fitted, measured, int((~held).sum()), grouped, missing, output, plot)


def _embedder(corpus: Corpus, table: str, config: Path | None) -> dict[str, str]:
    """What made the vectors of a table: the run whose configuration it is up to date with."""
    if table not in table_names(corpus):
        there = ", ".join(each for each in table_names(corpus) if each.startswith("embed"))
        raise ConfigurationError(
            f"{corpus.uri} has no vectors in a table {table!r}; it has {there or 'none'}: run the "
            "embed stage"
        )
    settings = find_settings(corpus, config, table)
    embedders = settings.config.embed.tables()
    if not settings.made_it or table not in embedders:
        raise ConfigurationError(
            f"table {table!r} of {corpus.uri} is not up to date with {settings.origin}, so nobody "
            "can say which embedder made it: bring it up to date with winnow run CONFIG, or name "
            "the configuration with --config"
        )
    return embedder_of(embedders[table])


def _vectors(corpus: Corpus, table: str, ids: Ints) -> tuple[Bools, Doubles]:
    """Which of the items have a vector, and these, in the order of the ids."""
    wanted = pc.field("item_id").isin(ids)
    rows = dataset(corpus, table).to_table(columns=["item_id", "vector"], filter=wanted)
    place = pc.index_in(ids, value_set=rows.column("item_id").combine_chunks())
    return unit_vectors(rows.column("vector").take(place))


def _groups(corpus: Corpus, ids: Ints) -> tuple[Ints, bool]:
    """The cluster of each item, or itself; and whether clusters are known."""
    if "dedup" not in table_names(corpus):
        return ids, False
    wanted = pc.field("item_id").isin(ids)
    rows = dataset(corpus, "dedup").to_table(columns=["item_id", "cluster"], filter=wanted)
    groups = ids.copy()
    groups[np.searchsorted(ids, rows.column("item_id").to_numpy())] = rows.column(
        "cluster"
    ).to_numpy()
    return groups, True


def _check_counts(file: Path, labels: Bools, groups: Ints) -> None:
    for label, name in ((True, "yes"), (False, "no")):
        count = len(np.unique(groups[labels == label]))
        if count < _LEAST:
            raise ConfigurationError(
                f"{file}: at least {_LEAST} different images of either label are needed, copies "
                f"counted once; {name} has {count}"
            )


def _rounded(network: Network) -> Network:
    """The network as its file will hold it, so that what is measured is what is loaded."""
    layers = tuple(
        Layer(*(each.astype(np.float32).astype(np.float64) for each in (x.weight, x.bias)))
        for x in network.layers
    )
    return Network(layers, network.activation, network.output, network.slope, network.offset)


def _measure(network: Network, vectors: Doubles, labels: Bools) -> Held:
    scores = network.scores(vectors).astype(np.float64)
    # In the order of the values: float32 probabilities near 0 and 1 are equal too often.
    values = network.slope * network.values(vectors)
    return Held(
        scores,
        labels,
        roc_auc(values, labels),
        average_precision(values, labels),
        brier(scores, labels),
        calibration_bins(scores, labels),
    )


def _by_label(held: Held) -> tuple[Doubles, Doubles]:
    return held.scores[held.labels], held.scores[~held.labels]


def _summary(
    labels: Labels,
    truth: Bools,
    held: Bools,
    fitted: Fitted,
    measured: Held,
    hidden: int,
    seed: int,
) -> dict[str, Any]:
    """What the head's file says of its training."""
    auc = measured.auc
    return {
        "labelled": len(labels.ids),
        "trained_yes": int(truth[~held].sum()),
        "trained_no": int((~truth[~held]).sum()),
        "held_out_yes": int(truth[held].sum()),
        "held_out_no": int((~truth[held]).sum()),
        "auc": [round(each, 4) for each in (auc.value, auc.low, auc.high)],
        "average_precision": round(measured.precision, 4),
        "brier": round(measured.brier, 4),
        "calibration_error": round(measured.calibration_error, 4),
        "hidden": hidden,
        "penalty": fitted.strength,
        "seed": seed,
    }
