"""How often does the check call a right gradient wrong? Random networks, all right.

python scripts/benchmarks/false_alarms.py               # 1,000 gradients, 20 minutes
python scripts/benchmarks/false_alarms.py --number 50 --seed 1

Draws sizes, activation, dtype, batch, targets, weights and scale of the inputs at
random, and checks handgrad.value_and_grad, eager or compiled, against handgrad.loss;
or, every second time, jax.grad of another loss (false_alarm_losses.py): in mixed
precision, with masks of -inf, of complex numbers, beside a sharded batch.
Prints false alarms and the quantiles of the error in units of its floor, and writes
false_alarms.json to --output; Ctrl-C ends it early, with what was done till then. Exits
with 1 if there is a false alarm.
"""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from common import write_json
from false_alarm_losses import draw
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import handgrad

SIZES = ((20, 16, 10), (1, 1, 2), (12, 8, 8, 5), (5, 1, 3), (40, 30, 2), (7, 4))
SAMPLES = (1, 7, 64)
DTYPES = ("float32", "bfloat16", "float16", "float64")
QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What to draw.

    Attributes:
      number: of gradients.
      seed: of all that is random.
      output: the folder for false_alarms.json.
    """

    number: int = 1000
    seed: int = 0
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, check, print, write; 1 if there is a false alarm."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    random, console = np.random.default_rng(settings.seed), Console(width=100)
    rows: list[Row] = []
    with contextlib.suppress(KeyboardInterrupt), Progress(transient=True) as progress:
        steps = range(settings.number)
        for _ in progress.track(steps, description="right gradients"):
            rows.append(check(random) if random.integers(2) else check_other(random))
    alarms = [row for row in rows if row["wrong"] or row["faults"]]
    for row in alarms:
        console.print(row)
    console.print(table(rows))
    console.print(f"false alarms: {len(alarms)} of {len(rows)}")
    found = {"false_alarms": len(alarms), "rows": rows}
    write_json(settings, "false_alarms", found)
    return int(bool(alarms))


def check(random: np.random.Generator) -> Row:
    """One right gradient, drawn and checked."""
    sizes = SIZES[random.integers(len(SIZES))]
    activation = tuple(handgrad.ACTIVATIONS)[random.integers(len(handgrad.ACTIVATIONS))]
    dtype = DTYPES[random.integers(len(DTYPES))]
    compiled = bool(random.integers(4) == 0)

    def loss(params: Any, x: Any, targets: Any, w: Any) -> jax.Array:
        return handgrad.loss(params, x, targets, activation=activation, weights=w)

    def gradient(params: Any, x: Any, targets: Any, w: Any) -> Any:
        return handgrad.value_and_grad(
            params, x, targets, activation=activation, weights=w
        )

    with jax.enable_x64(dtype == "float64"):
        point = problem(random, sizes, activation, jnp.dtype(dtype))
        report = handgrad.check_gradients(
            loss, jax.jit(gradient) if compiled else gradient, *point
        )
    return {
        "dtype": dtype,
        "activation": activation,
        "sizes": sizes,
        "samples": len(point[1]),
        "compiled": compiled,
        "wrong": [f"{leaf.path} {leaf.cause}" for leaf in report.wrong],
        "untested": len(report.untested),
        "faults": list(report.faults),
        "excess": [float(leaf.excess) for leaf in report.leaves],
    }


def check_other(random: np.random.Generator) -> Row:
    """jax.grad of a loss that is no network's, drawn and checked."""
    loss, params, args = draw(random)
    gradient = jax.grad(loss)
    compiled = bool(random.integers(2))
    report = handgrad.check_gradients(
        loss, jax.jit(gradient) if compiled else gradient, params, *args
    )
    return {
        "dtype": "others",
        "loss": loss.__name__,
        "compiled": compiled,
        "wrong": [f"{leaf.path} {leaf.cause}" for leaf in report.wrong],
        "untested": len(report.untested),
        "faults": [*report.faults, *(n for n in report.notes if "kink" in n)],
        "excess": [float(leaf.excess) for leaf in report.leaves],
    }


def problem(
    random: np.random.Generator, sizes: Sequence[int], activation: str, dtype: Any
) -> tuple[Any, ...]:
    """params, x, targets, weights; biases zero in one half of all."""
    key = jax.random.key(int(random.integers(1 << 30)))
    params = handgrad.init(key, sizes, activation=activation, dtype=dtype)
    if random.integers(2):
        params = tuple(
            p._replace(bias=jnp.asarray(random.normal(0, 0.3, p.bias.shape), dtype))
            for p in params
        )
    m, classes = SAMPLES[random.integers(len(SAMPLES))], sizes[-1]
    scale = 10.0 ** random.integers(-1, 2)
    x = jnp.asarray(scale * random.standard_normal((m, sizes[0])), dtype)
    labels = jnp.asarray(random.integers(0, classes, m))
    soft = handgrad.smooth_labels(labels, classes, 0.1)
    real = jnp.asarray(random.uniform(0, 2, m), dtype)
    mask = jnp.asarray(random.integers(0, 2, m))
    targets = labels if random.integers(2) else soft
    return params, x, targets, (None, real, mask)[random.integers(3)]


def table(rows: Sequence[Row]) -> Table:
    """Quantiles of the error of a leaf in units of its floor, by dtype."""
    found = Table(title="error of a leaf in units of its floor: quantiles")
    heads = ("dtype", "gradients", "leaves", *map(str, QUANTILES), "false alarms")
    for head in heads:
        found.add_column(head, justify="left" if head == "dtype" else "right")
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        mine = [row for row in rows if row["dtype"] == dtype]
        errors = np.array([error for row in mine for error in row["excess"]])
        alarms = sum(bool(row["wrong"] or row["faults"]) for row in mine)
        cells = [f"{q:.3f}" for q in np.quantile(errors, QUANTILES)]
        found.add_row(dtype, str(len(mine)), str(len(errors)), *cells, str(alarms))
    return found


if __name__ == "__main__":
    sys.exit(main())
