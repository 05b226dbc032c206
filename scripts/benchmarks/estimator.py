"""handgrad.sklearn.MLPClassifier beside scikit-learn's: accuracy, and time after the
first call.

python scripts/benchmarks/estimator.py                # ten minutes on 2 cores
python scripts/benchmarks/estimator.py --rounds 0     # accuracy alone

Accuracy: both with their defaults, on the same standardised split for each seed, with
the standard error of the mean over seeds and that of the differences. Time: one `fit`
at 784-512-512-10 on samples the size of MNIST's, after another of the same shapes.
Every measurement has a process of its own and the two alternate, because the threads
of one slow the other down in the same process. Prints two tables, and writes
estimator.json to --output.
"""

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from common import bound, write_json
from rich.console import Console
from rich.table import Table

Library = Literal["handgrad", "sklearn"]
LIBRARIES: tuple[Library, ...] = ("handgrad", "sklearn")


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
      seeds: of splits and estimators, for the accuracy.
      rounds: processes of each library, for the time.
      samples: to train on, for the time.
      epochs: of the timed fit.
      time_one: only time this library in this process, and print the seconds.
      output: the folder for estimator.json.
    """

    seeds: int = 10
    rounds: int = 5
    samples: int = 60_000
    epochs: int = 1
    time_one: Library | None = None
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    if settings.time_one:
        print(json.dumps(time_one(settings.time_one, settings)))
        return 0
    found: dict[str, Any] = {}
    if settings.seeds:
        names = ("digits", "wine", "breast_cancer")
        found["accuracy"] = {name: accuracy(name, settings.seeds) for name in names}
        show_accuracy(found["accuracy"])
    if settings.rounds:
        found["seconds"] = alternate(settings)
        show_time(found["seconds"])
    write_json(settings, "estimator", {**found, "bounds": bounds_of(found)})
    return 0


def estimator(library: Library, *arguments: Any, **parameters: Any) -> Any:
    """The one of this library; the other is not imported."""
    if library == "handgrad":
        from handgrad.sklearn import MLPClassifier
    else:
        from sklearn.neural_network import MLPClassifier
    return MLPClassifier(*arguments, **parameters)


def accuracy(name: str, seeds: int) -> dict[str, list[float]]:
    """Accuracies of both libraries on a quarter of the samples, by seed."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    scores: dict[str, list[float]] = {library: [] for library in LIBRARIES}
    for seed in range(seeds):
        x_train, x_test, y_train, y_test = train_test_split(
            x, y, test_size=0.25, stratify=y, random_state=seed
        )
        scaler = StandardScaler().fit(x_train)
        for library in LIBRARIES:
            model = estimator(library, random_state=seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # 200 epochs may end unconverged
                model.fit(scaler.transform(x_train), y_train)
            score = model.score(scaler.transform(x_test), y_test)
            scores[library].append(float(score))
    return scores


def time_one(library: Library, settings: Settings) -> float:
    """Seconds of a fit after one of the same shapes."""
    random = np.random.default_rng(0)
    y = np.arange(settings.samples) % 10
    x = random.random((settings.samples, 784), np.float32)
    x += random.random((10, 784), np.float32)[y]
    seconds = 0.0
    for _ in range(2):
        model = estimator(library, (512, 512), max_iter=settings.epochs, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            model.fit(x, y)
        seconds = time.perf_counter() - start
    return seconds


def alternate(settings: Settings) -> dict[str, list[float]]:
    """Seconds of both libraries, a process each, in turns."""
    seconds: dict[str, list[float]] = {library: [] for library in LIBRARIES}
    given = ["--samples", str(settings.samples), "--epochs", str(settings.epochs)]
    for _ in range(settings.rounds):
        for library in LIBRARIES:
            command = [sys.executable, __file__, "--time-one", library, *given]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds[library].append(float(run.stdout))
    return seconds


def bounds_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Within two standard errors below scikit-learn's accuracy, and no slower."""
    rows = []
    for name, scores in found.get("accuracy", {}).items():
        mine, theirs = (np.array(scores[library]) for library in LIBRARIES)
        below, error = float(np.mean(theirs - mine)), standard_error(theirs - mine)
        what = f"accuracy on {name}: below scikit-learn's, in standard errors"
        rows.append(bound(what, below / error if error else 0.0, 2.0, unit=""))
    if seconds := found.get("seconds"):
        mine, theirs = (float(np.median(seconds[library])) for library in LIBRARIES)
        rows.append(bound("second fit over scikit-learn's", mine / theirs, 1.0))
    return rows


def standard_error(values: Sequence[float] | np.ndarray) -> float:
    """Of their mean; NaN for one."""
    count = len(values)
    return float(np.std(values, ddof=1) / count**0.5) if count > 1 else float("nan")


def show_accuracy(found: dict[str, dict[str, list[float]]]) -> None:
    """One row per data set, in per cent."""
    table = Table("data set", *LIBRARIES, "difference", title="test accuracy, %")
    for name, scores in found.items():
        columns: list[Any] = [100 * np.array(scores[each]) for each in LIBRARIES]
        columns.append(columns[0] - columns[1])
        cells = [f"{np.mean(c):.2f} ± {standard_error(c):.2f}" for c in columns]
        table.add_row(name, *cells)
    Console().print(table)


def show_time(found: dict[str, list[float]]) -> None:
    """Medians, and the ratio of neighbours."""
    mine, theirs = (np.array(found[library]) for library in LIBRARIES)
    table = Table("", *LIBRARIES, "times as fast", title="seconds of a second fit")
    ratio = f"{np.median(theirs / mine):.2f} ({min(theirs / mine):.2f} at least)"
    table.add_row("median", f"{np.median(mine):.2f}", f"{np.median(theirs):.2f}", ratio)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
