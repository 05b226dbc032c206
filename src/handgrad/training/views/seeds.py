"""What several seeds of one run came to, for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table


def seeds_table(results: Sequence[Mapping[str, Any]]) -> Table:
    """The accuracy of each seed, with mean and spread.

    Args:
      results: the result.json of each run, two or more.

    Returns:
      A table; of the validation part where there is no test part.
    """
    part = "test" if "test_accuracy" in results[0] else "validation"
    accuracies = np.array([result[f"{part}_accuracy"] for result in results])
    table = Table(title=f"{part.capitalize()} accuracy by seed", show_footer=True)
    table.add_column("seed", "mean\nstd\nmin ... max")
    table.add_column(
        "accuracy",
        f"{accuracies.mean():.4f}\n{accuracies.std(ddof=1):.4f}\n"
        f"{accuracies.min():.4f} ... {accuracies.max():.4f}",
        justify="right",
    )
    table.add_column("best epoch", justify="right")
    for result, accuracy in zip(results, accuracies, strict=True):
        table.add_row(str(result["seed"]), f"{accuracy:.4f}", str(result["best_epoch"]))
    return table
