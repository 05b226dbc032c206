"""Check the gradients of handgrad's own network on the device that is present.

python scripts/check_gradients.py                                 # 3 minutes on 2 cores
python scripts/check_gradients.py --activations relu gelu --dtypes bfloat16 --jit
python scripts/check_gradients.py --device gpu --precision highest

Every activation with every depth, dtype, kind of targets and kind of weights, each
against autodiff in float64. Prints a table, and writes check_gradients.json and
check_gradients.png to --output. Exits with 1 if anything is wrong.
"""

import contextlib
import functools
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import handgrad
from handgrad.gradcheck import Leaf, Report

SAMPLES, FEATURES, WIDTH, CLASSES = 32, 12, 16, 10
DTYPES = ("float32", "float64", "bfloat16", "float16")

Dtype = Literal["float32", "float64", "bfloat16", "float16"]
Targets = Literal["labels", "distribution"]
Weights = Literal["none", "real", "mask"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What to check, and where.

    Attributes:
      activations: of the hidden layers; names of handgrad.ACTIVATIONS.
      depths: numbers of hidden layers.
      dtypes: of parameters, inputs and weights.
      targets: integer labels, or distributions.
      weights: none, real numbers, or a mask.
      seed: of parameters and batch.
      jit: check the compiled gradient.
      device: a platform and perhaps a number, such as "cpu", "gpu" or "gpu:1".
      precision: of matrix products, as jax.default_matmul_precision takes it.
      output: the folder for check_gradients.json and check_gradients.png.
    """

    activations: tuple[str, ...] = tuple(handgrad.ACTIVATIONS)
    depths: tuple[int, ...] = (0, 1, 3)
    dtypes: tuple[Dtype, ...] = ("float32", "bfloat16")
    targets: tuple[Targets, ...] = ("labels", "distribution")
    weights: tuple[Weights, ...] = ("none", "real", "mask")
    seed: int = 0
    jit: bool = False
    device: str | None = None
    precision: str | None = None
    output: Path = Path("runs/check_gradients")


@dataclass(frozen=True)
class Case:
    """One network and batch."""

    activation: str
    depth: int
    dtype: Dtype
    targets: Targets
    weights: Weights


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, print, write; 1 if anything is wrong."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    start, console = time.perf_counter(), Console(width=100)
    cases = list(chosen(settings))
    rows: list[Row] = []
    with surroundings(settings), Progress(transient=True) as progress:
        where = str(jax.config.values["jax_default_device"] or jax.devices()[0])
        for case in progress.track(cases, description="checking gradients"):
            report = check(case, settings)
            rows.append(row(case, report))
            if not report.ok:
                console.print(f"{case}\n{report}\n", markup=False, highlight=False)
    summary = {
        "device": where,
        "precision": settings.precision or "default",
        "cases": len(rows),
        "wrong": sum(not row["ok"] for row in rows),
        "seconds": round(time.perf_counter() - start, 1),
    }
    console.print(table(rows, settings))
    console.print(", ".join(f"{key}: {value}" for key, value in summary.items()))
    settings.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**summary, "rows": rows}, indent=1)
    (settings.output / "check_gradients.json").write_text(text)
    picture(rows).savefig(settings.output / "check_gradients.png", dpi=130)
    return int(summary["wrong"] > 0)


def chosen(settings: Settings) -> Iterator[Case]:
    """All combinations; without hidden layers there is one activation, not many."""
    unknown = set(settings.activations) - set(handgrad.ACTIVATIONS)
    if unknown:
        raise SystemExit(
            f"`--activations` must be among {', '.join(handgrad.ACTIVATIONS)}, got "
            f"{', '.join(sorted(unknown))}."
        )
    for case in itertools.starmap(
        Case,
        itertools.product(
            settings.activations,
            settings.depths,
            settings.dtypes,
            settings.targets,
            settings.weights,
        ),
    ):
        if case.depth > 0 or case.activation == settings.activations[0]:
            yield case


@contextlib.contextmanager
def surroundings(settings: Settings) -> Iterator[None]:
    """The device and the precision of matrix products."""
    with contextlib.ExitStack() as stack:
        if settings.device is not None:
            platform, _, number = settings.device.partition(":")
            device = jax.devices(platform)[int(number or 0)]
            stack.enter_context(jax.default_device(device))
        if settings.precision is not None:
            stack.enter_context(jax.default_matmul_precision(settings.precision))
        yield


def check(case: Case, settings: Settings) -> Report:
    """One report."""
    with jax.enable_x64(case.dtype == "float64"):
        point = problem(case, settings.seed)
        gradient = functools.partial(
            handgrad.value_and_grad, activation=case.activation
        )
        return handgrad.check_gradients(
            lambda params, x, targets, w: handgrad.loss(
                params, x, targets, activation=case.activation, weights=w
            ),
            lambda params, x, targets, w: (
                jax.jit(gradient) if settings.jit else gradient
            )(params, x, targets, weights=w),
            *point,
        )


def problem(case: Case, seed: int) -> tuple[Any, ...]:
    """params, x, targets, weights."""
    random, dtype = np.random.default_rng(seed), jnp.dtype(case.dtype)
    sizes = (FEATURES, *[WIDTH] * case.depth, CLASSES)
    params = handgrad.init(
        jax.random.key(seed), sizes, activation=case.activation, dtype=dtype
    )
    params = tuple(  # zero biases are a special point
        layer._replace(bias=jnp.asarray(random.normal(0, 0.3, layer.bias.shape), dtype))
        for layer in params
    )
    x = jnp.asarray(random.standard_normal((SAMPLES, FEATURES)), dtype)
    labels = random.integers(0, CLASSES, SAMPLES)
    soft = 0.9 * np.eye(CLASSES)[labels] + 0.1 / CLASSES
    targets = {"labels": jnp.asarray(labels), "distribution": jnp.asarray(soft, dtype)}
    weights = {
        "none": None,
        "real": jnp.asarray(random.uniform(0.2, 2, SAMPLES), dtype),
        "mask": jnp.asarray(np.arange(SAMPLES) % 4 > 0),
    }
    return params, x, targets[case.targets], weights[case.weights]


def row(case: Case, report: Report) -> Row:
    """A case and what was found, as JSON takes it."""
    found = report.to_dict()
    return {**vars(case), **found, "excess": max(map(excess, report.leaves))}


def excess(leaf: Leaf) -> float:
    """The error in units of its floor; 1e9 where that is not finite."""
    return leaf.excess if np.isfinite(leaf.excess) else 1e9


def table(rows: Sequence[Row], settings: Settings) -> Table:
    """Activations by dtypes: the largest error in units of its floor."""
    found = Table(title="largest error of a leaf, in units of its rounding floor")
    found.add_column("activation")
    for dtype in settings.dtypes:
        found.add_column(dtype, justify="right")
    for name in settings.activations:
        cells = []
        for dtype in settings.dtypes:
            mine = [r for r in rows if (r["activation"], r["dtype"]) == (name, dtype)]
            wrong = sum(not r["ok"] for r in mine)
            worst = max((r["excess"] for r in mine), default=0.0)
            cells.append(f"{worst:.2f}" + (f"  {wrong} WRONG" if wrong else ""))
        found.add_row(name, *cells)
    return found


def picture(rows: Sequence[Row]) -> Figure:
    """Every leaf of every case: its error in units of its floor, by activation."""
    dtypes = list(dict.fromkeys(row["dtype"] for row in rows))
    names = list(dict.fromkeys(row["activation"] for row in rows))
    figure = Figure(
        figsize=(1.8 + 3 * len(dtypes), 1.8 + 0.25 * len(names)), layout="constrained"
    )
    panels = figure.subplots(1, len(dtypes), sharex=True, sharey=True, squeeze=False)
    for ax, dtype in zip(panels[0], dtypes, strict=True):
        mine = [row for row in rows if row["dtype"] == dtype]
        leaves = [(row, leaf) for row in mine for leaf in row["leaves"]]
        for ok, colour, marker in ((True, "#0072b2", "|"), (False, "#d55e00", "X")):
            some = [(r, leaf) for r, leaf in leaves if (leaf["ok"] is not False) == ok]
            x = [max(min(leaf["excess"], 1e9), 1e-3) for _, leaf in some]
            y = [names.index(r["activation"]) for r, _ in some]
            ax.plot(x, y, marker, color=colour, alpha=0.6)
        ax.axvline(1, color="black", lw=1)
        ax.set_xscale("log")
        ax.set_xlim(left=7e-4, right=max(10, ax.get_xlim()[1]))
        ax.set_title(dtype, fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_yticks(range(len(names)), names)
    panels[0][0].invert_yaxis()
    figure.supxlabel("error in units of the rounding floor; wrong beyond 1", fontsize=9)
    return figure


if __name__ == "__main__":
    sys.exit(main())
