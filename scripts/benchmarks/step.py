"""One gradient step beside JAX's own, PyTorch's, and the products alone.

python scripts/benchmarks/step.py                       # twenty minutes on 2 cores
python scripts/benchmarks/step.py --rounds 50 --no-torch

By hand: `handgrad.value_and_grad`. Autodiff: `jax.value_and_grad` of a textbook forward
pass, `jax.nn.relu` and the loss of `optax.softmax_cross_entropy_with_integer_labels`;
compiled twice, and the two beside each other say what noise alone makes of a ratio.
The floor: the 3L - 1 matrix products of the step, and nothing else. float32, all
compiled; every round in a new random order. PyTorch, eager and compiled, runs in
processes of its own that take turns with JAX's. A ratio is that of 10th percentiles, of
medians and of least times, below 1 where the hand-written step is faster. The table
also says how much temporary memory each program of JAX needs. Writes step.json to
--output.
"""

import functools
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from common import Work, alternate, bound, ratios, serve, summary, write_json
from rich.console import Console
from rich.table import Table

import handgrad

HERE = Path(__file__).parent
HAND, AUTODIFF, FLOOR = "by hand", "autodiff", "products alone"
AGAIN = "autodiff again"

Shape = tuple[str, int, tuple[int, ...]]
"""Name, batch, widths."""

TEN_CLASSES: list[Shape] = [
    ("64-100-10", 200, (64, 100, 10)),
    ("784-800-10", 128, (784, 800, 10)),
    ("784-512-512-10", 32, (784, 512, 512, 10)),
    ("784-512-512-10", 128, (784, 512, 512, 10)),
    ("784-512-512-10", 1024, (784, 512, 512, 10)),
    ("784-4x1024-10", 256, (784, *[1024] * 4, 10)),
    ("3072-4x1024-100", 512, (3072, *[1024] * 4, 100)),
    ("256-10x256-10", 128, (256, *[256] * 10, 10)),
]
MANY_CLASSES: list[Shape] = [
    ("64-32000", 512, (64, 32_000)),
    ("256-256-32000", 256, (256, 256, 32_000)),
]

BLOCKS = 12
"""Turns that the processes take."""

WORTH = 5e9
"""Floating point operations of a step that is worth the rounds asked for."""

MOST = 20
"""How many times as many rounds a smaller step gets: one of 0.1 ms needs them."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What to time.

    Attributes:
      rounds: in which every program runs once; fewer for large networks, more for
        small ones.
      torch: whether PyTorch takes part, where it is installed.
      output: the folder for step.json.
    """

    rounds: int = 600
    torch: bool = True
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Time, print, write."""
    if (given := sys.argv[1:] if arguments is None else list(arguments))[:1] == ["at"]:
        serve(works(int(given[1]), tuple(map(int, given[2:]))))
        return 0
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    peer = settings.torch and importlib.util.find_spec("torch") is not None
    rows = [
        measure(*shape, settings.rounds, peer and shape in TEN_CLASSES)
        for shape in (*TEN_CLASSES, *MANY_CLASSES)
    ]
    show(rows)
    bounds = bounds_of(rows)
    write_json(settings, "step", {"rows": rows, "bounds": bounds})
    return 0


def textbook_loss(
    params: Any,
    x: jax.Array,
    labels: jax.Array,
    h: Callable[[jax.Array], jax.Array] = jax.nn.relu,
) -> jax.Array:
    """A softmax classifier as one would write it without handgrad."""
    for k, (weight, bias) in enumerate(params):
        x = (h(x) if k else x) @ weight + bias
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(x, labels))


def products(params: Any, x: jax.Array, labels: jax.Array) -> list[jax.Array]:
    """The 3L - 1 products of a step, in its order, and nothing between them."""
    inputs = [x]
    for weight, _ in params:
        inputs.append(inputs[-1] @ weight)
    delta, found = inputs.pop(), []
    for k in reversed(range(len(params))):
        found.append(inputs[k].T @ delta)
        if k:
            delta = delta @ params[k][0].T
    return found


def programs(batch: int, sizes: tuple[int, ...]) -> tuple[dict[str, Any], Any]:
    """What is compared, compiled, and its arguments."""
    keys = jax.random.split(jax.random.key(0), 3)
    params = handgrad.init(keys[0], sizes)
    x = jax.random.normal(keys[1], (batch, sizes[0]))
    labels = jax.random.randint(keys[2], (batch,), 0, sizes[-1])
    functions = {
        HAND: handgrad.value_and_grad,
        AUTODIFF: jax.value_and_grad(textbook_loss),
        AGAIN: jax.value_and_grad(textbook_loss),
        FLOOR: products,
    }
    given = (params, x, labels)
    return {
        way: jax.jit(function).lower(*given).compile()
        for way, function in functions.items()
    }, given


def works(batch: int, sizes: tuple[int, ...]) -> dict[str, Work]:
    """What is timed."""
    compiled, given = programs(batch, sizes)
    return {
        way: functools.partial(program, *given) for way, program in compiled.items()
    }


def measure(
    name: str, batch: int, sizes: tuple[int, ...], rounds: int, torch: bool
) -> Row:
    """All programs on one network."""
    shape = [str(number) for number in (batch, *sizes)]
    commands = {"JAX": [sys.executable, str(HERE / "step.py"), "at", *shape]}
    if torch:
        commands["PyTorch"] = [sys.executable, str(HERE / "step_torch.py"), *shape]
    cost = 6 * batch * sum(map(math.prod, zip(sizes, sizes[1:], strict=False)))
    often = max(1, round(rounds * min(MOST, WORTH / cost) / BLOCKS))
    times = alternate(commands, blocks=BLOCKS, rounds=often)
    return {
        "network": name,
        "batch": batch,
        "rounds": BLOCKS * often,
        "seconds": {way: summary(spent) for way, spent in times.items()},
        "ratio": {
            way: ratio_of(times[HAND], spent)
            for way, spent in times.items()
            if way not in (HAND, AGAIN)
        },
        "noise": ratio_of(times[AGAIN], times[AUTODIFF]),
        "temporary_mib": {
            way: memory(program) for way, program in programs(batch, sizes)[0].items()
        },
    }


def ratio_of(mine: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """Of 10th percentiles and least times, as `ratios` has them, and of medians."""
    medians = summary(mine)["median"] / summary(others)["median"]
    return {**ratios(mine, others), "median": medians}


def memory(program: Any) -> float:
    """Temporary memory of a compiled program, in MiB."""
    return program.memory_analysis().temp_size_in_bytes / 2**20


def bounds_of(rows: list[Row]) -> list[Row]:
    """What is asked of the rows of ten classes, and what they show."""
    ten = rows[: len(TEN_CLASSES)]
    over = [row["ratio"][AUTODIFF]["tenth"] for row in ten]
    floor = [row["ratio"][FLOOR]["tenth"] for row in ten]
    spare = [
        row["temporary_mib"][HAND] / row["temporary_mib"][AUTODIFF] for row in rows
    ]
    noise = [row["noise"]["tenth"] for row in ten]
    alone = geometric_mean(noise)
    why = (
        f"autodiff compiled twice, beside itself: {alone:.4f} in the mean, "
        f"{min(noise):.3f} to {max(noise):.3f} in a row"
    )
    worst = ten[floor.index(max(floor))]
    tenths = {way: spent["tenth"] for way, spent in worst["seconds"].items()}
    there = f"autodiff's is {tenths[AUTODIFF] / tenths[FLOOR]:.3f} there"
    step, tenth = "step over autodiff", "10th percentiles"
    mean = geometric_mean(over)
    return [
        bound(f"{step}, {tenth}, geometric mean", mean, 1.0, why),
        bound(f"{step}, {tenth}, worst row", max(over), 1.03),
        bound("step over its products alone, worst row", max(floor), 1.15, there),
        bound("temporary memory over autodiff's, worst row", max(spare), 1.0),
    ]


def geometric_mean(ratios: list[float]) -> float:
    """The mean of ratios."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def show(rows: list[Row]) -> None:
    """The table."""
    peers = [AUTODIFF, "noise", FLOOR, "PyTorch", "PyTorch, compiled"]
    table = Table(title="time of the step by hand, over that of (10 %, median, least)")
    for column in ("network", "batch", "ms", *peers, "MiB", "autodiff's"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        known = {**row["ratio"], "noise": row["noise"]}
        ratio = [
            " ".join(f"{known[way][n]:.3f}" for n in ("tenth", "median", "least"))
            if way in known
            else ""
            for way in peers
        ]
        table.add_row(
            row["network"],
            str(row["batch"]),
            f"{1e3 * row['seconds'][HAND]['median']:.2f}",
            *ratio,
            *(f"{row['temporary_mib'][way]:.1f}" for way in (HAND, AUTODIFF)),
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.exit(main())
