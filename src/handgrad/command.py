"""The command ``handgrad``, which is also ``python -m handgrad``.

    handgrad --version
    handgrad train configs/digits.toml --optimizer.learning-rate 3e-3

What a subcommand needs is imported when it is called, so all else works without extras.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version

Subcommand = Callable[[Sequence[str]], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    Args:
      argv: the arguments without the program's name; those of the process if None.

    Returns:
      The exit code of the subcommand; 1 where an extra that it needs is not installed.

    Raises:
      SystemExit: after --help and --version, and for what is not a command.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in SUBCOMMANDS:
        return _call(*arguments)
    parser = _parser()
    parser.parse_args(arguments or ["--help"])  # prints, and ends the program
    return parser.error(f"the command must come first, got {' '.join(arguments)!r}")


def _lazily(
    module: str, function: str = "main", room: str = "training.commands"
) -> Subcommand:
    """A command that is imported when it is called."""

    def call(arguments: Sequence[str]) -> int:
        found = import_module(f"handgrad.{room}.{module}")
        return getattr(found, function)(arguments)

    return call


SUBCOMMANDS: dict[str, tuple[Subcommand, str, str]] = {
    "train": (_lazily("train"), "train", "train, as a settings file (TOML) says"),
    "resume": (_lazily("train", "resume"), "train", "go on with an unfinished run"),
    "sweep": (_lazily("train", "sweep"), "train", "train many networks at once"),
    "predict": (_lazily("predict"), "train", "predict the samples of a file"),
    "evaluate": (_lazily("evaluate"), "train", "say how good a trained model is"),
    "report": (_lazily("report"), "train", "make an HTML page of one or more runs"),
    "export": (_lazily("export"), "export", "write a model for another program"),
    "compile-ahead": (
        _lazily("command", room="scale"),
        "train",
        "compile a training step for accelerators that are not here",
    ),
}
"""Name -> what it calls, the extra that this needs, and what it does in a line."""


def _call(name: str, *arguments: str) -> int:
    """The subcommand with the arguments after its name, whatever they are."""
    subcommand, extra, _ = SUBCOMMANDS[name]
    sys.argv = [f"handgrad {name}", *arguments]  # as its own --help calls it
    try:
        return subcommand(arguments)
    except ModuleNotFoundError as error:
        package = (error.name or "handgrad").partition(".")[0]
        if package == "handgrad":
            raise
        print(
            f"error: `handgrad {name}` needs the package {package}, which is not "
            f"installed: pip install 'handgrad[{extra}]'",
            file=sys.stderr,
        )
        return 1


def _parser() -> argparse.ArgumentParser:
    """What is not a subcommand: help, the version, and words that are neither."""
    parser = argparse.ArgumentParser(
        prog="handgrad",
        description="Backpropagation derived by hand, in JAX.",
        epilog="`handgrad COMMAND --help` says what a command takes.",
    )
    parser.add_argument(
        "--version", action="version", version=f"handgrad {version('handgrad')}"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, (_, _, summary) in SUBCOMMANDS.items():
        commands.add_parser(name, help=summary)
    return parser
