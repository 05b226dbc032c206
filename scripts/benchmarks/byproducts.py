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
from pathlib import Path
from typing import Any

import jax
from byproduct_jobs import FORMED, NAMED, RIVAL, SIZES, jobs
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import handgrad

COLOURS = {"": "#1b6ca8", RIVAL: "#e0a030", FORMED: "#b03a2e"}


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
