"""handgrad train and handgrad resume: a run by a settings file, or one that goes on."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import jax
import tyro
from tyro.conf import Positional

from handgrad.scale.processes import is_first
from handgrad.scale.watch import Watch
from handgrad.training.cache import use_compilation_cache
from handgrad.training.commands.exit_code import exit_code
from handgrad.training.commands.processes import joined
from handgrad.training.errors import TrainingError
from handgrad.training.interrupt import raised
from handgrad.training.settings import Settings, Sweep
from handgrad.training.settings.processes import Processes
from handgrad.training.views.terminal import Terminal

if TYPE_CHECKING:
    from handgrad.training.run import Outcome
    from handgrad.training.settings.command_line import Command


@dataclass(frozen=True)
class Resume(Processes):
    """Go on with a run from its newest checkpoint."""

    folder: Annotated[Path, Positional]
    """The folder of the run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the command line says; the exit code."""
    return exit_code(lambda: _train(argv))


def resume(argv: Sequence[str] | None = None) -> int:
    """Go on with the run in the folder that the command line names; the exit code."""
    return exit_code(lambda: _resume(argv))


def sweep(argv: Sequence[str] | None = None) -> int:
    """Train the networks of a sweep; the exit code."""
    return exit_code(lambda: _sweep(argv))


def _train(argv: Sequence[str] | None) -> int:
    with raised():
        from handgrad.training.settings.command_line import parse

        command = parse(sys.argv[1:] if argv is None else argv)
        if command.resume and (command.seeds > 1 or command.fresh):
            raise TrainingError(
                "`resume` goes on with one run: leave out --seeds and --fresh."
            )
        if command.settings.sweep != Sweep():
            raise TrainingError(
                "`sweep` must be left out of one run: it is for `handgrad sweep`."
            )
        use_compilation_cache(command.compilation_cache)
        with joined(command) as watch:
            return _train_each(command, watch)


def _train_each(command: "Command", watch: Watch | None) -> int:
    """One run after the other, with the seeds that are wanted."""
    outcomes: list[Outcome] = []
    how = {"resume": command.resume, "fresh": command.fresh, "watch": watch}
    for settings in _of_seeds(command.settings, command.seeds):
        outcomes.append(_run(settings, command.runs, **how))
        if outcomes[-1].signal:
            return 128 + outcomes[-1].signal
    if len(outcomes) > 1 and is_first():
        from handgrad.training.views.seeds import seeds_table

        Terminal().print(seeds_table([each.result for each in outcomes if each.result]))
    return 0


def _resume(argv: Sequence[str] | None) -> int:
    with raised():
        from handgrad.training.settings import load_settings

        command = tyro.cli(Resume, args=argv)
        folder = command.folder
        settings = load_settings(folder / "settings.toml")
        use_compilation_cache(None)
        with joined(command) as watch:
            how = {"resume": folder, "watch": watch}
            signal = _run(settings, folder.parent, **how).signal
            return 128 + signal if signal else 0


def _sweep(argv: Sequence[str] | None) -> int:
    with raised():
        from handgrad.training.settings.command_line import parse
        from handgrad.training.sweep import sweep

        command = parse(sys.argv[1:] if argv is None else argv)
        if command.resume or command.seeds > 1:
            raise TrainingError(
                "`sweep` must have its seeds by --sweep.seeds, and goes on by itself: "
                "leave out --seeds and --resume."
            )
        if command.distributed or command.coordinator:
            raise TrainingError(
                "`distributed` must be left out of a sweep, which is for one process."
            )
        use_compilation_cache(command.compilation_cache)
        outcome = sweep(command.settings, command.runs, Terminal(), fresh=command.fresh)
        return 128 + outcome.signal if outcome.signal else 0


def _run(settings: Settings, root: Path, **how: Any) -> "Outcome":
    _awaken(settings.seed)
    from handgrad.training.run import train

    return train(settings, root, Terminal(quiet=not is_first()), **how)


def _awaken(seed: int) -> None:
    """Have JAX find its devices and compile its first program, the key of a run, while
    the rest is imported and the data are read."""
    beside = ThreadPoolExecutor(1)
    beside.submit(jax.random.key, seed)
    beside.shutdown(wait=False)


def _of_seeds(settings: Settings, seeds: int) -> list[Settings]:
    if seeds == 1:
        return [settings]
    return [
        replace(settings, seed=seed, name=f"{settings.name}-seed{seed}")
        for seed in range(settings.seed, settings.seed + seeds)
    ]
