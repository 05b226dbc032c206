"""Runs that are killed at random moments end as those that are not, to the last bit.

python scripts/benchmarks/kills.py                   # half an hour on 2 cores
python scripts/benchmarks/kills.py --optimizers lbfgs --kills 3

For every optimiser, in memory and streamed: one run to its end, and one that SIGKILL
ends again and again, in the middle of epochs too, and that the same call goes on with.
Every file that they leave, but for the times in status.json and the checkpoints, must
hold the same bytes. Prints a table, and exits with 1 if anything differs.
"""

import contextlib
import io
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from handgrad.training import Settings
from handgrad.training.settings import Data, Model, Optimizer, Records, Training

ARGUMENTS = {"sgd": {"momentum": 0.9}}
TIMES = ("status.json", ".lock")


@dataclass(frozen=True)
class Kills:
    """What to kill, and how often.

    Attributes:
      optimizers: by their names.
      kills: of every run.
      streams: in memory (off), streamed (on), or both.
      seed: of the moments.
    """

    optimizers: tuple[str, ...] = (
        *("adamw", "sgd", "schedule_free_adamw", "lbfgs", "muon"),
    )
    kills: int = 20
    streams: tuple[str, ...] = ("off", "on")
    seed: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, compare, print; 1 if anything differs."""
    kills = tyro.cli(Kills, description=__doc__, args=arguments)
    chance, wrong = random.Random(kills.seed), 0
    table = Table("optimiser", "streamed", "killed", "files", "that differ")
    for name in kills.optimizers:
        for stream in kills.streams:
            with tempfile.TemporaryDirectory() as folder:
                made = settings(name, stream, Path(folder))
                seconds = run_to_end(made, Path(folder, "whole"))
                killed, files, differ = 0, 0, set()
                while killed < kills.kills:  # a run may end before it is hit
                    root = Path(folder, f"killed-{killed}")
                    killed += run_with_kills(
                        made, root, seconds, kills.kills - killed, chance
                    )
                    files, found = compare(Path(folder, "whole"), root)
                    differ |= found
            wrong += len(differ)
            cells = (name, stream, str(killed), str(files), ", ".join(differ) or "none")
            table.add_row(*cells)
            print(*cells, flush=True)
    Console().print(table)
    return int(wrong > 0)


def settings(optimizer: str, stream: str, folder: Path) -> Settings:
    """A run of some seconds, with a checkpoint after every few steps."""
    import numpy as np
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    np.save(folder / "x.npy", x.astype(np.uint8))
    np.save(folder / "y.npy", y)
    return Settings(
        name="digits",
        data=Data(source="npy", path=str(folder), stream=stream),  # pyright: ignore[reportArgumentType]
        model=Model(hidden=(64, 64), hidden_dropout=0.1),
        optimizer=Optimizer(optimizer, 1e-2, dict(ARGUMENTS.get(optimizer, {}))),
        training=Training(epochs=16, batch_size=16, check="off", chunk_steps=8),
        records=Records(checkpoint_seconds=1e-3),
    )


def run_to_end(made: Settings, root: Path) -> float:
    """Train in a process of its own; the seconds from its first checkpoint on."""
    process = start(made, root)
    wait_for_another(root / made.name / "checkpoints", process)
    began = time.monotonic()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the run ended with {process.exitcode}")
    return time.monotonic() - began


def run_with_kills(
    made: Settings, root: Path, seconds: float, kills: int, chance: random.Random
) -> int:
    """Kill the run at random moments while it trains, then let it end; how often it was
    killed. Between two kills it gets some steps further."""
    killed = 0
    checkpoints = root / made.name / "checkpoints"
    while killed < kills:
        process = start(made, root)
        wait_for_another(checkpoints, process)
        process.join(chance.uniform(0, seconds / kills / 2))
        if not process.is_alive():
            return killed
        process.kill()
        process.join()
        killed += 1
    run_to_end(made, root)
    return killed


def wait_for_another(checkpoints: Path, process: Any) -> None:
    """Until the process has written a checkpoint, or ended."""
    before = newest(checkpoints)
    while process.is_alive() and newest(checkpoints) == before:
        time.sleep(0.002)


def newest(checkpoints: Path) -> str:
    """The name of the newest checkpoint."""
    return max((path.name for path in checkpoints.glob("step-*.ckpt")), default="")


def start(made: Settings, root: Path) -> Any:
    """A process that trains."""
    process = multiprocessing.get_context("spawn").Process(
        target=train_quietly, args=(made, root)
    )
    process.start()
    return process


def train_quietly(made: Settings, root: Path) -> None:
    """What the process does."""
    from handgrad.training.run import train

    with contextlib.redirect_stdout(io.StringIO()):
        train(made, root, Console())


def compare(*roots: Path) -> tuple[int, set[str]]:
    """How many files there are to compare, and those that are not the same."""
    whole, killed = (root / "digits" for root in roots)
    names = {
        path.name
        for run in (whole, killed)
        for path in run.iterdir()
        if path.is_file() and path.name not in TIMES
    }
    differ = {name for name in names if content(whole, name) != content(killed, name)}
    return len(names), differ


def content(run: Path, name: str) -> bytes | None:
    """What is in a file of a run, if it is there."""
    path = run / name
    return path.read_bytes() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
