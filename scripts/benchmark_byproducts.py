"""By-products side by side: time and compiled temporary memory, in one run.

    python scripts/benchmark_byproducts.py --out runs/byproducts

784-512-512-10, relu, float32, batches 128 and 1024. Every job starts from (params, x,
labels), so it holds the forward and the backward pass. Each is done three ways: from
the deltas of the hand-written pass; from `vmap(grad)`, with m gradients formed; and
the fair rival, from deltas that autodiff gives with respect to zero perturbations of
each pre-activation. Every round runs all jobs in a new order; the figure is the median,
and a ratio is the median of the ratios within a round. Five minutes on 2 CPU cores.
"""

import argparse
import json
import operator
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import handgrad
from handgrad import byproducts

SIZES = (784, 512, 512, 10)
CLIP = {"clip_norm": 1.0}
FOUR: dict[str, dict[str, Any]] = {
    name: {}
    for name in (
        "per_sample_norms",
        "second_moment",
        "variance",
        "kronecker_factors",
    )
}
NAMED: dict[str, dict[str, dict[str, Any]]] = {
    "norms": {"per_sample_norms": {}},
    "norms and clipped gradient": {"per_sample_norms": {}, "clipped_gradient": CLIP},
    "second moment": {"second_moment": {}},
    "variance": {"variance": {}},
    "noise scale": {"noise_scale": {}},
    "Kronecker factors": {"kronecker_factors": {}},
    "all six": {"gradient": {}, **FOUR, "clipped_gradient": CLIP},
}
"""What each job returns."""

RIVAL, FORMED = ", zero perturbations", ", vmap(grad)"
COLOURS = {"": "#1b6ca8", RIVAL: "#e0a030", FORMED: "#b03a2e"}

Pass = Callable[..., tuple[handgrad.Trace, handgrad.Deltas]]
Job = Callable[..., Any]


def by_hand(params: Any, x: Any, y: Any) -> tuple[handgrad.Trace, handgrad.Deltas]:
    trace = handgrad.forward(params, x)
    return trace, handgrad.deltas(params, trace, y)


def by_perturbation(
    params: Any, x: Any, y: Any
) -> tuple[handgrad.Trace, handgrad.Deltas]:
    """Autodiff with respect to zeros added to each pre-activation."""

    def total(zeros: tuple[jax.Array, ...]) -> tuple[jax.Array, handgrad.Trace]:
        activations, pre_activations = [x], []
        for k, (layer, zero) in enumerate(zip(params, zeros, strict=True)):
            d = activations[-1] @ layer.weight + layer.bias[None] + zero
            pre_activations.append(d)
            if k < len(params) - 1:
                activations.append(jax.nn.relu(d))
        log_p = jax.nn.log_softmax(pre_activations[-1])
        loss = -jnp.sum(jnp.take_along_axis(log_p, y[:, None], axis=1))
        masks = (None,) * len(params)
        return loss, handgrad.Trace(tuple(activations), tuple(pre_activations), masks)

    zeros = tuple(jnp.zeros((x.shape[0], n)) for n in SIZES[1:])
    deltas, trace = jax.grad(total, has_aux=True)(zeros)
    return trace, deltas


def contraction(of: Pass, what: dict[str, dict[str, Any]]) -> Job:
    """The job that collects these by-products; what is not asked for, XLA drops."""

    def job(params: Any, x: Any, y: Any) -> Any:
        found = byproducts.collect(*of(params, x, y), what)
        return {name: found[name] for name in what}

    return job


def plain(params: Any, x: Any, y: Any) -> Any:
    return handgrad.gradients(*by_hand(params, x, y))


def autodiff(params: Any, x: Any, y: Any) -> Any:
    return jax.grad(lambda p: handgrad.loss(p, x, y))(params)


def formed(of: Callable[[Any, jax.Array], Any]) -> Job:
    """``of`` m gradients and their norms, by vmap of grad of the loss of one sample."""

    def job(params: Any, x: Any, y: Any) -> Any:
        def one(p: Any, row: jax.Array, label: jax.Array) -> jax.Array:
            return handgrad.loss(p, row[None], label[None])

        g = jax.vmap(jax.grad(one), (None, 0, 0))(params, x, y)
        squares = [
            jnp.square(leaf).reshape(len(leaf), -1).sum(1)
            for leaf in jax.tree.leaves(g)
        ]
        return of(g, jnp.sqrt(jnp.stack(squares).sum(0)))

    return job


def clipped_mean(g: Any, norms: jax.Array) -> Any:
    factors = 1 / jnp.maximum(norms, 1) / norms.shape[0]
    return norms, jax.tree.map(lambda leaf: jnp.tensordot(factors, leaf, 1), g)


FORMED_JOBS = {
    "norms": formed(lambda g, norms: norms),
    "norms and clipped gradient": formed(clipped_mean),
    "second moment": formed(
        lambda g, norms: jax.tree.map(lambda leaf: jnp.mean(leaf * leaf, axis=0), g)
    ),
    "variance": formed(
        lambda g, norms: jax.tree.map(lambda leaf: jnp.var(leaf, axis=0), g)
    ),
}


def sgd(gradient: Job) -> Job:
    """One step of SGD, the parameters given back."""

    def job(params: Any, x: Any, y: Any) -> Any:
        grads = gradient(params, x, y)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)

    return job


def private(
    sigma: float = 1, impl: str = "threefry2x32", partitionable: bool = True
) -> Job:
    """The gradient of DP-SGD; the key depends on the data, or XLA would fold it."""

    def job(params: Any, x: Any, y: Any) -> Any:
        trace, deltas = by_hand(params, x, y)
        if sigma == 0:
            return byproducts.clipped_gradient(trace, deltas, clip_norm=1.0)
        with jax.threefry_partitionable(partitionable):
            return byproducts.private_gradient(
                jax.random.fold_in(jax.random.key(0, impl=impl), y[0]),
                trace,
                deltas,
                clip_norm=1.0,
                noise_multiplier=sigma,
                expected_batch_size=x.shape[0],
            )

    return job


def jobs() -> dict[str, tuple[str, Job]]:
    """name -> (what it is measured against, job)."""
    found: dict[str, tuple[str, Job]] = {
        "plain gradient": ("plain gradient", plain),
        "plain gradient, jax.grad": ("plain gradient", autodiff),
    }
    for name, what in NAMED.items():
        found[name] = ("plain gradient", contraction(by_hand, what))
        found[name + RIVAL] = (name, contraction(by_perturbation, what))
        if name in FORMED_JOBS:
            found[name + FORMED] = (name, FORMED_JOBS[name])
    found["plain step"] = ("plain step", sgd(plain))
    for name, job in {
        "DP-SGD step": private(),
        "DP-SGD step, no noise": private(sigma=0),
        "DP-SGD step, threefry not partitionable": private(partitionable=False),
        "DP-SGD step, rbg": private(impl="rbg"),
    }.items():
        found[name] = ("plain step", sgd(job))
    return found


def measure(batch: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Medians over rounds in which every job runs once."""
    keys = jax.random.split(jax.random.key(batch), 3)
    params = handgrad.init(keys[0], SIZES)
    x = jax.random.uniform(keys[1], (batch, SIZES[0]))
    y = jax.random.randint(keys[2], (batch,), 0, SIZES[-1])
    all_jobs = jobs()
    compiled: dict[str, Any] = {
        name: jax.jit(job).lower(params, x, y).compile()
        for name, (_, job) in all_jobs.items()
    }
    times: dict[str, list[float]] = {name: [] for name in all_jobs}
    order = random.Random(0)  # what ran just before must not favour anyone
    for round_number in range(rounds + 1):
        for name in order.sample(list(compiled), len(compiled)):
            if name.endswith(FORMED) and round_number > 3:
                continue  # seconds each at batch 1024
            start = time.perf_counter()
            jax.block_until_ready(compiled[name](params, x, y))
            if round_number:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    return {
        name: {
            "milliseconds": 1e3 * statistics.median(times[name]),
            "against": against,
            "ratio": statistics.median(
                map(operator.truediv, times[name], times[against])
            ),
            "temporary_mib": compiled[name].memory_analysis().temp_size_in_bytes
            / 2**20,
        }
        for name, (against, _) in all_jobs.items()
    }


def show(batch: int, found: dict[str, dict[str, Any]]) -> None:
    table = Table(title=f"784-512-512-10, batch {batch}")
    for column in ("job", "ms", "ratio", "to", "temporary MiB"):
        text = column in ("job", "to")
        table.add_column(column, justify="left" if text else "right")
    for name, row in found.items():
        table.add_row(
            name,
            f"{row['milliseconds']:.2f}",
            f"{row['ratio']:.2f}",
            row["against"],
            f"{row['temporary_mib']:.2f}",
        )
    Console(width=110).print(table)


def draw(results: dict[int, dict[str, dict[str, Any]]], path: Path) -> None:
    """Milliseconds per job and batch, by hand and by the rivals, on a log scale."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(results), squeeze=False, sharey=True)[0]
    for panel, (batch, found) in zip(panels, results.items(), strict=True):
        for offset, (way, colour) in enumerate(COLOURS.items()):
            bars = {
                i + 0.27 * (offset - 1): found[name + way]["milliseconds"]
                for i, name in enumerate(NAMED)
                if name + way in found
            }
            panel.barh(
                list(bars),
                list(bars.values()),
                height=0.25,
                color=colour,
                label=way.removeprefix(", ") or "handgrad",
            )
        base = found["plain gradient"]["milliseconds"]
        panel.axvline(base, color="black", linewidth=1, label="plain gradient")
        panel.set(title=f"batch {batch}", xscale="log", xlabel="milliseconds")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(NAMED)), list(NAMED))
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description="By-products side by side.")
    parser.add_argument("--out", type=Path, default=Path("runs/byproducts"))
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 1024])
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = {}
    for batch in arguments.batches:
        results[batch] = measure(batch, arguments.rounds)
        show(batch, results[batch])
    report = {"jax": jax.__version__, "device": str(jax.devices()[0]), **results}
    (arguments.out / "byproducts.json").write_text(json.dumps(report, indent=2))
    draw(results, arguments.out / "byproducts.png")


if __name__ == "__main__":
    main()
