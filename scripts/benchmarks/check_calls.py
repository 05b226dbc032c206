"""The first and later calls of the gradient check beside `jax.test_util.check_grads`.

python scripts/benchmarks/check_calls.py                # a minute on 2 cores

A small function, a softmax loss, and the MLP 64-100-10 at 200 samples, float32. Each
call of each check is the first of a process of its own; then come more on the same
shapes, of which the median is shown. Compilations are those that JAX reports. Prints a
table, and writes check_calls.json to --output.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import tyro
from common import bound, timed, write_json
from rich.console import Console
from rich.table import Table

import handgrad

OURS, JAX = "check_gradients", "check_grads"


@dataclass(frozen=True)
class Settings:
    """What to time.

    Attributes:
      again: calls after the first.
      output: the folder for check_calls.json.
    """

    again: int = 20
    output: Path = Path("runs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Time, print, write."""
    if (given := sys.argv[1:] if arguments is None else list(arguments))[:1] == ["of"]:
        print(json.dumps(calls(given[1], given[2], int(given[3]))))
        return 0
    settings = tyro.cli(Settings, description=__doc__, args=arguments)
    rows = [
        {"function": name, "check": check, **in_a_process(name, check, settings.again)}
        for name in POINTS
        for check in (OURS, JAX)
    ]
    table = Table("function", "check", "compilations", "first s", "second ms")
    for row in rows:
        numbers = f"{row['first']:.2f}", f"{1e3 * row['again']:.1f}"
        table.add_row(row["function"], row["check"], str(row["compilations"]), *numbers)
    Console().print(table)
    seconds = {(row["function"], row["check"]): row for row in rows}
    bounds = [
        bound(
            f"{call} call over check_grads, {name}",
            seconds[name, OURS][key] / seconds[name, JAX][key],
            most,
        )
        for name in POINTS
        for call, key, most in (("first", "first", 1.0), ("second", "again", 3.0))
    ]
    write_json(settings, "check_calls", {"rows": rows, "bounds": bounds})
    return 0


def in_a_process(name: str, check: str, again: int) -> dict[str, Any]:
    """What one process measures."""
    command = [sys.executable, __file__, "of", name, check, str(again)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def calls(name: str, check: str, again: int) -> dict[str, Any]:
    """The first call, what it compiles, and the calls after it."""
    count = 0

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        nonlocal count
        count += "backend_compile" in event

    loss, gradient, params, *args = POINTS[name]()
    jax.monitoring.register_event_duration_secs_listener(listen)

    def work() -> Any:
        if check == OURS:
            return handgrad.check_gradients(loss, gradient, params, *args)
        return jax.test_util.check_grads(
            lambda params: loss(params, *args), (params,), 1, modes=("rev",), rtol=0.1
        )

    # On an accelerator, check_grads takes the rounding of its products for a mistake.
    with jax.default_matmul_precision("highest"):
        _, first = timed(work)
        compilations = count
        seconds = [timed(work)[1] for _ in range(again)]
    return {
        "compilations": compilations,
        "first": first,
        "again": float(np.median(seconds)),
    }


def small() -> tuple[Any, ...]:
    """sum(tanh(x)^2)."""

    def loss(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.tanh(x) ** 2)

    return loss, jax.grad(loss), jnp.linspace(-1, 1, 40).reshape(8, 5)


def softmax() -> tuple[Any, ...]:
    """The mean negative log-likelihood of logits."""

    def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
        log_p = jax.nn.log_softmax(logits)
        return -jnp.mean(jnp.take_along_axis(log_p, labels[:, None], axis=1))

    logits = jnp.linspace(-2, 2, 80).reshape(8, 10)
    return loss, jax.grad(loss), logits, jnp.arange(8)


def network() -> tuple[Any, ...]:
    """The whole of a training step's gradient."""
    keys = jax.random.split(jax.random.key(0))
    params = handgrad.init(keys[0], (64, 100, 10))
    x = jax.random.normal(keys[1], (200, 64))
    return handgrad.loss, handgrad.value_and_grad, params, x, jnp.arange(200) % 10


POINTS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "tanh": small,
    "softmax": softmax,
    "64-100-10": network,
}


if __name__ == "__main__":
    sys.exit(main())
