"""The figures behind tables and pictures, from predictions alone."""

from typing import NamedTuple

import numpy as np

from handgrad.training.records.predictions import Predictions


class ClassScore(NamedTuple):
    """How well one class was found; a share of nothing is 0."""

    name: str
    precision: float  # of those predicted to be of the class, the share that are
    recall: float  # of those that are of the class, the share predicted to be
    f1: float  # the harmonic mean of the two
    support: int  # samples of the class


class Calibration(NamedTuple):
    """Whether probabilities mean what they say, in bins of the highest one."""

    confidence: np.ndarray  # (bins,), mean of the highest probability; NaN where empty
    accuracy: np.ndarray  # (bins,), share that were right; NaN where empty
    counts: np.ndarray  # (bins,), samples
    error: float  # sum_b (counts_b / m) |accuracy_b - confidence_b|


class Confusion(NamedTuple):
    """One kind of mistake."""

    true: str
    predicted: str
    samples: int
    share: float  # of the samples of the true class


def accuracy(predictions: Predictions) -> float:
    """The share that was right; NaN of no samples."""
    hits = predictions.predicted == predictions.true
    return float(hits.mean()) if hits.size else float("nan")


def loss(predictions: Predictions) -> float:
    """The mean negative log-likelihood in nats (L2); NaN of no samples."""
    losses = predictions.losses.astype(np.float64)
    return float(losses.mean()) if losses.size else float("nan")


def confusion_counts(predictions: Predictions) -> np.ndarray:
    """(C, C), integers: how many of the true class (row) were taken for each other."""
    size = len(predictions.classes)
    cells = predictions.true.astype(np.int64) * size + predictions.predicted
    return np.bincount(cells, minlength=size * size).reshape(size, size)


def class_scores(predictions: Predictions) -> list[ClassScore]:
    """The scores of every class."""
    counts = confusion_counts(predictions)
    hits, support, found = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    precision, recall = hits / np.maximum(found, 1), hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + found, 1)
    columns = (a.tolist() for a in (precision, recall, f1, support))
    return [
        ClassScore(*row)
        for row in zip(map(str, predictions.classes), *columns, strict=True)
    ]


def most_confused(predictions: Predictions, most: int = 15) -> list[Confusion]:
    """The most frequent mistakes, at most ``most``."""
    counts = confusion_counts(predictions)
    support = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    names = predictions.classes.tolist()
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = zip(
        *(i.tolist() for i in np.unravel_index(order, counts.shape)), strict=True
    )
    return [
        Confusion(
            names[i], names[j], int(counts[i, j]), float(counts[i, j] / support[i])
        )
        for i, j in pairs
        if counts[i, j]
    ]


def calibration(predictions: Predictions, bins: int = 10) -> Calibration:
    """Reliability in bins of equal width.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017, equations 2, 3
    and 5.
    """
    confidence = predictions.probabilities.max(axis=1, initial=0).astype(np.float64)
    hits = (predictions.predicted == predictions.true).astype(np.float64)
    which = np.minimum(np.nan_to_num(confidence) * bins, bins - 1).astype(int)
    count = np.bincount(which, minlength=bins)
    sums = (np.bincount(which, values, bins) for values in (confidence, hits))
    empty = np.where(count, count, np.nan)
    mean_confidence, share = (total / empty for total in sums)
    gaps = np.nan_to_num(np.abs(share - mean_confidence))
    error = float(np.sum(count * gaps) / max(1, count.sum()))
    return Calibration(mean_confidence, share, count, error)
