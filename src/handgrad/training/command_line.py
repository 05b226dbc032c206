"""The command line of scripts/train.py: a TOML file, and flags that overlay it."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from handgrad.training.errors import TrainingError
from handgrad.training.settings import Optimizer, Schedule, Settings, check_settings
from handgrad.training.settings_file import load_settings

Named = TypeVar("Named", Optimizer, Schedule)
Arguments = dict[str, dict[str, Any]]  # {"optimizer": {name: value}, ...}

_ARGUMENT = re.compile(r"--(optimizer(?:\.schedule)?)\.arguments\.([\w-]+)(?:=(.*))?")


@dataclass(frozen=True)
class Command:
    """Train a multilayer perceptron with hand-derived gradients.

    Takes a settings file such as configs/digits.toml. Every key in it is also a flag,
    which overrides it: --optimizer.learning-rate 3e-3. With the file before --help, the
    defaults shown are the file's; without it, "required" is what a file must hold.
    """

    config: tyro.conf.Positional[Path]
    """The settings file (TOML)."""
    settings: Annotated[Settings, tyro.conf.arg(name="")]
    seeds: int = 1
    """Train this many times, with seed, seed + 1, ..., and print mean and spread."""
    runs: Path = Path("runs")
    """The folder that gets a folder per run."""


def parse(argv: Sequence[str]) -> Command:
    """Read the settings file named on the command line and overlay the flags.

    Args:
      argv: the arguments, without the program's name.

    Returns:
      The command, its settings checked.

    Raises:
      TrainingError: for a settings file or values that cannot work.
      SystemExit: by tyro, after --help or for flags it does not know.
    """
    rest, arguments = _take_arguments(argv)
    config = _config(rest)
    if config is None:
        tyro.cli(Command, args=["--help"])
        raise SystemExit
    loaded = load_settings(config)
    command = tyro.cli(Command, args=rest, default=Command(config, loaded))
    if command.seeds < 1:
        raise TrainingError(f"`seeds` must be 1 or more, got {command.seeds}.")
    settings = _with_arguments(command.settings, loaded, arguments)
    check_settings(settings)
    return replace(command, settings=settings)


def _config(argv: Sequence[str]) -> Path | None:
    """The first argument that is a TOML file by its name, else the very first."""
    named = (item for item in argv if item.endswith(".toml"))
    config = next(named, argv[0] if argv else "--help")
    if not config.startswith("-"):
        return Path(config)
    if "--help" in argv or "-h" in argv:
        return None
    raise TrainingError(
        "`config` must be given first: a settings file such as configs/digits.toml. "
        "See --help."
    )


def _take_arguments(argv: Sequence[str]) -> tuple[list[str], Arguments]:
    """Split off ``--optimizer.arguments.NAME VALUE``: which names exist depends on the
    optimiser, so tyro cannot know them."""
    rest: list[str] = []
    arguments: Arguments = {"optimizer": {}, "optimizer.schedule": {}}
    items = iter(argv)
    for item in items:
        if match := _ARGUMENT.fullmatch(item):
            table, name, text = match.groups()
            text = next(items, None) if text is None else text
            if text is None:
                raise TrainingError(
                    f"`{item[2:]}` must be followed by a value, got none."
                )
            arguments[table][name.replace("-", "_")] = _toml_value(text)
        else:
            rest.append(item)
    return rest, arguments


def _toml_value(text: str) -> Any:
    """The text as a TOML value, as a number, or as the string that it is."""
    text = text.lower() if text in ("True", "False") else text
    for read in (
        lambda: tomllib.loads(f"value = {text}")["value"],
        lambda: float(text),
    ):
        try:
            return read()
        except ValueError:
            continue
    return text


def _with_arguments(
    settings: Settings, loaded: Settings, arguments: Arguments
) -> Settings:
    optimizer, before = settings.optimizer, loaded.optimizer
    schedule = _merge(
        optimizer.schedule, before.schedule, arguments["optimizer.schedule"]
    )
    optimizer = _merge(optimizer, before, arguments["optimizer"])
    return replace(settings, optimizer=replace(optimizer, schedule=schedule))


def _merge(chosen: Named, loaded: Named, given: dict[str, Any]) -> Named:
    """The file's arguments are kept only while its optimiser or schedule is."""
    kept = loaded.arguments if loaded.name == chosen.name else {}
    return replace(chosen, arguments={**kept, **given})
