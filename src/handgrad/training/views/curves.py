"""Losses, accuracies and learning rates over epochs, of one run or many."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from handgrad.training.records.metrics import EpochRecord, best_record
from handgrad.training.views.style import COLOURS, short

Runs = Mapping[str, Sequence[EpochRecord]]
_DASHES = ("-", (0, (1, 1)), (0, (4, 1, 1, 1)))  # after a round of colours
_MOST_NAMED = 12


def learning_curves(runs: Runs) -> Figure:
    """Loss, accuracy and learning rate over epochs.

    Args:
      runs: records by name. Of one run, training stands against validation; of many,
        validation alone.

    Returns:
      The figure. A dot marks the lowest validation loss of a run.
    """
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    _draw(loss, runs, "loss")
    _draw(accuracy, runs, "accuracy")
    for number, (name, records) in enumerate(runs.items()):
        _line(rate, records, "learning_rate", number, name)
    _logarithmic(loss)
    part = "validation " if len(runs) > 1 else ""
    loss.set(title=f"{part}loss".capitalize(), ylabel="nats per sample")
    accuracy.set(title=f"{part}accuracy".capitalize(), ylabel="share that is right")
    rate.set(title="Learning rate", ylabel="per step")
    for ax in (loss, accuracy, rate):
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(_whole())
        ax.grid(alpha=0.2)
    _legend(figure, accuracy)
    return figure


def _draw(ax: Axes, runs: Runs, what: str) -> None:
    if len(runs) == 1:
        records = next(iter(runs.values()))
        _line(ax, records, f"train_{what}", 0, "training")
        _line(ax, records, f"validation_{what}", 1, "validation", "--")
        _mark_best(ax, records, what, 1)
        return
    for number, (name, records) in enumerate(runs.items()):
        _line(ax, records, f"validation_{what}", number, name)
        _mark_best(ax, records, what, number)


def _line(
    ax: Axes,
    records: Sequence[EpochRecord],
    field: str,
    number: int,
    name: str,
    dashes: str = "",
) -> None:
    values = np.array([getattr(record, field) for record in records], dtype=float)
    values[~np.isfinite(values)] = np.nan
    ax.plot(
        [record.epoch for record in records],
        values,
        color=COLOURS[number % len(COLOURS)],
        linestyle=dashes or _DASHES[number // len(COLOURS) % len(_DASHES)],
        linewidth=1.5,
        marker="o" if len(records) <= 20 else "",
        markersize=3,
        label=short(name),
    )


def _mark_best(
    ax: Axes, records: Sequence[EpochRecord], what: str, number: int
) -> None:
    best = best_record(records)
    if best is not None:
        value = getattr(best, f"validation_{what}")
        ax.plot(best.epoch, value, "o", color=COLOURS[number % len(COLOURS)])


def _whole() -> MaxNLocator:
    return MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)


def _logarithmic(ax: Axes) -> None:
    """A log axis for what spans a factor of 10 and is above 0."""
    values = np.concatenate([np.ravel(line.get_ydata()) for line in ax.lines] or [[]])
    values = values[np.isfinite(values)]
    if values.size and 0 < 10 * values.min() < values.max():
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_locator(NullLocator())


def _legend(figure: Figure, ax: Axes) -> None:
    """The names under the panels; of many, the first ones."""
    handles, labels = ax.get_legend_handles_labels()
    more = len(labels) - _MOST_NAMED
    if more > 0:
        handles = [*handles[:_MOST_NAMED], Line2D([], [], linestyle="none")]
        labels = [*labels[:_MOST_NAMED], f"and {more} more"]
    if labels:
        columns = min(len(labels), 5)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
