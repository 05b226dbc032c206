"""How long does a check take? Networks up to ten million parameters, right and wrong.

python scripts/benchmarks/gradcheck.py                # under four minutes on 2 cores
python scripts/benchmarks/gradcheck.py --widths 300 --dtypes float32

784-width-width-10 networks on 64 samples. "right" is handgrad.value_and_grad; "scale"
has one layer 1.01 times too large; "unknown" is off by a constant everywhere, so that
every explanation is tried in vain. "right" comes first, so compiling is in its time.
Prints seconds, also as a multiple of one plain jax.grad, and writes gradcheck.json to
--output.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from common import timed, write_json
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import handgrad

SAMPLES = 64

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What to time.

    Attributes:
      widths: of the two hidden layers.
      dtypes: of parameters and inputs.
      output: the folder for gradcheck.json.
    """

    widths: tuple[int, ...] = (100, 600, 2800)
    dtypes: tuple[str, ...] = ("float32", "float64")
    output: Path = Path("runs/benchmarks")


def right(*point: Any) -> Any:
    """The gradient."""
    return handgrad.value_and_grad(*point)[1]


def scale(*point: Any) -> Any:
    """One layer's weights 1.01 times too large."""
    first, *others = right(*point)
    return (first._replace(weight=first.weight * 1.01), *others)


def unknown(*point: Any) -> Any:
    """Off by a constant."""
    return jax.tree.map(lambda g: g + 1e-4, right(*point))


def main(arguments: Sequence[str] | None = None) -> int:
    """Time, print, write."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    jobs = [(w, d) for w in settings.widths for d in settings.dtypes]
    with Progress(transient=True) as progress:
        rows = [measure(*job) for job in progress.track(jobs, description="checking")]
    Console(width=100).print(table(rows))
    write_json(settings, "gradcheck", {"rows": rows})
    return 0


def measure(width: int, dtype: str) -> Row:
    """One network in one dtype."""
    with jax.enable_x64(dtype == "float64"):
        sizes = (784, width, width, 10)
        params = handgrad.init(jax.random.key(0), sizes, dtype=jnp.dtype(dtype))
        x = jax.random.normal(jax.random.key(1), (SAMPLES, sizes[0]), dtype)
        y = jax.random.randint(jax.random.key(2), (SAMPLES,), 0, sizes[-1])
        row: Row = {"parameters": sum(p.size for p in jax.tree.leaves(params))}
        row |= {"dtype": dtype, "grad": min(_grads(params, x, y) for _ in range(3))}
        for gradient in (right, scale, unknown):
            _, row[gradient.__name__] = timed(
                lambda g=gradient: handgrad.check_gradients(
                    handgrad.loss, g, params, x, y
                )
            )
    return row


def _grads(*point: Any) -> float:
    return timed(lambda: jax.block_until_ready(jax.grad(handgrad.loss)(*point)))[1]


def table(rows: Sequence[Row]) -> Table:
    """Seconds of each check, and how many plain gradients that is."""
    found = Table(title="one check, in seconds (and in plain jax.grad calls)")
    for head in ("parameters", "dtype", "jax.grad", "right", "scale", "unknown"):
        found.add_column(head, justify="left" if head == "dtype" else "right")
    for row in rows:
        checks = [row[name] for name in ("right", "scale", "unknown")]
        cells = [f"{t:.1f} ({t / row['grad']:.0f})" for t in checks]
        found.add_row(
            f"{row['parameters']:,}", row["dtype"], f"{row['grad']:.3f}", *cells
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
