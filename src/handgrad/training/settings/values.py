"""One setting of many by its dotted key."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

from handgrad.training.errors import TrainingError, nearest
from handgrad.training.settings.tables import Settings


def with_value(settings: Settings, key: str, value: float) -> Settings:
    """The settings with one numeric setting set.

    Args:
      settings: of a run.
      key: dotted: "optimizer.learning_rate", "optimizer.arguments.b1", "seed".
      value: a number; a whole one where the setting counts something.

    Returns:
      New settings, not checked.

    Raises:
      TrainingError: for a key that names no numeric setting.
    """
    return _set(settings, key, "", value)


def _set(table: Any, rest: str, prefix: str, value: float) -> Any:
    name, _, deeper = rest.partition(".")
    key = f"sweep.values.{prefix}{rest}"
    if isinstance(table, dict):
        return {**table, rest: value}
    names = [field.name for field in fields(table)]
    if name not in names:
        raise TrainingError(
            f"`{key}` must name a numeric setting, got {prefix}{name}. "
            f"{nearest(name, names)}"
        )
    old = getattr(table, name)
    if deeper and (is_dataclass(old) or isinstance(old, dict)):
        return replace(table, **{name: _set(old, deeper, f"{prefix}{name}.", value)})
    number = float(value) if old is None else _number(old, value)
    if deeper or number is None:
        raise TrainingError(
            f"`{key}` must name a numeric setting, and a whole number where it counts "
            f"something, got {value!r} where {prefix}{name} is {old!r}."
        )
    return replace(table, **{name: number})


def _number(old: object, value: float) -> float | None:
    """The value as a number of the same kind, or None if there is none."""
    if type(old) is float:
        return float(value)
    return int(value) if type(old) is int and int(value) == value else None
