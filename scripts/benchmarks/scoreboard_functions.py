"""Plant bugs in backward passes of functions that people write rules for.

python scripts/benchmarks/scoreboard_functions.py --seeds 5
python scripts/benchmarks/scoreboard_functions.py --seeds 1 --dtypes float64

Layer norm, RMS norm, attention, rotary embedding, embedding, convolution, scan, softmax
cross-entropy with padding, FFT and Cholesky: every bug of
handgrad.planted_bugs.functions through check_vjp, jax.test_util.check_grads,
chex.assert_numerical_grads and np.allclose against jax.vjp at rtol 1e-5, each at its
defaults. Prints tables, and writes scoreboard_functions.json to --output; Ctrl-C ends
it early, with what was done till then. Exits with 1 if check_vjp misses a bug above the
rounding floor, calls a right rule wrong, or gives more than 1 % of the caught bugs a
false cause: one that is neither its own nor "unknown".
"""

import contextlib
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import tyro
from common import timed, write_json
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from handgrad.gradcheck import Report, check_vjp
from handgrad.gradcheck.trees import is_floating
from handgrad.planted_bugs.functions import RULES, Rule, Wrong, bwd

ABOVE = 1.6
"""A bug counts if it moves some cotangent by this many floors, or more."""

FALSE = 0.01
"""The share of caught bugs that may get a false cause."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What to run.

    Attributes:
      seeds: points for each function and dtype.
      dtypes: of the primals.
      rivals: whether to run the others as well.
      output: the folder for scoreboard_functions.json.
    """

    seeds: int = 5
    dtypes: tuple[str, ...] = ("float32", "float64", "bfloat16")
    rivals: bool = True
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, write; 1 if something was missed, or right and called wrong."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    every = product(settings.dtypes, RULES, range(settings.seeds))
    jobs = [job for job in every if job[1].runs_in(job[0])]
    rows: list[Row] = []
    with contextlib.suppress(KeyboardInterrupt), Progress() as progress:
        for dtype, rule, seed in progress.track(jobs, description="planting bugs"):
            rows += run(dtype, rule, seed, rivals=settings.rivals)
    if not rows:
        print("Ended before the first function was done: nothing to show.")
        return 1
    summary = {dtype: summarise(rows, dtype) for dtype in settings.dtypes}
    print_tables(summary)
    write_json(settings, "scoreboard_functions", {"summary": summary, "rows": rows})
    return int(any(map(failed, summary.values())))


def run(dtype: str, rule: Rule, seed: int, *, rivals: bool) -> list[Row]:
    """The right backward pass of one function, and all that are wrong, at one point."""
    with jax.enable_x64(dtype == "float64"):
        primals = rule.primals(np.random.default_rng([seed, 1]), jnp.dtype(dtype))
        right, seconds = _checked(rule, rule.backward, primals)
        rows: list[Row] = [
            {"bug": "", "caught": bool(right.wrong or right.faults), "seconds": seconds}
        ]
        rows += [_planted(rule, wrong, primals, right) for wrong in rule.wrong]
        if rivals:
            passes = [rule.backward, *(wrong.backward for wrong in rule.wrong)]
            for row, backward in zip(rows, passes, strict=True):
                row["rivals"] = _rivals(rule, backward, primals)
    return [{"dtype": dtype, "function": rule.name, "seed": seed} | row for row in rows]


def _checked(rule: Rule, backward: Any, primals: Any) -> tuple[Report, float]:
    return timed(
        lambda: check_vjp(rule.function, rule.forward, bwd(backward), *primals)
    )


def _planted(rule: Rule, wrong: Wrong, primals: Any, right: Report) -> Row:
    report, seconds = _checked(rule, wrong.backward, primals)
    causes = {str(leaf.cause) for leaf in report.wrong}
    return {
        "bug": wrong.name,
        "caught": bool(report.wrong),
        "above": _floors(rule, wrong, primals, right) > ABOVE,
        "named": sorted(causes),
        "false": bool(causes - {*wrong.causes, "unknown"}),
        "unknown": causes <= {"unknown"},
        "seconds": seconds,
    }


def _floors(rule: Rule, wrong: Wrong, primals: Any, right: Report) -> float:
    """By how many floors the bug moves the cotangent that it moves most, in float64."""
    with jax.enable_x64(True):
        wide = tuple(
            jnp.asarray(p, jnp.float64) if is_floating(p) else p for p in primals
        )
        shape = jax.eval_shape(rule.function, *wide)
        u = jnp.asarray(np.random.default_rng(5).standard_normal(shape.shape))
        pairs = zip(wrong.backward(*wide, u), rule.backward(*wide, u), strict=True)
        moved = [_moved(*pair) for pair in pairs if pair[1] is not None]
    floors = [
        leaf.floor for leaf in right.leaves if leaf.verdict != "not differentiable"
    ]
    return max(m / floor for m, floor in zip(moved, floors, strict=True))


def _moved(found: Any, truth: Any) -> float:
    if np.shape(found) != np.shape(truth):
        return np.inf
    return float(jnp.linalg.norm(found - truth) / jnp.linalg.norm(truth))


def _rivals(rule: Rule, backward: Any, primals: Any) -> Row:
    """Whether each rival rejects a backward pass, and the seconds."""
    moving = [i for i, primal in enumerate(primals) if is_floating(primal)]

    def merged(values: Sequence[Any]) -> list[Any]:
        full = list(primals)
        for i, value in zip(moving, values, strict=True):
            full[i] = value
        return full

    @jax.custom_vjp
    def function(*values: Any) -> Any:
        return rule.function(*merged(values))

    def pulled(values: Any, u: Any) -> tuple[Any, ...]:
        found = bwd(backward)(tuple(merged(values)), u)
        return tuple(found[i] for i in moving)

    function.defvjp(lambda *values: (function(*values), values), pulled)
    values = tuple(primals[i] for i in moving)

    def allclose() -> None:
        right, pull = jax.vjp(lambda *v: rule.function(*merged(v)), *values)
        u = jnp.asarray(np.random.default_rng(5).standard_normal(right.shape))
        u = u.astype(right.dtype)
        for found, truth in zip(pulled(values, u), pull(u), strict=True):
            assert found.shape == truth.shape
            pair = (np.asarray(leaf).astype(np.float64) for leaf in (found, truth))
            assert np.allclose(*pair, rtol=1e-5)

    tools: dict[str, Callable[[], Any]] = {
        "check_grads": lambda: jax.test_util.check_grads(
            function, values, order=1, modes=["rev"]
        ),
        "chex": lambda: chex.assert_numerical_grads(
            function, values, order=1, modes=["rev"]
        ),
        "allclose 1e-5": allclose,
    }
    return {name: _rejected(work) for name, work in tools.items()}


def _rejected(work: Callable[[], Any]) -> tuple[bool, float]:
    def attempt() -> bool:
        try:
            work()
        except (AssertionError, TypeError, ValueError):
            return True
        return False

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return timed(attempt)


def summarise(rows: list[Row], dtype: str) -> dict[str, Any]:
    """Counts of one dtype, by tool, and how the causes were named."""
    mine = [row for row in rows if row["dtype"] == dtype]
    right = [row for row in mine if not row["bug"]]
    above = [row for row in mine if row["bug"] and row["above"]]
    caught = [row for row in above if row["caught"]]
    tools = {"check_vjp": (len(caught), sum(row["caught"] for row in right))}
    for tool in right[0].get("rivals", {}):
        counts = (
            sum(row["rivals"][tool][0] for row in part) for part in (above, right)
        )
        tools[tool] = (next(counts), next(counts))
    places = [f"{row['function']}: {row['bug']}" for row in above if not row["caught"]]
    return {
        "bugs": len({(row["function"], row["bug"]) for row in mine if row["bug"]}),
        "planted": sum(bool(row["bug"]) for row in mine),
        "above": len(above),
        "right": len(right),
        "tools": tools,
        "named": sum(not row["false"] and not row["unknown"] for row in caught),
        "unknown": sum(row["unknown"] for row in caught),
        "false": [
            f"{r['function']}: {r['bug']}: {r['named']}" for r in caught if r["false"]
        ],
        "missed": places,
        "alarms": [row["function"] for row in right if row["caught"]],
        "seconds": float(np.mean([row["seconds"] for row in mine])),
    }


def failed(summary: dict[str, Any]) -> bool:
    """Whether something was missed, a right rule called wrong, or causes false."""
    caught = max(1, summary["tools"]["check_vjp"][0])
    too_many = len(summary["false"]) > FALSE * caught
    return bool(summary["missed"] or summary["alarms"] or too_many)


def print_tables(summary: dict[str, Any]) -> None:
    """What each tool caught, and how check_vjp named it."""
    console = Console(width=100)
    for dtype, found in summary.items():
        title = f"{dtype}: {found['bugs']} bugs, {found['above']} above the floor"
        table = Table(title=title)
        for column in ("tool", "caught", f"of {found['right']} right called wrong"):
            table.add_column(column)
        for tool, (caught, alarms) in found["tools"].items():
            table.add_row(tool, f"{caught} of {found['above']}", str(alarms))
        console.print(table)
        console.print(
            f"causes of check_vjp: {found['named']} named, {found['unknown']} unknown, "
            f"{len(found['false'])} false"
        )
        for kind in ("missed", "alarms", "false"):
            for line in sorted(set(found[kind])):
                console.print(f"  {kind}: {line}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
