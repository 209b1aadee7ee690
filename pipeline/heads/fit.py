"""Fitting a head: logistic regression or a small network, regularised by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from pipeline.heads.measures import Bools, Doubles
from stages.heads.network import Layer, Network, sigmoid

Ints = NDArray[np.int64]

#: Strengths of the penalty that are tried, on standardised vectors: the mean loss of an image
#: plus half the strength times the sum of squared weights.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
FOLDS = 5
_ITERATIONS = 500
#: The smallest deviation that a dimension is scaled by, relative to the mean of all.
_LEAST_DEVIATION = 1e-2


@dataclass(frozen=True)
class Fitted:
    """A network fitted to labels.

    Args:
        network: Calibrated: its output is a probability.
        strength: The penalty that cross-validation chose.
        losses: Mean log loss of an image in cross-validation, per strength tried.
    """

    network: Network
    strength: float
    losses: dict[float, float]


def fit(
    vectors: Doubles,
    labels: Bools,
    folds: Ints,
    hidden: int = 0,
    seed: int = 0,
    strengths: Sequence[float] = STRENGTHS,
) -> Fitted:
    """Fit a head and calibrate it on what cross-validation left out.

    Args:
        vectors: (n, d), rows of unit length.
        labels: (n,), both classes in every training fold.
        folds: (n,), the fold that each row is left out in.
        hidden: Width of a hidden layer with ReLU; 0 for logistic regression.
        seed: Of the hidden layer's first weights.
        strengths: Penalties to choose from; the largest of equally good ones is taken.
    """
    left_out = {
        strength: _left_out(vectors, labels, folds, hidden, seed, strength)
        for strength in strengths
    }
    losses = {strength: log_loss(values, labels) for strength, values in left_out.items()}
    best = min(losses, key=lambda strength: (losses[strength], -strength))
    layers = _train(vectors, labels, hidden, seed, best)
    slope, offset = platt(left_out[best], labels)
    network = Network(layers, "relu", "sigmoid", slope, offset)
    return Fitted(network, best, losses)


def make_folds(labels: Bools, groups: Ints, count: int, seed: int) -> Ints:
    """Deal groups out into folds so that each has its share of both classes.

    Args:
        labels: (n,).
        groups: (n,): rows of one group stay together.
        count: How many folds.
        seed: Other seeds deal otherwise; the order of rows does not matter if groups are named
            the same.

    Returns:
        The fold of each row, (n,), in 0..count - 1.
    """
    names, place = np.unique(groups, return_inverse=True)
    sizes = np.bincount(place)
    positives = np.bincount(place, weights=labels).astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(names))
    # Large groups first: what is dealt last evens out.
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold = np.zeros(len(names), dtype=np.int64)
    held = np.zeros((count, 2))
    totals = np.array([max(1, len(labels) - labels.sum()), max(1, labels.sum())])
    for group in order:
        adds = np.array([sizes[group] - positives[group], positives[group]]) / totals
        # The fold that stays emptiest of what the group brings.
        fold[group] = int(np.argmin(((held + adds) ** 2).sum(axis=1) - (held**2).sum(axis=1)))
        held[fold[group]] += adds
    return fold[place]


def platt(values: Doubles, labels: Bools) -> tuple[float, float]:
    """Slope and offset that turn values into probabilities (Platt 1999).

    With his targets, which keep off 0 and 1 by the number of examples. The slope is never
    negative: a head that is wrong is not turned round.

    Args:
        values: Of rows that had no part in the fit, (n,).
        labels: (n,).
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    target = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(parameters: Doubles) -> tuple[float, Doubles]:
        logits = parameters[0] * values + parameters[1]
        error = sigmoid(logits) - target
        value = np.logaddexp(0.0, logits) - target * logits
        return float(value.mean()), np.array([(error * values).mean(), error.mean()])

    start = np.array([1.0, 0.0])
    bounds = [(0.0, None), (None, None)]
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return float(found.x[0]), float(found.x[1])


def log_loss(values: Doubles, labels: Bools) -> float:
    """Mean negative log likelihood of labels, given logits."""
    return float((np.logaddexp(0.0, values) - labels * values).mean())


def _left_out(
    vectors: Doubles, labels: Bools, folds: Ints, hidden: int, seed: int, strength: float
) -> Doubles:
    """The value of each row by a network that has not seen its fold."""
    values = np.zeros(len(labels))
    for fold in np.unique(folds):
        out = folds == fold
        layers = _train(vectors[~out], labels[~out], hidden, seed, strength)
        values[out] = Network(layers, "relu", "identity").values(vectors[out])
    return values


def _train(
    vectors: Doubles, labels: Bools, hidden: int, seed: int, strength: float
) -> tuple[Layer, ...]:
    """Layers over the vectors as they are; fitted on standardised ones."""
    mean, deviation = vectors.mean(axis=0), vectors.std(axis=0)
    scale = np.maximum(deviation, max(_LEAST_DEVIATION * float(deviation.mean()), 1e-12))
    standard = (vectors - mean) / scale
    layers = _perceptron(standard, labels, hidden, seed, strength) if hidden else None
    first, *rest = layers or _logistic(standard, labels, strength)
    weight = first.weight / scale
    return (Layer(weight, first.bias - weight @ mean), *rest)


def _logistic(vectors: Doubles, labels: Bools, strength: float) -> tuple[Layer, ...]:
    """Logistic regression: the one minimum of its convex loss, so no seed."""
    count, width = vectors.shape

    def loss(parameters: Doubles) -> tuple[float, Doubles]:
        weight, bias = parameters[:-1], parameters[-1]
        logits = vectors @ weight + bias
        error = (sigmoid(logits) - labels) / count
        value = log_loss(logits, labels) + 0.5 * strength * float(weight @ weight)
        return value, np.append(vectors.T @ error + strength * weight, error.sum())

    found = _minimum(loss, np.zeros(width + 1))
    return (Layer(found[None, :-1], found[-1:]),)


def _perceptron(
    vectors: Doubles, labels: Bools, hidden: int, seed: int, strength: float
) -> tuple[Layer, ...]:
    """One hidden layer with ReLU, from He's (2015) first weights."""
    count, width = vectors.shape
    random = np.random.default_rng(seed)
    sizes = [hidden * width, hidden, hidden, 1]
    cuts = np.cumsum(sizes)[:-1]

    def unpacked(parameters: Doubles) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        first, first_bias, last, last_bias = np.split(parameters, cuts)
        return first.reshape(hidden, width), first_bias, last, last_bias

    def loss(parameters: Doubles) -> tuple[float, Doubles]:
        first, first_bias, last, last_bias = unpacked(parameters)
        inner = np.maximum(vectors @ first.T + first_bias, 0.0)
        logits = inner @ last + last_bias[0]
        error = (sigmoid(logits) - labels) / count
        back = np.outer(error, last) * (inner > 0)
        penalty = 0.5 * strength * float((first**2).sum() + last @ last)
        gradients = (
            (back.T @ vectors + strength * first).ravel(),
            back.sum(axis=0),
            inner.T @ error + strength * last,
            np.array([error.sum()]),
        )
        return log_loss(logits, labels) + penalty, np.concatenate(gradients)

    start = np.zeros(sum(sizes))
    start[: cuts[0]] = random.normal(0.0, np.sqrt(2.0 / width), sizes[0])
    start[cuts[1] : cuts[2]] = random.normal(0.0, np.sqrt(1.0 / hidden), hidden)
    first, first_bias, last, last_bias = unpacked(_minimum(loss, start))
    return (Layer(first, first_bias), Layer(last[None, :], last_bias))


def _minimum(loss: object, start: Doubles) -> Doubles:
    options = {"maxiter": _ITERATIONS, "maxfun": 4 * _ITERATIONS}
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    parameters: Doubles = found.x
    return parameters
