"""Settings from TOML and back: every key known, every value of its field's type."""

import difflib
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import tomli_w

from handgrad.training.errors import TrainingError
from handgrad.training.settings import Settings


def load_settings(path: str | Path) -> Settings:
    """Read a TOML file strictly.

    Args:
      path: the file.

    Returns:
      The settings, every value of its field's type (an integer may stand for a float).

    Raises:
      TrainingError: no such file, not TOML, or a key that is unknown (with the nearest
        valid one), missing or of a wrong type; naming the file and the dotted key.
    """
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(
            f"`config` must be a TOML file that can be read, got {path}: "
            f"{error.strerror}."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"`config` {path} must be TOML: {error}.") from error
    return _build(Settings, document, "", path)


def save_settings(settings: Settings, path: str | Path) -> None:
    """Write settings as the TOML that `load_settings` reads back equal.

    Args:
      settings: what to write.
      path: where; an existing file is replaced.
    """
    Path(path).write_text(tomli_w.dumps(asdict(settings)), encoding="utf-8")


def _build(table: type, values: dict[str, Any], prefix: str, path: Path) -> Any:
    hints = get_type_hints(table)
    for key in values:
        if key not in hints:
            raise TrainingError(
                f"`{prefix}{key}` in {path} is not a setting. "
                f"{_nearest_key(prefix, key)}"
            )
    built = {}
    for field in fields(table):
        key = prefix + field.name
        if field.name in values:
            built[field.name] = _value(hints[field.name], values[field.name], key, path)
        elif field.default is MISSING and field.default_factory is MISSING:
            what = _describe(hints[field.name])
            raise TrainingError(f"`{key}` is missing from {path}: add {what}.")
    return table(**built)


def _value(hint: Any, value: Any, key: str, path: Path) -> Any:
    if is_dataclass(hint) and isinstance(value, dict):
        return _build(hint, value, f"{key}.", path)  # pyright: ignore[reportArgumentType]
    try:
        return _convert(hint, value)
    except TypeError:
        raise TrainingError(
            f"`{key}` in {path} must be {_describe(hint)}, got {value!r}."
        ) from None


def _convert(hint: Any, value: Any) -> Any:
    """The value as an instance of the annotation, or TypeError."""
    if get_origin(hint) is Literal and value in get_args(hint):
        return value
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_convert(get_args(hint)[0], item) for item in value)
    if isinstance(hint, UnionType):
        for option in get_args(hint):
            try:
                return _convert(option, value)
            except TypeError:
                continue
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is (get_origin(hint) or hint):
        return value
    raise TypeError


def _describe(hint: Any) -> str:
    """An annotation in words."""
    if is_dataclass(hint) or get_origin(hint) is dict:
        return "a table"
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if get_origin(hint) is tuple:
        return f"a list, each item {_describe(get_args(hint)[0])}"
    if isinstance(hint, UnionType):
        return " or ".join(map(_describe, get_args(hint)))
    return {int: "an integer", float: "a number", str: "a string"}[hint]


def _nearest_key(prefix: str, key: str) -> str:
    """The key whose name is most alike, those of the same table first."""

    def alike(valid: str) -> float:
        table, _, name = valid.rpartition(".")
        same_table = f"{table}." == prefix or table == prefix
        ratio = difflib.SequenceMatcher(None, key.lower(), name).ratio()
        return ratio + (0.3 if same_table else 0)

    hint = f"The nearest valid key is `{max(_keys(Settings), key=alike)}`."
    if prefix.startswith("optimizer."):
        hint += f" Optax's own arguments belong in [{prefix}arguments]."
    return hint


def _keys(table: type, prefix: str = "") -> Iterator[str]:
    """Every dotted key that a settings file may hold."""
    for name, hint in get_type_hints(table).items():
        yield prefix + name
        if isinstance(hint, type) and is_dataclass(hint):
            yield from _keys(hint, f"{prefix}{name}.")
