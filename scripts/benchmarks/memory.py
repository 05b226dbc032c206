"""The temporary memory of a step for every activation, beside that of autodiff.

python scripts/benchmarks/memory.py                     # a minute on 2 cores

784-1024x4-10 at 256 samples, float32: the bytes that the compiled program takes beside
arguments and results, of `handgrad.value_and_grad` and of `jax.value_and_grad` of the
textbook forward pass with the function of `jax.nn`; no clock is in it. Where h' needs a
alone, or comes from d without what the forward pass had on its way, that is less.
Prints a table, and writes memory.json to --output.
"""

import functools
import sys
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
from step import memory, textbook_loss

import handgrad
from handgrad.network.activations import ACTIVATIONS

SIZES, BATCH = (784, 1024, 1024, 1024, 1024, 10), 256


@dataclass(frozen=True)
class Settings:
    """What to compile.

    Attributes:
      activations: by name; all of them unless some are given.
      output: the folder for memory.json.
    """

    activations: tuple[str, ...] = tuple(ACTIVATIONS)
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile, print, write."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    table = Table("activation", "by hand MiB", "autodiff MiB", "ratio")
    rows = []
    for name in settings.activations:
        by_hand, autodiff = temporaries(name)
        rows.append({"activation": name, "by_hand": by_hand, "autodiff": autodiff})
        cells = (f"{number:.2f}" for number in (by_hand, autodiff, by_hand / autodiff))
        table.add_row(name, *cells)
    Console().print(table)
    ratios = {row["activation"]: row["by_hand"] / row["autodiff"] for row in rows}
    less = (f"{name} {ratio:.2g}" for name, ratio in ratios.items() if ratio < 0.99)
    what = "temporary memory over autodiff's, worst of all activations"
    bounds = [bound(what, max(ratios.values()), 1.0, "below 1 are " + ", ".join(less))]
    write_json(settings, "memory", {"rows": rows, "bounds": bounds})
    return 0


def temporaries(name: str) -> tuple[float, float]:
    """MiB by hand, and by autodiff."""
    params = handgrad.init(jax.random.key(0), SIZES)
    given = params, jnp.ones((BATCH, SIZES[0])), jnp.zeros(BATCH, int)

    def of(function: Callable[..., Any]) -> float:
        return memory(jax.jit(function).lower(*given).compile())

    loss = functools.partial(textbook_loss, h=ACTIVATIONS[name].function)
    by_hand = functools.partial(handgrad.value_and_grad, activation=name)
    return of(by_hand), of(jax.value_and_grad(loss))


if __name__ == "__main__":
    sys.exit(main())
