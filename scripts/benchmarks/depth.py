"""How long a step takes to compile, and how large its program is, against depth.

python scripts/benchmarks/depth.py                      # two minutes on 2 cores

64 units in each of 4, 16, 64 and 256 hidden layers, batches of 128, float32: the
seconds of processor time to trace, lower and compile `handgrad.value_and_grad` of
parameters as `init` makes them and as `handgrad.stack_layers` does, and
`jax.value_and_grad` of textbook forward passes of both, the latter a `jax.lax.scan`;
the least of some rounds. Beside them the temporary memory, and the time of a step, the
median of rounds in which all take turns. Prints a table, and writes depth.json to
--output.
"""

import functools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from common import bound, interleave, write_json
from rich.console import Console
from rich.table import Table
from step import AUTODIFF, HAND, memory, textbook_loss

import handgrad

WIDTH, BATCH, CLASSES = 64, 128, 10
STACKED, SCANNED = "by hand, in stacks", "autodiff, in stacks"


@dataclass(frozen=True)
class Settings:
    """What to compile.

    Attributes:
      depths: hidden layers.
      rounds: how often each is compiled.
      steps: how often each takes a step.
      output: the folder for depth.json.
    """

    depths: tuple[int, ...] = (4, 16, 64, 256)
    rounds: int = 5
    steps: int = 300
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile, print, write."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    rows = [row for depth in settings.depths for row in measure(depth, settings)]
    table = Table(
        "layers", "way", "seconds", "instructions", "temporary MiB", "step ms"
    )
    for row in rows:
        numbers = f"{row['seconds']:.2f}", str(row["lines"]), f"{row['mib']:.2f}"
        step = f"{1e3 * row['step']:.2f}"
        table.add_row(str(row["layers"]), row["way"], *numbers, step)
    Console().print(table)
    write_json(settings, "depth", {"rows": rows, "bounds": bounds_of(rows)})
    return 0


def scanned_loss(params: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
    """`textbook_loss` of layers of which equal ones are in stacks, run by a scan."""

    def layer(d: jax.Array, own: Any) -> tuple[jax.Array, None]:
        return jax.nn.relu(d) @ own.weight + own.bias, None

    first, *hidden, last = params
    d = x @ first.weight + first.bias
    for own in hidden:
        d, _ = jax.lax.scan(layer, d, own) if own.weight.ndim == 3 else layer(d, own)
    return textbook_loss([last], jax.nn.relu(d), labels)


def measure(depth: int, settings: Settings) -> list[dict[str, Any]]:
    """All ways at one depth."""
    apart = handgrad.init(jax.random.key(0), (WIDTH, *[WIDTH] * depth, CLASSES))
    stacks = handgrad.stack_layers(apart)
    ways = {
        HAND: (handgrad.value_and_grad, apart),
        AUTODIFF: (jax.value_and_grad(textbook_loss), apart),
        STACKED: (handgrad.value_and_grad, stacks),
        SCANNED: (jax.value_and_grad(scanned_loss), stacks),
    }
    batch = jnp.ones((BATCH, WIDTH)), jnp.zeros(BATCH, int)
    rows, works = [], {}
    for way, (function, params) in ways.items():
        seconds, program = compiled(function, (params, *batch), settings.rounds)
        works[way] = functools.partial(program, params, *batch)
        lines = program.as_text().count("\n")
        found = {"seconds": seconds, "lines": lines, "mib": memory(program)}
        rows.append({"layers": depth, "way": way, **found})
    times = interleave(works, rounds=settings.steps)
    return [{**row, "step": float(np.median(times[row["way"]]))} for row in rows]


def compiled(
    function: Callable[..., Any], given: tuple[Any, ...], rounds: int
) -> tuple[float, Any]:
    """The least processor time, and the program."""
    found, program = [], None
    for _ in range(rounds):
        jax.clear_caches()
        began = time.process_time()
        program = jax.jit(function).lower(*given).compile()
        found.append(time.process_time() - began)
    return min(found), program


def bounds_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is asked of 256 layers, beside 16 and beside autodiff."""
    known = {(row["way"], row["layers"]): row for row in rows}
    if not {(STACKED, 16), (STACKED, 256), (SCANNED, 256)} <= known.keys():
        return []
    deep, scan, apart = (known[way, 256] for way in (STACKED, SCANNED, HAND))
    growth = deep["seconds"] / known[STACKED, 16]["seconds"]
    alone = apart["seconds"] / known[HAND, 16]["seconds"]
    why = f"{alone:.1f} times where all layers are kept apart"
    return [
        bound(f"compile time {STACKED}: 256 layers over 16", growth, 2.0, why),
        bound(
            f"memory {STACKED}, 256 layers, over a scan's", deep["mib"] / scan["mib"], 1
        ),
        bound(
            f"step {STACKED}, 256 layers, over a scan's", deep["step"] / scan["step"], 1
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
