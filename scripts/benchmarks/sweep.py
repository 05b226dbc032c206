"""Many networks at once, beside scikit-learn and beside our own runs one by one.

python scripts/benchmarks/sweep.py                      # 64 networks, a few minutes
python scripts/benchmarks/sweep.py --networks 8 --rounds 1

Every way trains the same networks, 64-100-10 with ReLU and Adam on the same 1,293
samples of digits, with seeds of their own, for 200 epochs in batches of 200, on the
cores that the process has:

    scikit-learn   MLPClassifier.fit, one after another, in float32
    one by one     `fit` of this package, one after another, compiled once
    sweep          `train_members`, with its compilation

scikit-learn gets one thread of BLAS, and in a row of its own as many as cores;
the faster of the two counts. Ours scores training and validation samples after every
epoch as well. Prints a table of seconds and of processor time, and writes sweep.json
to --output.
"""

import os
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from common import bound, write_json
from rich.console import Console
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from handgrad.training import Dataset, Settings, fit, load_data, prepare
from handgrad.training.data import scale
from handgrad.training.engine.best import Best, better, nothing_yet
from handgrad.training.engine.evaluate import Samples, evaluate
from handgrad.training.engine.programs import compile_programs
from handgrad.training.engine.sweep import plan_sweep, train_members
from handgrad.training.settings import Data, Model, Optimizer, Sweep, Training

EPOCHS, BATCH, HIDDEN, RATE = 200, 200, 100, 1e-3
OURS = Settings(
    "digits",
    Data("digits"),
    Model((HIDDEN,)),
    Optimizer("adam", RATE),
    Training(EPOCHS, BATCH, check="off"),
)


@dataclass(frozen=True)
class Arguments:
    """What to time.

    Attributes:
      networks: how many.
      rounds: in which every way trains all of them, in turns.
      output: the folder for sweep.json.
    """

    networks: int = 64
    rounds: int = 3
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Time, print, write."""
    chosen = tyro.cli(Arguments, description=__doc__, args=arguments)
    data, count = load_data(OURS.data), chosen.networks
    cores = len(os.sched_getaffinity(0))
    works: dict[str, Callable[[], list[float]]] = {
        f"scikit-learn, {threads} thread{'s' if threads > 1 else ''}": (
            lambda threads=threads: scikit_learn(data, count, threads)
        )
        for threads in sorted({1, cores})
    }
    works["one by one"] = lambda: one_by_one(data, count)
    works["sweep"] = lambda: as_sweep(data, count)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in works}
    for _ in range(chosen.rounds):
        for name, work in works.items():
            rows[name].append(measured(work))
    medians = {name: median(found) for name, found in rows.items()}
    show(medians, count, cores)
    found = {"networks": count, "cores": cores, "medians": medians, "rounds": rows}
    found["bounds"] = bounds_of(medians, count)
    write_json(chosen, "sweep", found)
    return 0


def bounds_of(medians: dict[str, dict[str, float]], count: int) -> list[dict[str, Any]]:
    """What is asked of the sweep's time, and what it shows."""
    mine = medians["sweep"]["seconds"]
    peers = [row["seconds"] for name, row in medians.items() if "scikit" in name]
    alone = medians["one by one"]["seconds"]
    return [
        bound(f"{count} networks over scikit-learn's fits", mine / min(peers), 1 / 4),
        bound(f"{count} networks over our own runs", mine / alone, 1.0),
    ]


def scikit_learn(data: Dataset, count: int, threads: int) -> list[float]:
    """Test accuracies of fits one after another, in float32."""
    x, test = (
        np.asarray(scale(data.scaling, part.x)) for part in (data.train, data.test)
    )
    found = []
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for seed in range(count):
            model = MLPClassifier(
                (HIDDEN,),
                learning_rate_init=RATE,
                alpha=0.0,
                batch_size=BATCH,  # pyright: ignore[reportArgumentType]
                max_iter=EPOCHS,
                n_iter_no_change=EPOCHS,
                tol=0.0,
                random_state=seed,
            ).fit(x, data.train.y)
            found.append(float(model.score(test, data.test.y)))
    return found


def one_by_one(data: Dataset, count: int) -> list[float]:
    """Test accuracies of our own runs one after another. Only their keys differ, so
    what is compiled for the first serves all."""
    run = prepare(OURS, data)
    programs = compile_programs(run)
    test = Samples(*map(jnp.asarray, data.test[:2]))
    score = jax.jit(partial(evaluate, run.step.objective, data.scaling))
    found = []
    for seed in range(count):
        run = run._replace(key=jax.random.key(seed))
        best: Best | None = None
        for progress in fit(run, programs, programs.begin(run.key), epochs=EPOCHS):
            best = better(best or nothing_yet(progress.state.params), progress, 0.0)
        assert best is not None
        found.append(float(score(best.params, test).accuracy))
    return found


def as_sweep(data: Dataset, count: int) -> list[float]:
    """Test accuracies of the members of a sweep."""
    plan = plan_sweep(replace(OURS, sweep=Sweep(count)), data)
    found: list[float] = []
    for trained in train_members(plan):
        assert trained.outcome.test is not None
        found += [*map(float, np.asarray(trained.outcome.test.accuracy))]
    return found


def measured(work: Callable[[], list[float]]) -> dict[str, float]:
    """Seconds, seconds of processors, and the mean accuracy."""
    before, began = processor_seconds(), time.perf_counter()
    accuracies = work()
    return {
        "seconds": time.perf_counter() - began,
        "processor": processor_seconds() - before,
        "accuracy": statistics.fmean(accuracies),
    }


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def median(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """By name, over the rounds."""
    return {name: statistics.median(row[name] for row in found) for name in found[0]}


def show(medians: dict[str, dict[str, float]], count: int, cores: int) -> None:
    """A row per way, with how many times as long as the sweep it took."""
    table = Table(title=f"{count} networks 64-{HIDDEN}-10, on {cores} cores")
    columns = ("", "seconds", "of the sweep's", "of processors", "test accuracy")
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    for name, row in medians.items():
        table.add_row(
            name,
            f"{row['seconds']:.2f}",
            f"{row['seconds'] / medians['sweep']['seconds']:.2f}",
            f"{row['processor']:.2f}",
            f"{row['accuracy']:.4f}",
        )
    Console(width=90).print(table)


if __name__ == "__main__":
    sys.exit(main())
