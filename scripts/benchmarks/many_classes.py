"""Many classes: a chunk of them at a time, beside all at once and beside others.

python scripts/benchmarks/many_classes.py                # ten minutes on 2 cores
python scripts/benchmarks/many_classes.py --rounds 0     # compiled memory alone
python scripts/benchmarks/many_classes.py --shapes 1 --chunks 1024 4096

A gradient step of n-n-C (relu, softmax, labels) in float32 with m samples:

    whole      handgrad.value_and_grad
    chunk      the same with chunk="auto", and with the --chunks that are given: a loop
               of few large ones is faster on a GPU
    samples    the mean of the gradients of 256 samples at a time
    autodiff   jax.value_and_grad of the loss as optax has it
    tokamax    its linear_softmax_cross_entropy_loss, without a bias (Python 3.12)
    torch, torch chunk    torch.nn.functional.linear_cross_entropy without options, and
               with its default ones, in a process of its own that rests meanwhile

Memory is the temporary memory of the compiled program, which is the same in every run;
torch's is by how much the process grows in a step, less the gradients. Its numbers are
others, and so it has no loss in the table. Every round runs all in a new random order.
Ratios are those to `whole`; below 1 is less. Prints a table and whether the bounds of
the first row hold, and writes many_classes.json to --output.
"""

import contextlib
import functools
import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
import tyro
from common import bound, interleave, ratios, summary, write_json
from rich.console import Console
from rich.table import Table

import handgrad

SHAPES = (
    (2048, 256, 32_768),
    (2048, 256, 4097),
    (2048, 64, 32_768),
    (8192, 256, 8192),
    (256, 256, 32_768),
    (1024, 1024, 16_384),
    (1024, 256, 100_003),
)
"""m, n, C; the bounds are those of the first."""

AT_A_TIME = 256
"""Samples of a chunk where the samples are walked instead of the classes."""

MOST_MEMORY, MOST_TIME = 1 / 8, 1.05

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
      rounds: in which every way runs once.
      shapes: how many of the shapes, from the first.
      chunks: more numbers of classes at a time.
      output: the folder for many_classes.json.
    """

    rounds: int = 15
    shapes: int = len(SHAPES)
    chunks: tuple[int, ...] = ()
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 if a bound that was measured does not hold."""
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    shapes = SHAPES[: settings.shapes]
    rows = [measure(*shape, settings.rounds, settings.chunks) for shape in shapes]
    show(rows)
    bounds = bounds_of(rows[0])
    for name, (value, most) in bounds.items():
        verdict = "holds" if value <= most else "falls short"
        print(f"{name} of chunk, over whole: {value:.3f} (at most {most}): {verdict}")
    asked = [
        bound(f"chunks of the classes, {name}, over all at once", value, most)
        for name, (value, most) in bounds.items()
    ]
    write_json(settings, "many_classes", {"rows": rows, "bounds": asked})
    return int(any(value > most for value, most in bounds.values()))


def hidden(layer: Any, x: jax.Array) -> jax.Array:
    return jax.nn.relu(x @ layer.weight + layer.bias)


def by_optax(params: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
    """The loss as one would write it without handgrad."""
    logits = hidden(params[0], x) @ params[1].weight + params[1].bias
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def by_samples(params: Any, x: jax.Array, labels: jax.Array) -> Any:
    """A chunk of the samples at a time: their logits once, and sums of gradients."""
    chunks = len(x) // AT_A_TIME

    def add(k: jax.Array, found: Any) -> Any:
        part = (
            jax.lax.dynamic_slice_in_dim(array, k * AT_A_TIME, AT_A_TIME)
            for array in (x, labels)
        )
        return jax.tree.map(jnp.add, found, handgrad.value_and_grad(params, *part))

    start = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
    total = jax.lax.fori_loop(0, chunks, add, start)
    return jax.tree.map(lambda leaf: leaf / chunks, total)


def by_tokamax(params: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
    tokamax: Any = importlib.import_module("tokamax")
    return tokamax.linear_softmax_cross_entropy_loss(
        hidden(params[0], x),
        labels,
        params[1].weight,
        reduction="mean",
        implementation="chunked_xla",
    )


def ways(chunks: Sequence[int]) -> dict[str, Callable[..., Any]]:
    """What JAX compiles, by name."""
    by_chunks = {
        f"chunk {size}": functools.partial(handgrad.value_and_grad, chunk=size)
        for size in chunks
    }
    found = {
        "whole": handgrad.value_and_grad,
        "chunk": functools.partial(handgrad.value_and_grad, chunk="auto"),
        **by_chunks,
        "samples": by_samples,
        "autodiff": jax.value_and_grad(by_optax),
    }
    if importlib.util.find_spec("tokamax"):
        found["tokamax"] = jax.value_and_grad(by_tokamax)
    return found


def measure(m: int, n: int, classes: int, rounds: int, chunks: Sequence[int]) -> Row:
    """Memory and seconds of all ways on one shape."""
    keys = jax.random.split(jax.random.key(0), 3)
    params = handgrad.init(keys[0], (n, n, classes))
    x = jax.random.normal(keys[1], (m, n))
    labels = jax.random.randint(keys[2], (m,), 0, classes)
    programs = {
        way: jax.jit(function).lower(params, x, labels).compile()
        for way, function in ways(chunks).items()
    }
    memory = {way: temporary(program) for way, program in programs.items()}
    works: dict[str, Callable[[], Any]] = {
        way: functools.partial(program, params, x, labels)
        for way, program in programs.items()
    }
    times, grown = {}, {}
    if rounds:
        with torch_steps(m, n, classes) as (steps, grown):
            times = interleave(works | steps, rounds=rounds)
    spent = {way: seconds for way, seconds in times.items() if len(seconds)}
    return {
        "m": m,
        "n": n,
        "classes": classes,
        "temporary_mib": memory | grown,
        "seconds": {way: summary(seconds) for way, seconds in spent.items()},
        "ratio": {way: ratios(spent[way], spent["whole"]) for way in spent},
        "loss": {way: float(works[way]()[0]) for way in programs if rounds},
    }


def temporary(program: Any) -> float:
    """Temporary memory of a compiled program, in MiB."""
    return program.memory_analysis().temp_size_in_bytes / 2**20


@contextlib.contextmanager
def torch_steps(
    m: int, n: int, classes: int
) -> Iterator[tuple[dict[str, Callable[[], Any]], dict[str, float]]]:
    """Steps of a process with PyTorch, which rests between them, and by how many MiB
    they grow it; nothing where PyTorch has no linear_cross_entropy."""
    if importlib.util.find_spec("torch") is None:
        yield {}, {}
        return
    worker = Path(__file__).with_name("many_classes_torch.py")
    command = [sys.executable, str(worker), str(m), str(n), str(classes)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        to, back = process.stdin, process.stdout
        assert to is not None
        assert back is not None

        def ask(way: str) -> float:
            to.write(f"{way}\n")
            to.flush()
            return float(back.readline())

        names = back.readline().split(",")
        offered = [name.strip() for name in names if name.strip()]
        grown = {way: max(ask(way), ask(way)) for way in offered}
        yield {way: functools.partial(ask, way) for way in offered}, grown
        to.close()


def bounds_of(row: Row) -> dict[str, tuple[float, float]]:
    """What was measured of the first row, and what it may be."""
    memory = row["temporary_mib"]
    found = {"memory": (memory["chunk"] / memory["whole"], MOST_MEMORY)}
    for name in ("median", "least") if row["ratio"] else ():
        found[f"time ({name})"] = (row["ratio"]["chunk"][name], MOST_TIME)
    return found


def show(rows: list[Row]) -> None:
    """A line for each way and shape."""
    table = Table(title="a gradient step of n-n-C, over whole")
    columns = ("m", "n", "C", "way", "loss", "MiB", "memory", "ms", "median", "least")
    for column in columns:
        table.add_column(column, justify="left" if column == "way" else "right")
    for row in rows:
        memory, seconds = row["temporary_mib"], row["seconds"]
        for way in memory:
            shape = [str(row[key]) for key in ("m", "n", "classes")]
            loss = row["loss"].get(way)
            cells = [
                "" if loss is None else f"{loss:.4f}",
                f"{memory[way]:.1f}",
                f"{memory[way] / memory['whole']:.3f}",
            ]
            if way in seconds:
                ratio = row["ratio"][way]
                cells.append(f"{1e3 * seconds[way]['median']:.0f}")
                cells += [f"{ratio[name]:.2f}" for name in ("median", "least")]
            first = way == "whole"
            table.add_row(*(shape if first else ("", "", "")), way, *cells)
        table.add_section()
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.exit(main())
