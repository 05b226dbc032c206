"""The command line of a run: a TOML file, and flags that overlay it."""

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from handgrad.training.errors import TrainingError, shortened
from handgrad.training.settings.check import check_settings
from handgrad.training.settings.file import load_settings
from handgrad.training.settings.processes import Processes
from handgrad.training.settings.samples import settings_of_samples
from handgrad.training.settings.tables import Optimizer, Schedule, Settings

if TYPE_CHECKING:
    from tyro.constructors import ConstructorRegistry

Named = TypeVar("Named", Optimizer, Schedule)
Tables = dict[str, dict[str, Any]]  # {"optimizer.arguments": {name: value}, ...}

_TABLES = ("optimizer.arguments", "optimizer.schedule.arguments", "sweep.values")
_ENTRY = re.compile(
    rf"--({'|'.join(map(re.escape, _TABLES))})\.([\w.-]+)(?:=(.*))?", re.S
)


@dataclass(frozen=True)
class Command(Processes):
    """Train a multilayer perceptron with hand-derived gradients.

    Takes a settings file such as configs/digits.toml, or the samples alone. Every key
    is also a flag, which overrides it: --optimizer.learning-rate 3e-3. With the file
    before --help, the defaults shown are the file's.
    """

    config: Path
    """The settings file (TOML); or samples, with the default of every setting: a .csv,
    .csv.gz or .npz file, a folder of IDX or .npy files, digits, iris, wine,
    breast_cancer, or openml:NAME."""
    settings: Settings
    seeds: int = 1
    """Train this many times, with seed, seed + 1, ..., and print mean and spread."""
    runs: Path = Path("runs")
    """The folder that gets a folder per run."""
    resume: Path | None = None
    """Go on with the run in this folder; without it, with an unfinished run of the same
    settings, where there is one."""
    fresh: bool = False
    """Begin anew in a new folder, whatever there is."""
    compilation_cache: str | None = None
    """The folder of compiled programs, or "off"; by default in the user's cache."""


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
    rest, entries = _take_entries(argv)
    config = _config(rest)
    if config is None:
        _read_flags(["--help"])
        raise SystemExit
    loaded = settings_of_samples(config) or load_settings(config)
    command = Command(Path(config), loaded)
    if rest != [config]:
        command = _read_flags(rest, command)
    if command.seeds < 1:
        raise TrainingError(f"`seeds` must be 1 or more, got {command.seeds}.")
    settings = _with_entries(command.settings, loaded, entries)
    check_settings(settings)
    return replace(command, settings=settings)


def _read_flags(argv: Sequence[str], default: Command | None = None) -> Command:
    """What tyro reads, beside the default or, for --help, without one."""
    import tyro

    @dataclass(frozen=True)
    class Train(Command):
        config: tyro.conf.Positional[Path]
        settings: Annotated[Settings, tyro.conf.arg(name="")]

    return tyro.cli(
        Train,
        description=f"{Command.__doc__}\n\n{_names()}",
        args=argv,
        default=tyro.MISSING_NONPROP if default is None else Train(**vars(default)),
        registry=_tables_as_flags(),
    )


def _tables_as_flags() -> "ConstructorRegistry":
    """A setting that is a table of any keys takes an inline table of TOML."""
    from tyro.constructors import (
        ConstructorRegistry,
        PrimitiveConstructorSpec,
        PrimitiveTypeInfo,
    )

    registry = ConstructorRegistry()

    @registry.primitive_rule
    def _(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        if info.type_origin is not dict:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="TABLE",
            instance_from_str=lambda texts: _inline_table(texts[0]),
            is_instance=lambda value: isinstance(value, dict),
            str_from_instance=lambda table: [_written(table)],
        )

    return registry


def _inline_table(text: str) -> dict[str, Any]:
    value = _toml_value(text)
    if not isinstance(value, dict):
        raise ValueError(f"must be an inline table of TOML, got {shortened(text)}")
    return value


def _written(value: Any) -> str:
    """As TOML writes it in one line."""
    if isinstance(value, dict):
        entries = (f"{json.dumps(key)} = {_written(value[key])}" for key in value)
        return f"{{ {', '.join(entries)} }}" if value else "{}"
    return json.dumps(value)


def _names() -> str:
    """The names that some settings take, for --help."""
    from handgrad.network import ACTIVATIONS
    from handgrad.training.engine.optimizer import optimizer_names, schedule_names

    lists = (
        ("Activations", ACTIVATIONS),
        ("Optimizers", optimizer_names()),
        ("Schedules", schedule_names()),
    )
    return "\n\n".join(f"{kind}: {', '.join(sorted(names))}." for kind, names in lists)


def _config(argv: Sequence[str]) -> str | None:
    """The first argument that is a TOML file by its name, else the very first."""
    named = (item for item in argv if item.endswith(".toml"))
    config = next(named, argv[0] if argv else "--help")
    if not config.startswith("-"):
        return config
    if "--help" in argv or "-h" in argv:
        return None
    raise TrainingError(
        "`config` must be given first: a settings file such as configs/digits.toml, or "
        "samples such as table.csv or digits. See --help."
    )


def _take_entries(argv: Sequence[str]) -> tuple[list[str], Tables]:
    """Split off ``--optimizer.arguments.NAME VALUE`` and its like: which names exist
    depends on the optimiser, so tyro cannot know them."""
    rest: list[str] = []
    entries: Tables = {table: {} for table in _TABLES}
    items = iter(argv)
    for item in items:
        if match := _ENTRY.fullmatch(item):
            table, name, text = match.groups()
            text = next(items, None) if text is None else text
            if text is None:
                raise TrainingError(
                    f"`{item[2:]}` must be followed by a value, got none."
                )
            entries[table][name.replace("-", "_")] = _toml_value(text)
        else:
            rest.append(item)
    return rest, entries


def _toml_value(text: str) -> Any:
    """The text as a TOML value, as a number, or as the string that it is."""
    text = text.lower() if text in ("True", "False") else text
    for read in (
        lambda: tomllib.loads(f"value = {text}")["value"],
        lambda: float(text),
    ):
        try:
            return read()
        except (ValueError, RecursionError):
            continue
    return text


def _with_entries(settings: Settings, loaded: Settings, entries: Tables) -> Settings:
    optimizer, before = settings.optimizer, loaded.optimizer
    arguments = entries["optimizer.schedule.arguments"]
    schedule = _merge(optimizer.schedule, before.schedule, arguments)
    optimizer = _merge(optimizer, before, entries["optimizer.arguments"])
    for key, values in entries["sweep.values"].items():
        numbers = values if isinstance(values, list) else [values]
        if not all(type(number) in (int, float) for number in numbers):
            raise TrainingError(
                f"`sweep.values.{key}` must be a list of numbers, such as [1e-3, 1e-2],"
                f" got {shortened(values)}."
            )
        entries["sweep.values"][key] = numbers
    return replace(
        settings,
        optimizer=replace(optimizer, schedule=schedule),
        sweep=replace(
            settings.sweep, values=settings.sweep.values | entries["sweep.values"]
        ),
    )


def _merge(chosen: Named, loaded: Named, given: dict[str, Any]) -> Named:
    """The file's arguments are kept only while its optimiser or schedule is."""
    dropped = chosen.name != loaded.name and chosen.arguments == loaded.arguments
    kept = {} if dropped else chosen.arguments
    return replace(chosen, arguments={**kept, **given})
