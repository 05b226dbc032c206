"""Pictures of how classes were told apart: the confusion matrix, and calibration."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from handgrad.training.records.predictions import Predictions
from handgrad.training.views import scores
from handgrad.training.views.style import COLOURS, short

_MOST_NAMED_CLASSES = 150
_MOST_NUMBERS = 2_000


def confusion_matrix(predictions: Predictions) -> Figure:
    """How often each class was taken for each other one.

    Args:
      predictions: of one part.

    Returns:
      The figure: row true, column predicted. Shades are shares of a row, spread so
      that rare mistakes show. It grows with the classes, so that every name can be
      read; beyond 150, names are left out.
    """
    counts = scores.confusion_counts(predictions)
    classes = len(counts)
    named = classes <= _MOST_NAMED_CLASSES
    cell = 0.42 if classes <= 20 else 0.2 if classes <= 50 else 0.12
    size = max(2, cell * classes) if named else 9
    figure = Figure(figsize=(size + 2, size + 2), layout="constrained")
    ax = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    ax.set(xlabel="predicted class", ylabel="true class")
    place = {"location": "top", "shrink": min(0.8, 4 / size), "anchor": (0, 0)}
    bar = figure.colorbar(image, ticks=[0, 0.05, 0.2, 0.5, 1], aspect=30, **place)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("share of the true class", fontsize=9)
    if named:
        _name(ax, predictions)
        if np.count_nonzero(counts) <= _MOST_NUMBERS:
            _write_counts(ax, counts, shares, 9 if classes <= 20 else 50 * cell / 2)
    return figure


def _name(ax: Axes, predictions: Predictions) -> None:
    """Names along both axes; with their numbers where they do not fit whole."""
    names = [str(name) for name in predictions.classes]
    labels = [short(name, 16) for name in names]
    if max(map(len, names)) > 16:
        labels = [f"{k} {short(name, 16)}" for k, name in enumerate(names)]
    size = 10 if len(names) <= 20 else 7 if len(names) <= 50 else 6
    upright = max(map(len, labels)) > 3
    places = range(len(names))
    ax.set_xticks(places, labels, rotation=90 if upright else 0, fontsize=size)
    ax.set_yticks(places, labels, fontsize=size)


def _write_counts(
    ax: Axes, counts: np.ndarray, shares: np.ndarray, size: float
) -> None:
    """The count of every cell that is not empty, legible on its shade."""
    for row, column in zip(*np.nonzero(counts), strict=True):
        ax.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            fontsize=size,
            color="white" if shares[row, column] > 0.25 else "black",
        )


def calibration(predictions: Predictions) -> Figure:
    """The share that was right over the probability given to it, and how many samples
    each point stands for.

    Args:
      predictions: of one part.

    Returns:
      The figure.
    """
    found = scores.calibration(predictions)
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    ink = upper.xaxis.label.get_color()
    upper.plot([0, 1], [0, 1], color=ink, alpha=0.4, linewidth=1, label="as promised")
    upper.plot(found.confidence, found.accuracy, "o-", color=COLOURS[0], label="found")
    upper.set(ylabel="share that was right", ylim=(-0.03, 1.03), xlim=(0, 1))
    upper.set_title(f"Expected calibration error {found.error:.4f}")
    edges = np.linspace(0, 1, len(found.counts) + 1)
    lower.stairs(found.counts, edges, fill=True, color=COLOURS[0], alpha=0.5)
    lower.set(xlabel="probability of the predicted class", ylabel="samples")
    lower.set_ylim(0, max(1, 1.1 * found.counts.max()))
    for ax in (upper, lower):
        ax.grid(alpha=0.2)
    upper.legend(loc="lower right")
    return figure
