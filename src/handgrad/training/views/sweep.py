"""A sweep: its progress, a table of the combinations, a figure."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from handgrad.training.records.members import Combination, Mean, best_of
from handgrad.training.views.style import COLOURS, short
from handgrad.training.views.terminal import Pauses, in_words, say

Tell = Callable[[float, int], None]
_MOST_ROWS, _MOST_LINES, _MOST_TICKS = 40, 12, 8
_COLUMNS = (
    ("validation_loss", "loss", 1, 4),
    ("validation_accuracy", "accuracy, %", 100, 1),
    ("test_accuracy", "in test, %", 100, 1),
)
"""What is shown, its heading, its unit, and its digits."""


@contextmanager
def sweep_progress(
    console: Console, members: int, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Tell]:
    """Show how far a sweep is, and the time that is left.

    A terminal gets a bar; a file or pipe gets lines, after pauses that double from a
    second to a minute.

    Args:
      console: where to.
      members: how many there are to train.
      clock: seconds that pass.

    Yields:
      The function to call with the share of all steps, and the members that are done.
    """
    began = clock()

    def where(share: float, done: int) -> str:
        left = (
            f", {in_words((clock() - began) * (1 / share - 1))} left" if share else ""
        )
        return f"{done:,}/{members:,} networks done{left}"

    if console.is_terminal:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        columns = (
            BarColumn(20),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("", total=1.0)
            yield lambda share, done: bar.update(
                task, completed=share, description=where(share, done)
            )
        return
    pauses = Pauses(clock)

    def line(share: float, done: int) -> None:
        if pauses.over():
            say(console, f"{share:.0%}  {where(share, done)}")

    yield line


def sweep_table(found: Sequence[Combination]) -> Table:
    """Mean and standard error over the seeds, a row per combination; of very many,
    those with the lowest loss.

    Args:
      found: of `combinations`.

    Returns:
      A table for the terminal, the best combination in bold.
    """
    best, shown = best_of(found), found
    title = "Mean and standard error over the seeds, validation samples"
    if len(found) > _MOST_ROWS:
        shown = sorted(found, key=lambda each: each.chosen_by)[:_MOST_ROWS]
        title += f": the {_MOST_ROWS} lowest losses of {len(found)} combinations"
    columns = [each for each in _COLUMNS if any(getattr(c, each[0]) for c in shown)]
    columns = columns or [("train_loss", "training loss", 1, 4)]
    table = Table(title=Text(title), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    if any(each.diverged for each in shown):
        table.caption = "The seeds that are missing diverged."
    for name in short_names(found):
        heading = Text(name.replace("_", " "))
        table.add_column(heading, justify="right", vertical="bottom")
    for name in ["seeds", *(column[1] for column in columns), "epoch"]:
        table.add_column(Text(name), justify="right", vertical="bottom", no_wrap=True)
    for each in shown:
        table.add_row(
            *(f"{value:g}" for value in each.values.values()),
            f"{each.seeds - each.diverged} of {each.seeds}"
            if each.diverged
            else str(each.seeds),
            *(_in_words(getattr(each, name), *how) for name, _, *how in columns),
            "-" if each.best_epoch is None else f"{each.best_epoch.mean:.1f}",
            style="bold" if each is best else None,
        )
    return table


def sweep_figure(found: Sequence[Combination]) -> Figure:
    """Loss and accuracy over the setting with the most values; a line for each
    combination of the others. Bars are standard errors; a ring marks the best.

    Args:
      found: of `combinations`.

    Returns:
      The figure. What diverged is not drawn.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    axis = _axis(found)
    part = "validation" if any(each.validation_loss for each in found) else "train"
    label = "validation" if part == "validation" else "training"
    for ax, name in ((loss, f"{part}_loss"), (accuracy, f"{part}_accuracy")):
        _label(ax, found, axis)
        _draw(ax, found, name, axis)
    loss.set(title=f"{label.capitalize()} loss", ylabel="nats per sample")
    accuracy.set(title=f"{label.capitalize()} accuracy", ylabel="share that is right")
    low, high = _range(found, f"{part}_loss")
    if 0 < 10 * low < high:
        loss.set_yscale("log")
    handles, labels = accuracy.get_legend_handles_labels()
    if len(labels) > 1:
        if len(labels) > _MOST_LINES:
            labels = [*labels[:_MOST_LINES], f"and {len(labels) - _MOST_LINES} more"]
            handles = [*handles[:_MOST_LINES], Axes.plot(accuracy, [], [], " ")[0]]
        figure.legend(
            handles, labels, loc="outside lower center", ncols=min(len(labels), 3)
        )
    return figure


def short_names(found: Sequence[Combination]) -> list[str]:
    """The last parts of the keys, or the whole where two would be the same."""
    keys = list(found[0].values) if found else []
    last = [key.rpartition(".")[2] for key in keys]
    return [
        key if last.count(name) > 1 else name
        for key, name in zip(keys, last, strict=True)
    ]


def _axis(found: Sequence[Combination]) -> int | None:
    """Which setting the x axis has; None where only seeds differ."""
    counts = [
        len({tuple(each.values.values())[number] for each in found})
        for number in range(len(found[0].values))
    ]
    return counts.index(max(counts)) if counts else None


def _draw(ax: Axes, found: Sequence[Combination], name: str, axis: int | None) -> None:
    lines: dict[str, list[tuple[float, Mean]]] = {}
    names, best = short_names(found), best_of(found)
    for each in found:
        values = list(each.values.values())
        x = 0.0 if axis is None else values.pop(axis)
        others = [n for number, n in enumerate(names) if number != axis]
        line = ", ".join(f"{n} {v:g}" for n, v in zip(others, values, strict=True))
        mean: Mean | None = getattr(each, name)
        points = lines.setdefault(line, [])
        if mean is None:
            continue
        points.append((x, mean))
        if each is best:
            colour = COLOURS[list(lines).index(line) % len(COLOURS)]
            ax.plot(x, mean.mean, "o", ms=11, mfc="none", mec=colour, zorder=3)
    for number, (line, points) in enumerate(lines.items()):
        points.sort(key=lambda point: point[0])
        ax.errorbar(
            [x for x, _ in points],
            [mean.mean for _, mean in points],
            [mean.standard_error or 0.0 for _, mean in points],
            color=COLOURS[number % len(COLOURS)],
            linestyle=("-", "--", ":", "-.")[number // len(COLOURS) % 4],
            marker="o",
            markersize=4,
            capsize=3,
            linewidth=1.5,
            label=short(line, 60),
        )
    ax.grid(alpha=0.2)


def _label(ax: Axes, found: Sequence[Combination], axis: int | None) -> None:
    if axis is None:
        ax.set_xticks([0.0], [f"mean of {found[0].seeds} seeds"])
        return
    values = sorted({tuple(each.values.values())[axis] for each in found})
    ax.set_xlabel(short(short_names(found)[axis], 40))
    positive = [value for value in values if value > 0]
    if values[0] >= 0 and positive and 10 * positive[0] <= values[-1]:
        zero = values[0] == 0  # has a place at the left of a logarithmic axis
        ax.set_xscale("symlog" if zero else "log", **_linear(positive[0], zero))
    if len(values) <= _MOST_TICKS:
        ax.set_xticks(values, [f"{value:g}" for value in values])
        ax.set_xticks([], minor=True)


def _linear(least: float, zero: bool) -> dict[str, float]:
    return {"linthresh": least, "linscale": 0.5} if zero else {}


def _range(found: Sequence[Combination], name: str) -> tuple[float, float]:
    means = [mean.mean for each in found if (mean := getattr(each, name))]
    return (float(np.min(means)), float(np.max(means))) if means else (0.0, 0.0)


def _in_words(mean: Mean | None, unit: int, digits: int) -> str:
    if mean is None:
        return "-"
    if mean.standard_error is None:
        return f"{unit * mean.mean:.{digits}f}"
    return f"{unit * mean.mean:.{digits}f}±{unit * mean.standard_error:.{digits}f}"
