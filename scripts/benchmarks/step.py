"""One gradient step beside JAX's own: value_and_grad by hand and by autodiff.

python scripts/benchmarks/step.py                       # ten minutes on 2 cores
python scripts/benchmarks/step.py --rounds 50

Against `jax.value_and_grad` of a textbook forward pass: `jax.nn.relu`, and the loss of
`optax.softmax_cross_entropy_with_integer_labels`. float32, both compiled, every round
in a new random order. A ratio is that of 10th percentiles, of medians and of least
times, below 1 where the hand-written one is faster. The rows with many classes also say
how much temporary memory each program needs. Prints a table, and writes step.json to
--output; Ctrl-C ends it early, with the rounds that were done till then.
"""

import functools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
import tyro
from common import interleave, ratios, summary, write_json
from rich.console import Console
from rich.table import Table

import handgrad

Shape = tuple[str, int, tuple[int, ...]]
"""Name, batch, widths."""

TEN_CLASSES: list[Shape] = [
    ("784-800-10", 128, (784, 800, 10)),
    ("784-512-512-10", 32, (784, 512, 512, 10)),
    ("784-512-512-10", 128, (784, 512, 512, 10)),
    ("256-10x256-10", 128, (256, *[256] * 10, 10)),
]
MANY_CLASSES: list[Shape] = [
    ("64-32000", 512, (64, 32_000)),
    ("256-256-32000", 256, (256, 256, 32_000)),
]

SLOW = 8
"""Of so many rounds, one has the rows of many classes: 100 times as long."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What to time.

    Attributes:
      rounds: in which every program runs once.
      output: the folder for step.json.
    """

    rounds: int = 600
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Time, print, write; 1 if not one round was done."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    rows: list[Row] = []
    for shapes, slow in ((TEN_CLASSES, 1), (MANY_CLASSES, SLOW)):
        for shape in shapes:
            row = measure(*shape, max(1, settings.rounds // slow))
            rows += [row] if row else []
    if not rows:
        return 1
    means = {
        name: geometric_mean([row["ratio"][name] for row in rows[: len(TEN_CLASSES)]])
        for name in ("tenth", "median", "least")
    }
    show(rows, means)
    write_json(settings.output, "step", {"rows": rows, "geometric_means": means})
    return 0


def textbook_loss(params: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
    """A softmax classifier as one would write it without handgrad."""
    for k, (weight, bias) in enumerate(params):
        x = (jax.nn.relu(x) if k else x) @ weight + bias
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(x, labels))


def measure(name: str, batch: int, sizes: tuple[int, ...], rounds: int) -> Row | None:
    """Both programs on one network; None if not one round was done."""
    keys = jax.random.split(jax.random.key(0), 3)
    params = handgrad.init(keys[0], sizes)
    x = jax.random.normal(keys[1], (batch, sizes[0]))
    labels = jax.random.randint(keys[2], (batch,), 0, sizes[-1])
    functions = {
        "by hand": handgrad.value_and_grad,
        "autodiff": jax.value_and_grad(textbook_loss),
    }
    programs = {
        way: jax.jit(function).lower(params, x, labels).compile()
        for way, function in functions.items()
    }
    works = {
        way: functools.partial(program, params, x, labels)
        for way, program in programs.items()
    }
    times = interleave(works, rounds=rounds)
    if min(map(len, times.values())) == 0:
        return None
    return {
        "network": name,
        "batch": batch,
        "rounds": min(map(len, times.values())),
        "seconds": {way: summary(spent) for way, spent in times.items()},
        "ratio": ratio_of(times),
        "temporary_mib": {way: memory(program) for way, program in programs.items()},
    }


def ratio_of(times: dict[str, Any]) -> dict[str, float]:
    """Of 10th percentiles and least times, as `ratios` has them, and of medians."""
    mine, others = times["by hand"], times["autodiff"]
    medians = summary(mine)["median"] / summary(others)["median"]
    return {**ratios(mine, others), "median": medians}


def memory(program: Any) -> float:
    """Temporary memory of a compiled program, in MiB."""
    return program.memory_analysis().temp_size_in_bytes / 2**20


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def show(rows: list[Row], means: dict[str, float]) -> None:
    """The table, and the geometric means over the rows of ten classes."""
    table = Table(title="by hand, over autodiff")
    for column in ("network", "batch", "10 %", "median", "least", "ms", "MiB", "MiB"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        table.add_row(
            row["network"],
            str(row["batch"]),
            *(f"{row['ratio'][name]:.3f}" for name in ("tenth", "median", "least")),
            f"{1e3 * row['seconds']['by hand']['median']:.2f}",
            *(f"{mib:.1f}" for mib in row["temporary_mib"].values()),
        )
    Console(width=100).print(table)
    print("geometric means of the rows of ten classes: ", end="")
    print(", ".join(f"{name} {value:.3f}" for name, value in means.items()))


if __name__ == "__main__":
    sys.exit(main())
