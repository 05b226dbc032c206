"""The main job: parse the command line, run once per seed, print, exit code."""

import sys
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from handgrad.training.errors import TrainingError
from handgrad.training.report import seeds_table
from handgrad.training.run import run
from handgrad.training.settings.command_line import Command, parse

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the command line says.

    Args:
      argv: the arguments without the program's name; those of the process if None.

    Returns:
      The exit code: 0, 1 after an error that is the user's to put right (printed to
      stderr), 130 after Ctrl-C.
    """
    try:
        return _train(parse(sys.argv[1:] if argv is None else argv))
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED


def _train(command: Command) -> int:
    console = Console()
    results = []
    for offset in range(command.seeds):
        settings = replace(command.settings, seed=command.settings.seed + offset)
        if command.seeds > 1:
            name = f"{settings.name}-seed{settings.seed}"
            settings = replace(settings, name=name)
        results.append(run(settings, command.runs, console))
        if results[-1]["interrupted"]:
            break
    if command.seeds > 1:
        console.print(seeds_table(results))
    return INTERRUPTED if results[-1]["interrupted"] else 0
