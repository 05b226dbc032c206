"""What the benchmarks share: timing side by side, summaries of it, and JSON files."""

import contextlib
import dataclasses
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

# The processes of a benchmark share an accelerator: none may take most of its memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

Work = Callable[[], Any]


def timed(work: Work) -> tuple[Any, float]:
    """What ``work`` returns, and how many seconds it took."""
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start


def interleave(
    works: Mapping[str, Work],
    *,
    rounds: int = 300,
    most: Mapping[str, int] | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Seconds of several pieces of work, side by side.

    Every round runs all of them in a new random order, so that what ran just before
    favours none of them. A round before the first warms up. Ctrl-C ends it early, with
    the rounds that were done till then.

    Args:
      works: by name; what each returns is waited for.
      rounds: how many.
      most: of the slow ones, in how many rounds they take part: the first so many.
      seed: of the order.

    Returns:
      By name, the seconds in each of its rounds.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    order = random.Random(seed)
    with contextlib.suppress(KeyboardInterrupt):
        for number in range(rounds + 1):
            seconds = {
                name: timed(lambda w=works[name]: jax.block_until_ready(w()))[1]
                for name in order.sample(list(works), len(works))
                if number <= (most or {}).get(name, rounds)
            }
            if number:
                for name, spent in seconds.items():
                    times[name].append(spent)
    return {name: np.array(spent) for name, spent in times.items()}


def alternate(
    commands: Mapping[str, Sequence[str]], *, blocks: int, rounds: int
) -> dict[str, np.ndarray]:
    """Seconds of pieces of work that must not share a process, side by side.

    The threads of PyTorch and of JAX slow each other down, so each group of works has a
    process of its own, which lives through all blocks and sleeps while another works.

    Args:
      commands: by the name of the group, its process: one that calls `serve`.
      blocks: in each of which every process, in a new random order, does its
      rounds: of all its works.

    Returns:
      By the name of the work, the seconds in each of its rounds.
    """
    times: dict[str, list[float]] = {}
    order = random.Random(0)
    with contextlib.ExitStack() as stack:
        workers = {
            group: stack.enter_context(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for group, command in commands.items()
        }
        for worker in workers.values():
            _answer(worker, "0")  # it has compiled, and lies asleep
        for _ in range(blocks):
            for group in order.sample(list(workers), len(workers)):
                for name, seconds in _answer(workers[group], str(rounds)).items():
                    times.setdefault(name, []).extend(seconds)
        for worker in workers.values():
            assert worker.stdin is not None
            worker.stdin.close()
    return {name: np.array(spent) for name, spent in times.items()}


def _answer(worker: subprocess.Popen[str], line: str) -> dict[str, list[float]]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it has said why
        print(line, file=worker.stdin, flush=True)
    found = worker.stdout.readline()
    if not found:
        raise SystemExit(f"a process ended: {worker.args}")
    return json.loads(found)


def serve(works: Mapping[str, Work]) -> None:
    """Do the works as often as each line of the standard input says, and print the
    seconds; the other end of `alternate`."""
    interleave(works, rounds=1)  # whatever is made at the first call
    for number, line in enumerate(sys.stdin):
        rounds = int(line)
        found = interleave(works, rounds=rounds, seed=number) if rounds else {}
        seconds = {name: spent.tolist() for name, spent in found.items()}
        print(json.dumps(seconds), flush=True)


def until_line(
    name: str, command: Sequence[str], begins: str | tuple[str, ...]
) -> tuple[str, float, float]:
    """Run a process to its end, and see when it prints a line. It keeps the bytecode of
    what it imports, as installed packages have it, whatever this shell says.

    Args:
      name: of the process, for the message where it ends without that line.
      command: what to run.
      begins: how the line begins, one way or another; blanks before it do not count.

    Returns:
      The line, the seconds from the start of the process until it came, and those until
      the first line of all.
    """
    began, first = time.perf_counter(), 0.0
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": ""}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            taken = time.perf_counter() - began
            first = first or taken
            if line.lstrip().startswith(begins):
                process.stdout.read()
                return line, taken, first
    raise SystemExit(f"{name} ended with {process.returncode}")


def print_row(cells: Sequence[str]) -> None:
    """A row of a table, as Markdown has it, as soon as it is known."""
    print(f"| {' | '.join(cells)} |", flush=True)


def print_header(cells: Sequence[str]) -> None:
    """The first row, and the line under it."""
    print_row(cells)
    print_row(["---"] * len(cells))


def summary(seconds: np.ndarray) -> dict[str, float]:
    """Median, 10th percentile and least of the seconds of one piece of work."""
    return {
        "median": float(np.median(seconds)),
        "tenth": float(np.quantile(seconds, 0.1)),
        "least": float(np.min(seconds)),
    }


def ratios(mine: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """How many times as long as the others: the median of the ratios within a round,
    and the ratios of the 10th percentiles and of the least, over the rounds of both."""
    both = min(len(mine), len(others))
    a, b = mine[:both], others[:both]
    return {
        "median": float(np.median(a / b)),
        "tenth": float(np.quantile(a, 0.1) / np.quantile(b, 0.1)),
        "least": float(a.min() / b.min()),
    }


def bound(
    what: str, measured: float, most: float, why: str = "", unit: str = "x"
) -> dict[str, Any]:
    """A row of the table of bounds (`all.py`): what was found, and what it may be."""
    return {
        "what": what,
        "measured": measured,
        "most": most,
        "unit": unit,
        "holds": bool(measured <= most),
        "why": why,
    }


def not_measured(what: str, why: str) -> dict[str, Any]:
    """A row of that table for what could not be measured here."""
    return {"what": what, "measured": None, "why": why}


def installed(module: str) -> bool:
    """Whether a peer is here."""
    return importlib.util.find_spec(module) is not None


def without(what: str, peers: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for every peer that is not installed.

    Args:
      what: of the row, with {} for the name of the peer.
      peers: the module of each, by name.
    """
    return [
        not_measured(what.format(name), f"{module} is not installed")
        for name, module in peers.items()
        if not installed(module)
    ]


def write_json(settings: Any, name: str, found: Mapping[str, Any]) -> None:
    """NAME.json in the folder ``settings.output``: what was found, and before it JAX's
    version, the device, and which settings (a dataclass) were not at their defaults."""
    folder = Path(settings.output)
    folder.mkdir(parents=True, exist_ok=True)
    changed = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if not isinstance(getattr(settings, field.name), Path)
        and field.name not in ("output", "folder")
        and getattr(settings, field.name) != field.default
    }
    device = str(jax.devices()[0])
    about = {"jax": jax.__version__, "device": device, "settings": changed}
    text = json.dumps({**about, **found}, indent=1, default=str)
    (folder / f"{name}.json").write_text(text + "\n")
