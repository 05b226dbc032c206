"""The clipped sum of a minibatch's gradients beside jax_privacy.

python scripts/benchmarks/clipped.py                    # three minutes on 2 cores
python scripts/benchmarks/clipped.py --batch 32

784-512-512-10, relu, float32, clipped at norm 1, compiled. From the hand-written pass;
the fair rival, the same sums from deltas that autodiff gives with respect to zero
perturbations; and, where it is installed, `jax_privacy.clipped_grad`, as it comes and
in microbatches of 16. The results are compared before anything is timed. Every round
runs all in a new random order, the slow ones in the first few rounds alone. Prints a
table, and writes clipped.json to --output.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from byproduct_jobs import CLIP, SIZES, Job, by_hand, by_perturbation
from common import bound, installed, interleave, summary, without, write_json
from rich.console import Console
from rich.table import Table
from step import memory

import handgrad
from handgrad import byproducts

HAND, RIVAL = "by hand", "zero perturbations"
MICROBATCH, SLOW = 16, 3


@dataclass(frozen=True)
class Settings:
    """What to time.

    Attributes:
      rounds: in which the fast ones run once.
      batch: samples.
      output: the folder for clipped.json.
    """

    rounds: int = 100
    batch: int = 128
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, time, print, write."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    keys = jax.random.split(jax.random.key(0), 3)
    given = (
        handgrad.init(keys[0], SIZES),
        jax.random.normal(keys[1], (settings.batch, SIZES[0])),
        jax.random.randint(keys[2], (settings.batch,), 0, SIZES[-1]),
    )
    programs = {
        name: jax.jit(job).lower(*given).compile() for name, job in jobs().items()
    }
    works = {name: partial(program, *given) for name, program in programs.items()}
    same(works[HAND](), {name: work() for name, work in works.items()}, settings.batch)
    slow = {name: SLOW for name in works if name.startswith("jax_privacy")}
    times = interleave(works, rounds=settings.rounds, most=slow)
    rows = {
        name: {
            **summary(spent),
            "mib": memory(programs[name]),
        }
        for name, spent in times.items()
    }
    show(rows)
    over = {name: rows[HAND]["tenth"] / row["tenth"] for name, row in rows.items()}
    bounds = [
        bound(f"clipped sum over that of {name}", ratio, 1.0)
        for name, ratio in over.items()
        if name != HAND
    ]
    bounds += without("clipped sum over that of {}", {"jax_privacy": "jax_privacy"})
    write_json(settings, "clipped", {"rows": rows, "bounds": bounds})
    return 0


def jobs() -> dict[str, Job]:
    """All ways to the same sum."""

    def clipped(of: Any) -> Job:
        return lambda *point: byproducts.clipped_gradient(*of(*point), **CLIP)

    found = {HAND: clipped(by_hand), RIVAL: clipped(by_perturbation)}
    if not installed("jax_privacy"):
        return found
    from jax_privacy import clipped_grad  # pyright: ignore[reportMissingImports]

    for name, size in (("jax_privacy", None), ("jax_privacy, by 16", MICROBATCH)):
        found[name] = clipped_grad(
            handgrad.loss,
            l2_clip_norm=CLIP["clip_norm"],
            batch_argnums=(1, 2),
            microbatch_size=size,
        )
    return found


def same(mine: Any, found: dict[str, Any], batch: int) -> None:
    """Refuse to time what differs; jax_privacy gives the sum, the others the mean."""
    for name, others in found.items():
        factor = batch if name.startswith("jax_privacy") else 1
        for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(others), strict=True):
            np.testing.assert_allclose(
                a * factor, b, rtol=1e-3, atol=1e-5, err_msg=name
            )


def show(rows: dict[str, dict[str, float]]) -> None:
    """The table."""
    table = Table("clipped sum", "10 % ms", "median ms", "MiB", "over by hand")
    for name, row in rows.items():
        numbers = (1e3 * row["tenth"], 1e3 * row["median"], row["mib"])
        ratio = row["tenth"] / rows[HAND]["tenth"]
        table.add_row(name, *(f"{value:.2f}" for value in numbers), f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
