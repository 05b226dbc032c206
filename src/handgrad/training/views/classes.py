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
      The figure: row true, column predicted. Shades are shares of a row, spread so that
      rare mistakes show. It grows with the classes, so that every name can be read; from
      150 on, names are left out.
    """
    counts = scores.confusion_counts(predictions)
    classes = len(counts)
    cell = 0.42 if classes <= 20 else 0.2 if classes <= 50 else 0.17
    named = classes <= _MOST_NAMED_CLASSES
    names = [short(name, 18) for name in predictions.classes]
    margin = 0.9 + (0.085 * max(map(len, names)) if named else 0.4)
    size = max(2.4, cell * classes if named else 8) + margin
    figure = Figure(figsize=(size + 0.9, size), layout="constrained")
    ax = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    bar = figure.colorbar(image, shrink=min(0.8, 4 / size), label="share of the true class")
    bar.outline.set_visible(False)  # pyright: ignore
    ax.set(xlabel="predicted class", ylabel="true class")
    if named:
        _name(ax, names)
    if np.count_nonzero(counts) <= _MOST_NUMBERS and named:
        _write_counts(ax, counts, shares, 9 if classes <= 20 else 5)
    return figure


def _name(ax: Axes, names: list[str]) -> None:
    size = 10 if len(names) <= 20 else 7
    upright = max(map(len, names)) > 3
    places = range(len(names))
    ax.set_xticks(places, names, rotation=90 if upright else 0, fontsize=size)
    ax.set_yticks(places, names, fontsize=size)


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
    edges = np.linspace(0, 1, len(found.count) + 1)
    lower.stairs(found.count, edges, fill=True, color=COLOURS[0], alpha=0.5)
    lower.set(xlabel="probability of the predicted class", ylabel="samples")
    lower.set_ylim(0, max(1, 1.1 * found.count.max()))
    for ax in (upper, lower):
        ax.grid(alpha=0.2)
    upper.legend(loc="upper left")
    return figure
