"""Plant bugs in a backward pass, and count who finds them: this check and its rivals.

python scripts/benchmarks/scoreboard.py --workers 2         # 20 seeds, about an hour
python scripts/benchmarks/scoreboard.py --seeds 1 --dtypes float32

Every bug of handgrad.planted_bugs, on every network and dtype where it can
show, through check_gradients, jax.test_util.check_grads, chex.assert_numerical_grads,
torch.autograd.gradcheck (float64 only, where torch is installed) and np.allclose
against jax.grad at rtol 1e-5, each at its defaults. Prints tables, and writes
scoreboard.json and scoreboard.png to --output; Ctrl-C ends it early, with what was done
till then. Exits with 1 if check_gradients misses a bug above the rounding floor or
calls a right gradient wrong.
"""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from common import timed, write_json
from joblib import Parallel, delayed
from rich.progress import Progress
from scoreboard_rivals import RIVALS, VERDICTS
from scoreboard_summary import draw, failed, print_tables, summarise

from handgrad.gradcheck import Report, Variant
from handgrad.gradcheck.check import Check
from handgrad.gradcheck.points import Basis, examine, prepare
from handgrad.gradcheck.reference.float64 import Point, float64, widen
from handgrad.gradcheck.reference.tolerance import largest
from handgrad.gradcheck.trees import to_numpy
from handgrad.planted_bugs import (
    BUGS,
    NETWORKS,
    Bug,
    Network,
    Problem,
    applies,
    catalogue,
    problem,
    remembered,
    right_gradient,
)

BORDER = (0.6, 1.6)
"""A leaf that a bug moves by this many floors may be called either way."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What to run.

    Attributes:
      seeds: random problems for each network, dtype and need of the bugs.
      dtypes: of parameters, inputs and weights.
      rivals: whether to run the others as well.
      workers: processes that share the problems.
      output: the folder for scoreboard.json and scoreboard.png.
    """

    seeds: int = 20
    dtypes: tuple[str, ...] = ("float32", "float64", "bfloat16")
    rivals: bool = True
    workers: int = 1
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, write; 1 if something was missed, or right and called wrong."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    needs = sorted({bug.needs for bug in BUGS})
    # Seeds run fastest: JAX's caches hold what one network compiles, not all of them.
    jobs = list(product(settings.dtypes, NETWORKS, needs, range(settings.seeds)))
    rows: list[Row] = []
    found: Any = Parallel(settings.workers, return_as="generator")(
        delayed(run)(*job, rivals=settings.rivals) for job in jobs
    )
    with contextlib.suppress(KeyboardInterrupt), Progress() as progress:
        for more in progress.track(found, len(jobs), description="planting bugs"):
            rows += more
    if not rows:
        print("Ended before the first problem was done: nothing to show.")
        return 1
    summary = summarise(rows)
    print_tables(summary)
    write_json(settings, "scoreboard", {"summary": summary, "rows": rows})
    draw(summary).savefig(settings.output / "scoreboard.png", dpi=130)
    return int(failed(summary))


def run(
    dtype_name: str, network: Network, need: str, seed: int, *, rivals: bool
) -> list[Row]:
    """All bugs with one need, and the right gradient, on one problem."""
    dtype = jnp.dtype(dtype_name)
    bugs = [bug for bug in BUGS if bug.needs == need and applies(bug, network, dtype)]
    if not bugs:
        return []
    with jax.enable_x64(dtype_name == "float64"):
        point = problem(network, seed, dtype, need)
        known = remembered(catalogue(*point.h), point)
        right = right_gradient(point.h)
        basis, seconds = timed(lambda: prepare(_check(point, right).point))
        common = {"dtype": dtype_name, "network": network.name, "seed": seed}
        rows = [_right_row(point, right, basis) | {"prepare": seconds}]
        rows += [_bug_row(point, bug, basis, known) for bug in bugs]
        if rivals:
            for row, bug in zip(rows, [None, *bugs], strict=True):
                gradient = right if bug is None else bug.gradient(point.h)
                row["rivals"] = _rivals(point, gradient, dtype_name, bug is None)
    return [common | row for row in rows]


def _rivals(point: Problem, gradient, dtype: str, right: bool) -> Row:
    """What each rival says; one that cannot run on a right gradient stops it all."""
    found = {name: rival(point, gradient, dtype) for name, rival in RIVALS.items()}
    for name, outcome in found.items():
        if right and outcome is not None and outcome.raised not in VERDICTS:
            raise RuntimeError(f"{name} cannot run: {outcome.raised} in {dtype}.")
    return found


def _check(point: Problem, gradient, known: tuple[Variant, ...] = ()) -> Check:
    at = Point(point.loss, point.params, point.args)
    return Check(at, gradient, point.alternatives, known, strict=True)


def _right_row(point: Problem, right, basis: Basis) -> Row:
    """The gradient without a bug."""
    report, seconds = timed(lambda: examine(_check(point, right), basis))
    alarm = bool(report.wrong or report.faults)
    return {"bug": "", "cause": "", "caught": alarm, "seconds": seconds}


def _bug_row(point: Problem, bug: Bug, basis: Basis, known: tuple[Variant, ...]) -> Row:
    """One bug: found, its leaves named, its cause named, with and without catalogue."""
    gradient = bug.gradient(point.h)
    report, seconds = timed(lambda: examine(_check(point, gradient), basis))
    causes = {leaf.cause for leaf in report.wrong}
    named = causes
    if "unknown" in causes:
        again = examine(_check(point, gradient, known), basis)
        named = {leaf.cause for leaf in again.wrong}
    moved = _moved(point, bug, basis)
    return {
        "bug": bug.name,
        "cause": bug.cause,
        "caught": bool(report.wrong),
        "seconds": seconds,
        "above": max(moved.values()),
        "exact": _exact(report, moved),
        "cause_numbers": causes == {bug.cause},
        "cause_catalogue": named == {bug.cause},
        "named": sorted(str(cause) for cause in named),
    }


def _moved(point: Problem, bug: Bug, basis: Basis) -> dict[str, float]:
    """How many floors the bug moves each leaf, in float64: its own rounding aside."""
    with float64():
        params, args = widen(point.params), widen(list(point.args))
        wrong = bug.gradient(point.h)(params, *args)
        paths = [jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path(wrong)]
        leaves = [to_numpy(leaf) for leaf in jax.tree.leaves(wrong)]
    moved = {}
    found = zip(paths, leaves, basis.reference.truth.gradient, strict=True)
    for (path, leaf, truth), floor in zip(found, basis.reference.floors, strict=True):
        if leaf.shape != truth.shape or not jnp.isfinite(leaf).all():
            moved[path] = float("inf")
        elif floor.worst > 0:
            moved[path] = largest(leaf - truth) / floor.worst
        else:
            moved[path] = float("inf") if (leaf != truth).any() else 0.0
    return moved


def _exact(report: Report, moved: dict[str, float]) -> bool:
    """Whether the leaves called wrong are those that the bug moves beyond the floor."""
    wrong = {leaf.path for leaf in report.wrong}
    low, high = BORDER
    must = {path for path, floors in moved.items() if floors > high}
    may = {path for path, floors in moved.items() if floors > low}
    return must <= wrong <= may


if __name__ == "__main__":
    sys.exit(main())
