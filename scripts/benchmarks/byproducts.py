"""By-products side by side: time and compiled temporary memory, in one run.

python scripts/benchmarks/byproducts.py                      # five minutes on 2 cores
python scripts/benchmarks/byproducts.py --rounds 5 --batches 32

784-512-512-10, relu, float32, batches 128 and 1024. Every job starts from (params, x,
labels), so it holds the forward and the backward pass. Each is done three ways: from
the deltas of the hand-written pass; from `vmap(grad)`, with m gradients formed; and
the fair rival, from deltas that autodiff gives with respect to zero perturbations of
each pre-activation. Every round runs all jobs in a new order; the figure is the median,
and a ratio is the median of the ratios within a round. Asked is: norms in a 30th of the
time of `vmap(grad)`, and a 100th of its memory; norms and the clipped gradient in 1.1
times the plain gradient, all six in 3 times; the step of DP-SGD at batch 1024 in 1.4
times the plain one; and no by-product slower than the fair rival, but for noise. Prints
tables, and writes byproducts.json and byproducts.png to --output; Ctrl-C ends it early,
with the rounds that were done till then.
"""

import functools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import tyro
from byproduct_jobs import FORMED, NAMED, RIVAL, SIZES, jobs
from common import bound, interleave, ratios, summary, write_json
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import handgrad

COLOURS = {"": "#1b6ca8", RIVAL: "#e0a030", FORMED: "#b03a2e"}
PRIVATE = "DP-SGD step"
MOST = {"norms and clipped gradient": 1.1, "all six": 3.0, PRIVATE: 1.4}
"""Times what each is measured against."""

NOISE = 0.03
"""Of a ratio, as for the plain step in step.py."""

FORMED_ROUNDS = 3
"""Forming the gradients takes seconds at batch 1024."""

Found = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Settings:
    """What to time.

    Attributes:
      rounds: in which every job runs once.
      batches: sizes, one table each.
      output: the folder for byproducts.json and byproducts.png.
    """

    rounds: int = 40
    batches: tuple[int, ...] = (128, 1024)
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Time, print, write; 1 if not one round was done."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    results: dict[int, Found] = {}
    for batch in settings.batches:
        try:
            found, done = measure(batch, settings.rounds)
        except KeyboardInterrupt:  # while it compiles
            found, done = {}, 0
        if done:
            results[batch] = found
            show(batch, found)
        if done < settings.rounds:
            print(f"Ended at batch {batch}, after {done} of {settings.rounds} rounds.")
            break
    if not results:
        return 1
    report: dict[str, Any] = {str(batch): found for batch, found in results.items()}
    report["bounds"] = [
        bound(f"{what}, batch {batch}", measured, most)
        for batch, found in results.items()
        for what, measured, most in asked_of(batch, found)
    ]
    write_json(settings, "byproducts", report)
    draw(results, settings.output / "byproducts.png")
    return 0


def measure(batch: int, rounds: int) -> tuple[Found, int]:
    """Medians over rounds in which every job runs once, and how many rounds it was."""
    keys = jax.random.split(jax.random.key(batch), 3)
    params = handgrad.init(keys[0], SIZES)
    x = jax.random.uniform(keys[1], (batch, SIZES[0]))
    y = jax.random.randint(keys[2], (batch,), 0, SIZES[-1])
    all_jobs = jobs()
    compiled: dict[str, Any] = {
        name: jax.jit(job).lower(params, x, y).compile()
        for name, (_, job) in all_jobs.items()
    }
    works = {name: functools.partial(f, params, x, y) for name, f in compiled.items()}
    most = {name: FORMED_ROUNDS for name in works if name.endswith(FORMED)}
    times = interleave(works, rounds=rounds, most=most)
    done = max(map(len, times.values()))
    if not done:
        return {}, 0
    return {
        name: row(times[name], times[against], compiled[name]) | {"against": against}
        for name, (against, _) in all_jobs.items()
    }, done


def asked_of(batch: int, found: Found) -> Iterator[tuple[str, float, float]]:
    """What was measured, as a ratio, and what it may be."""
    if (formed := "norms" + FORMED) in found:
        memory = [found[name]["temporary_mib"] for name in ("norms", formed)]
        yield "norms over vmap(grad), time", 1 / found[formed]["ratio"], 1 / 30
        yield "norms over vmap(grad), memory", memory[0] / memory[1], 1 / 100
    for name, most in MOST.items():
        if name in found and (name != PRIVATE or batch >= 1024):
            yield f"{name} over {found[name]['against']}", found[name]["ratio"], most
    rivals = [row["ratio"] for name, row in found.items() if name.endswith(RIVAL)]
    if rivals:
        yield "by-product over the fair rival, worst", 1 / min(rivals), 1 + NOISE


def row(mine: Any, others: Any, compiled: Any) -> dict[str, Any]:
    """Milliseconds, how many times those of the others that is, and memory."""
    spent = {name: 1e3 * seconds for name, seconds in summary(mine).items()}
    ratio = ratios(mine, others)
    bytes_needed = compiled.memory_analysis().temp_size_in_bytes
    return {
        "milliseconds": spent["median"],
        "milliseconds_tenth": spent["tenth"],
        "milliseconds_least": spent["least"],
        "ratio": ratio["median"],
        "ratio_tenth": ratio["tenth"],
        "ratio_least": ratio["least"],
        "temporary_mib": bytes_needed / 2**20,
    }


def show(batch: int, found: Found) -> None:
    """The table of one batch."""
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


def draw(results: dict[int, Found], path: Path) -> None:
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


if __name__ == "__main__":
    sys.exit(main())
