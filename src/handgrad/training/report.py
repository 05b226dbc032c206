"""What a run prints: progress while it trains, tables when it is done."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from handgrad.training.folder import EpochRecord


@contextmanager
def epoch_progress(
    console: Console, epochs: int
) -> Iterator[Callable[[EpochRecord], None]]:
    """Show training epoch by epoch.

    Args:
      console: where to. A terminal gets a bar; a file or pipe gets about ten lines.
      epochs: how many there will be.

    Yields:
      The function to call with the record of each epoch.
    """
    if not console.is_terminal:
        every = -(-epochs // 10)

        def write(record: EpochRecord) -> None:
            if record.epoch % every == 0 or record.epoch in (1, epochs):
                console.print(
                    f"epoch {record.epoch}/{epochs}  {_in_words(record)}",
                    soft_wrap=True,
                )

        yield write
        return
    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=epochs)
        yield lambda record: progress.update(
            task, completed=record.epoch, description=_in_words(record)
        )


def class_table(rows: Mapping[str, Mapping[str, float]]) -> Table:
    """Precision, recall, F1 and support of every class.

    Args:
      rows: by class name, as `sklearn.metrics.classification_report` returns them.

    Returns:
      A table for the terminal.
    """
    table = Table(title="Test set by class")
    table.add_column("class")
    for name in ("precision", "recall", "F1", "support"):
        table.add_column(name, justify="right")
    for name, row in rows.items():
        scores = (f"{row[key]:.4f}" for key in ("precision", "recall", "f1-score"))
        table.add_row(name, *scores, f"{row['support']:.0f}")
    return table


def seeds_table(results: Sequence[Mapping[str, Any]]) -> Table:
    """The test accuracy of each seed, with mean and spread.

    Args:
      results: the result.json of each run.

    Returns:
      A table for the terminal.
    """
    accuracies = np.array([result["test_accuracy"] for result in results])
    table = Table(title="Test accuracy by seed", show_footer=True)
    table.add_column("seed", "mean\nstd\nmin ... max")
    table.add_column(
        "test accuracy",
        f"{accuracies.mean():.4f}\n{accuracies.std(ddof=1):.4f}\n"
        f"{accuracies.min():.4f} ... {accuracies.max():.4f}",
        justify="right",
    )
    table.add_column("seconds", justify="right")
    for result in results:
        table.add_row(
            str(result["seed"]),
            f"{result['test_accuracy']:.4f}",
            f"{result['seconds']:.1f}",
        )
    return table


def _in_words(record: EpochRecord) -> str:
    return (
        f"loss {record.train_loss:.4f} (validation {record.validation_loss:.4f})  "
        f"accuracy {record.train_accuracy:.4f} "
        f"(validation {record.validation_accuracy:.4f})"
    )
