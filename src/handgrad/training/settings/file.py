"""Settings from TOML and back: every key known, every value of its field's type."""

import difflib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from handgrad.training.errors import TrainingError, shortened
from handgrad.training.files import replace_file
from handgrad.training.settings.tables import Settings

_WORDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "object": "a table",
    "array": "a list",
}


def load_settings(path: str | Path) -> Settings:
    """Read a TOML file strictly.

    Args:
      path: the file, in UTF-8, with or without a byte-order mark. A run without a name
        gets that of the file.

    Returns:
      The settings, every value of its field's type (an integer may stand for a float).

    Raises:
      TrainingError: no such file, not TOML, or a key that is unknown (with the nearest
        valid one), missing or of a wrong type; naming the file and the dotted key.
    """
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise TrainingError(
            f"`config` must be a TOML file that can be read, got {path}: "
            f"{error.strerror}."
        ) from error
    except RecursionError as error:
        raise TrainingError(f"`config` {path} nests too deeply to be read.") from error
    except ValueError as error:  # of TOML, of UTF-8, of a number beyond all reason
        raise TrainingError(f"`config` {path} must be TOML: {error}.") from error
    _check_keys(Settings, document, "", path)
    document.setdefault("name", path.stem)
    return validated(document, f" in {path}")


def validated(document: dict[str, Any], where: str) -> Settings:
    """Settings of the right types, each in its range.

    Args:
      document: as TOML or `dataclasses.asdict` gives it, without unknown keys.
      where: what a message says after a key, such as " in FILE".

    Returns:
      The settings.

    Raises:
      TrainingError: for what is missing or not what its field takes, by its key.
    """
    try:
        return msgspec.convert(document, Settings)
    except msgspec.ValidationError as error:
        raise TrainingError(_in_words(str(error), document, where)) from error


def save_settings(settings: Settings, path: str | Path) -> None:
    """Write settings as the TOML that `load_settings` reads back equal.

    Args:
      settings: what to write.
      path: where; an existing file is replaced, whole or not at all.
    """
    import tomli_w

    replace_file(path, tomli_w.dumps(_without_none(asdict(settings))).encode())


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null: what is not given is not written."""
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None
    }


def _check_keys(table: type, values: dict[str, Any], prefix: str, path: Path) -> None:
    hints = get_type_hints(table)
    for key, value in values.items():
        if key not in hints:
            raise TrainingError(
                f"`{prefix}{key}` in {path} is not a setting. "
                f"{_nearest_key(prefix, key)}"
            )
        if is_dataclass(hints[key]) and isinstance(value, dict):
            _check_keys(hints[key], value, f"{prefix}{key}.", path)  # pyright: ignore[reportArgumentType]


def _in_words(message: str, document: dict[str, Any], where: str) -> str:
    """A message of msgspec, such as "Expected `int`, got `float` - at `$.seed`" or
    "Expected `int` >= 0 - at `$.seed`"."""
    what, _, place = message.partition(" - at ")
    key = place.strip("`").removeprefix("$").removeprefix(".").partition("[...]")[0]
    if missing := re.search(r"missing required field `(\w+)`", what):
        key = f"{key}.{missing[1]}".removeprefix(".")
        need = _describe(_hint(key))
        return f"`{key}` is missing{where}: add {need}."
    value = _value(document, key)
    expected = re.match(r"Expected `(.+?)`( [<>].*)?", what)
    if expected and "[...]" not in place:
        kinds = (_WORDS[kind] for kind in expected[1].split(" | ") if kind != "null")
        need = " or ".join(kinds) + (expected[2] or "")
    else:
        need = _describe(_hint(key))
    return f"`{key}`{where} must be {need}, got {shortened(value)}."


def _value(document: Any, key: str) -> Any:
    """What stands at a place that msgspec names: a.b[1]."""
    for name, index in re.findall(r"(\w+)|\[(\d+)\]", key):
        document = document[name] if name else document[int(index)]
    return document


def _hint(key: str) -> Any:
    hint: Any = Settings
    for name in re.findall(r"\w+", key):
        hint = get_type_hints(hint)[name] if is_dataclass(hint) else hint
    return hint


def _describe(hint: Any) -> str:
    """An annotation in words."""
    if get_origin(hint) is dict:
        lists = get_args(hint)[1] is not Any
        return "a table of lists of numbers" if lists else "a table"
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_describe, get_args(hint)))
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if get_origin(hint) is tuple:
        return "a list"
    return "a table" if is_dataclass(hint) else _WORDS[hint.__name__]


def _nearest_key(prefix: str, key: str) -> str:
    """The key whose name is most alike, those of the same table first."""

    def alike(valid: str) -> float:
        table, _, name = valid.rpartition(".")
        same_table = f"{table}." == prefix or table == prefix
        ratio = difflib.SequenceMatcher(None, key.lower()[:80], name).ratio()
        initials = "".join(part[:1] for part in name.split("_"))
        return ratio + 0.3 * same_table + (key == initials)

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
