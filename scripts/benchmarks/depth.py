"""How long a step takes to compile, and how large its program is, against depth.

python scripts/benchmarks/depth.py                      # two minutes on 2 cores

64 units in each of 4, 16, 64 and 256 hidden layers, batches of 128, float32: the
seconds of processor time to trace, lower and compile `handgrad.value_and_grad`,
`jax.value_and_grad` of the textbook forward pass, and that of the same pass with its
equal layers stacked and run through `jax.lax.scan`, the least of some rounds; and the
temporary memory. The scan's program is shorter, and slow to compile all the same: what
stacks the weights and takes their gradients apart again grows with the layers. Prints a
table, and writes depth.json to --output.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from common import bound, write_json
from rich.console import Console
from rich.table import Table
from step import AUTODIFF, HAND, memory, textbook_loss

import handgrad

WIDTH, BATCH, CLASSES = 64, 128, 10
SCANNED = "autodiff of a scan"


@dataclass(frozen=True)
class Settings:
    """What to compile.

    Attributes:
      depths: hidden layers.
      rounds: how often.
      output: the folder for depth.json.
    """

    depths: tuple[int, ...] = (4, 16, 64, 256)
    rounds: int = 5
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile, print, write."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    functions = {
        HAND: handgrad.value_and_grad,
        AUTODIFF: jax.value_and_grad(textbook_loss),
        SCANNED: jax.value_and_grad(scanned_loss),
    }
    rows = [
        {"layers": depth, "way": way, **compiled(function, depth, settings.rounds)}
        for depth in settings.depths
        for way, function in functions.items()
    ]
    table = Table("layers", "way", "seconds", "instructions", "temporary MiB")
    for row in rows:
        cells = (row["layers"], row["way"], f"{row['seconds']:.2f}")
        table.add_row(*map(str, cells), str(row["lines"]), f"{row['mib']:.2f}")
    Console().print(table)
    seconds = {(row["way"], row["layers"]): row["seconds"] for row in rows}
    bounds = []
    if {(HAND, 16), (HAND, 256), (SCANNED, 256)} <= seconds.keys():
        growth = seconds[HAND, 256] / seconds[HAND, 16]
        scan = seconds[SCANNED, 256] / seconds[HAND, 256]
        why = f"a scan over stacked layers takes {scan:.1f} times as long at 256"
        bounds = [bound(f"compile time {HAND}: 256 layers over 16", growth, 2.0, why)]
    write_json(settings, "depth", {"rows": rows, "bounds": bounds})
    return 0


def scanned_loss(params: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
    """`textbook_loss` with the layers of equal shape in one stack, run by a scan."""
    first, *equal, last = params
    stack = jax.tree.map(lambda *layers: jnp.stack(layers), *equal)

    def layer(d: jax.Array, parts: Any) -> tuple[jax.Array, None]:
        weight, bias = parts
        return jax.nn.relu(d) @ weight + bias, None

    d, _ = jax.lax.scan(layer, x @ first[0] + first[1], stack)
    return textbook_loss([last], jax.nn.relu(d), labels)


def compiled(function: Callable[..., Any], depth: int, rounds: int) -> dict[str, Any]:
    """The least processor time, the lines of the optimised program, and its memory."""
    params = handgrad.init(jax.random.key(0), (WIDTH, *[WIDTH] * depth, CLASSES))
    given = params, jnp.ones((BATCH, WIDTH)), jnp.zeros(BATCH, int)
    found, program = [], None
    for _ in range(rounds):
        jax.clear_caches()
        began = time.process_time()
        program = jax.jit(function).lower(*given).compile()
        found.append(time.process_time() - began)
    assert program is not None
    lines = program.as_text().count("\n")  # pyright: ignore[reportOptionalMemberAccess]
    return {"seconds": min(found), "lines": lines, "mib": memory(program)}


if __name__ == "__main__":
    sys.exit(main())
