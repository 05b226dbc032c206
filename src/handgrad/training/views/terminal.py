"""What a run prints: progress while it trains, tables when it is done.

Names are printed as they stand: none is read as markup, and none breaks a line.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from handgrad.training.records.metrics import EpochRecord
from handgrad.training.views.scores import ClassScore

Show = Callable[[int, EpochRecord | None], None]
_MOST_CLASSES = 25
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds


class Terminal(Console):
    """A console that says where its output went, instead of ending the program."""

    def on_broken_pipe(self) -> None:
        """Rich calls this where BrokenPipeError is being handled."""
        raise  # noqa: PLE0704


def say(console: Console, text: str) -> None:
    """Print plain text: no markup, no wrapping of paths and tables."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def say_report(console: Console, report: str | None) -> None:
    """Print the report of the gradient check, if there is one to be shown."""
    if report is not None:
        say(console, f"Gradient by hand against jax.grad, first batch:\n{report}")


def file_names(folder: Path) -> str:
    """What a user finds in a folder, as a line."""
    names = sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
    return f"{folder}: {', '.join(names)}"


class Pauses:
    """When the next line of a file or pipe is due: after pauses that double from a
    second to a minute."""

    def __init__(self, clock: Callable[[], float], first: float = _FIRST_PAUSE) -> None:
        self.clock, self.pause, self.written = clock, first, clock()

    def over(self, least: float = 0.0) -> bool:
        """Whether the pause is, which begins the next one."""
        now = self.clock()
        if now - self.written < max(self.pause, least):
            return False
        self.written = now
        self.pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, 2 * self.pause))
        return True


@contextmanager
def training_progress(
    console: Console,
    epochs: int,
    steps_per_epoch: int,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Show]:
    """Show training with its rate and the time that is left.

    A terminal gets a bar. A file or pipe gets lines: the first epoch's, the last one's,
    and between them one after a pause that doubles from a second to a minute, so a
    short run says something and a long one not too much.

    Args:
      console: where to.
      epochs: how many there will be at most.
      steps_per_epoch: S.
      clock: seconds that pass.

    Yields:
      The function to call with the steps since the run began and, as an epoch ends, its
      record; with None in between. The rate is that since its first call, so neither
      compilation nor what a resumed run has behind it counts.
    """
    pace = _Pace(epochs * steps_per_epoch, clock)
    lines = _bar if console.is_terminal else _lines
    with lines(console, epochs, steps_per_epoch, pace) as show:
        yield show


class _Pace:
    """The rate, and the time left at that rate."""

    def __init__(self, total: int, clock: Callable[[], float]) -> None:
        self.total, self.clock = total, clock
        self.first: tuple[int, float] | None = None

    def __call__(self, steps: int) -> str:
        now = self.clock()
        before, began = self.first = self.first or (steps, now)
        if steps <= before or now <= began:
            return ""
        rate = (steps - before) / (now - began)
        left = in_words(max(0, self.total - steps) / rate)
        digits = ",.0f" if rate >= 100 else ".3g"  # of which 1e+03 would be three
        return f"{rate:{digits}} steps/s, {left} left"


@contextmanager
def _bar(
    console: Console, epochs: int, steps_per_epoch: int, pace: _Pace
) -> Iterator[Show]:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    class TwoLines(Progress):
        """The bar, and under it the losses: both fit in 80 columns."""

        below = ""

        def get_renderables(self) -> Iterator[RenderableType]:
            yield self.make_tasks_table(self.tasks)
            yield Text(self.below)

    where, rate = TextColumn("{task.description}"), TextColumn("{task.fields[rate]}")
    columns = (where, BarColumn(20), TaskProgressColumn(), rate)
    with TwoLines(*columns, console=console) as bar:
        task = bar.add_task("", total=epochs * steps_per_epoch, rate="")

        def show(steps: int, record: EpochRecord | None) -> None:
            if record is not None:
                bar.below = losses_in_words(record)
            where = f"epoch {_epoch(steps, steps_per_epoch, record)}/{epochs}"
            bar.update(task, completed=steps, description=where, rate=pace(steps))

        yield show


@contextmanager
def _lines(
    console: Console, epochs: int, steps_per_epoch: int, pace: _Pace
) -> Iterator[Show]:
    pauses, unwritten = Pauses(pace.clock, first=0.0), ""

    def show(steps: int, record: EpochRecord | None) -> None:
        nonlocal unwritten
        if record is None:
            what = f"{steps % steps_per_epoch / steps_per_epoch:.0%} of it"
        else:
            what = losses_in_words(record)
        epoch = _epoch(steps, steps_per_epoch, record)
        line = f"epoch {epoch}/{epochs}  {what}  {pace(steps)}".rstrip()
        if pauses.over(least=_FIRST_PAUSE if record is None else 0.0):
            say(console, line)
            unwritten = ""
        elif record is not None:
            unwritten = line

    try:
        yield show
    finally:
        if unwritten:
            say(console, unwritten)


def _epoch(steps: int, steps_per_epoch: int, record: EpochRecord | None) -> int:
    return steps // steps_per_epoch + 1 if record is None else record.epoch


def losses_in_words(record: EpochRecord) -> str:
    """Loss and accuracy of a record in a line; of validation, where there is any."""
    figures = (
        ("loss", record.train_loss, record.validation_loss),
        ("accuracy", record.train_accuracy, record.validation_accuracy),
    )
    if math.isnan(record.validation_accuracy):  # there are no such samples
        return "  ".join(f"{name} {train:.4f}" for name, train, _ in figures)
    return "  ".join(
        f"{name} {train:.4f} (validation {held_out:.4f})"
        for name, train, held_out in figures
    )


def in_words(seconds: float) -> str:
    """A duration: 45 s, 3 min 20 s, 2 h 05 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def class_table(rows: Sequence[ClassScore], title: str) -> Table:
    """Precision, recall, F1 and support by class; of many, those of the lowest F1.

    Args:
      rows: of `class_scores`.
      title: what was predicted.

    Returns:
      A table for the terminal.
    """
    shown = sorted(rows, key=lambda row: row.f1)[:_MOST_CLASSES]
    if len(rows) > len(shown):
        title += f": the {len(shown)} lowest F1 of {len(rows)} classes"
    else:
        shown = rows
    table = Table(title=Text(title))
    table.add_column("class", overflow="fold")
    for name in ("precision", "recall", "F1", "support"):
        table.add_column(name, justify="right")
    for row in shown:
        scores = (f"{value:.4f}" for value in (row.precision, row.recall, row.f1))
        table.add_row(Text(row.name), *scores, f"{row.support:,}")
    return table
