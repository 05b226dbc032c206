"""Pictures of a run, as matplotlib figures that touch no global state.

Colours are told apart by colour-blind eyes, and nothing rests on colour alone.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from handgrad.training.folder import EpochRecord

_TRAIN = {"color": "#0072B2", "linestyle": "-", "label": "train"}
_VALIDATION = {"color": "#D55E00", "linestyle": "--", "label": "validation"}
_MOST_MISTAKES = 30
_MOST_COUNTED_CLASSES = 20


def learning_curves(records: Sequence[EpochRecord]) -> Figure:
    """Loss and accuracy over epochs, training against validation.

    Args:
      records: the lines of metrics.jsonl.

    Returns:
      The figure.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    epochs = [record.epoch for record in records]
    for ax, what in zip(axes, ("loss", "accuracy"), strict=True):
        for part, style in (("train", _TRAIN), ("validation", _VALIDATION)):
            values = [getattr(record, f"{part}_{what}") for record in records]
            marker = "o" if len(epochs) <= 20 else ""
            ax.plot(epochs, values, linewidth=1.5, marker=marker, markersize=4, **style)
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        ax.grid(alpha=0.3)
        ax.legend()
    axes[0].set(title="Loss", ylabel="loss (nats)", yscale="log")
    last = records[-1].validation_accuracy
    axes[1].set(title=f"Accuracy (validation {last:.4f} at the end)", ylabel="accuracy")
    return figure


def confusion_matrix(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """How often each class was taken for each other one.

    Args:
      counts: (C, C), integers: row true, column predicted.
      classes: C names.

    Returns:
      The figure; shades are shares of a row.
    """
    size = 2.5 + 0.5 * min(len(classes), _MOST_COUNTED_CLASSES)
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    ax = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    hits, samples = np.trace(counts), counts.sum()
    ax.set(
        title=f"Test: {hits} of {samples} right ({hits / samples:.2%})",
        xlabel="predicted class",
        ylabel="true class",
    )
    if len(classes) <= _MOST_COUNTED_CLASSES:
        ax.set_xticks(range(len(classes)), classes)
        ax.set_yticks(range(len(classes)), classes)
        _write_counts(ax, counts, shares)
    return figure


def mistakes(
    pixels: np.ndarray, y: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> Figure:
    """The images that got a wrong label, the most confident first.

    Args:
      pixels: (m, height, width), the test images.
      y: (m,), their labels.
      probabilities: (m, C), of the prediction.
      classes: C names.

    Returns:
      The figure, with at most 30 images.
    """
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != y)
    shown = wrong[np.argsort(-confidence[wrong])][:_MOST_MISTAKES]
    columns = max(1, min(6, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(
        figsize=(max(6, 1.7 * columns), 1 + 1.9 * rows), layout="constrained"
    )
    note = f"; the {len(shown)} most confident" if len(shown) < len(wrong) else ""
    figure.suptitle(f"{len(wrong)} of {len(y)} test images wrong{note}")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in grid[len(shown) :]:
        ax.axis("off")
    for ax, i in zip(grid, shown, strict=False):
        ax.imshow(pixels[i], cmap="gray_r")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("0.7")
        ax.set_title(
            f"true {classes[int(y[i])]}\n"
            f"predicted {classes[int(predicted[i])]} ({confidence[i]:.2f})",
            fontsize=9,
        )
    return figure


def _write_counts(ax: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """The count of every cell that is not empty, legible on its shade."""
    for row, column in zip(*np.nonzero(counts), strict=True):
        ax.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            color="white" if shares[row, column] > 0.5 else "black",
        )
