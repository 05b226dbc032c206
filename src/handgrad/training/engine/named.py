"""Functions that the settings name, called with arguments by name."""

import inspect
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from handgrad.training.errors import TrainingError, nearest, shortened


def lookup(
    name: str, functions: Mapping[str, Callable[..., Any]], key: str
) -> Callable[..., Any]:
    """The function of a name; ``key`` is that of the settings that gives it.

    Raises:
      TrainingError: where there is none of that name.
    """
    if name not in functions:
        raise TrainingError(
            f"`{key}` must be a function of Optax, got {name!r}. "
            f"{nearest(name, functions)}"
        )
    return functions[name]


def call(
    function: Callable[..., Any],
    rates: dict[str, Any],
    defaults: dict[str, Any],
    given: dict[str, Any],
    key: str,
    make: Callable[..., Any] | None = None,
) -> Any:
    """Call with named arguments, after checking the names.

    Args:
      function: of Optax.
      rates: the arguments that the learning rate of the settings makes.
      defaults: others, where they are not given.
      given: of the settings; may not hold those of ``rates``.
      key: of the settings, whose table `arguments` they are.
      make: called in the place of ``function``, once that has taken the arguments.

    Returns:
      What ``make``, or ``function``, returns.

    Raises:
      TrainingError: for an argument that is unknown, missing, or does not suit.
    """
    parameters = inspect.signature(function).parameters
    for name, value in given.items():
        _check_argument(name, value, function, rates, key)
    chosen = {name: _value(value) for name, value in given.items()}
    arguments = defaults | rates | chosen
    missing = _missing(parameters.values(), arguments)
    if missing:
        raise TrainingError(
            f"`{key}.arguments` must hold {', '.join(missing)} for "
            f"{function.__name__}, got {', '.join(arguments) or 'none'}."
        )
    try:
        made = function(**arguments)
        return make(**arguments) if make else made
    except Exception as error:
        raise TrainingError(
            f"`{key}.arguments` do not suit {function.__name__}: {error}"
        ) from error


def _check_argument(
    name: str, value: Any, function: Callable[..., Any], rates: Container[str], key: str
) -> None:
    parameters = inspect.signature(function).parameters
    if name in rates:
        raise TrainingError(
            f"`{key}.arguments.{name}` must be left out: `optimizer.learning_rate` "
            f"sets it. Got {value!r}."
        )
    if name not in parameters:
        raise TrainingError(
            f"`{key}.arguments.{name}` is not an argument of {function.__name__}. "
            f"{nearest(name, parameters)}"
        )
    _check_kind(f"{key}.arguments.{name}", parameters[name].default, value)


def _check_kind(key: str, default: Any, value: Any) -> None:
    """Where Optax has a truth value or a number, such must come: it would take text for
    true, and fail far from here for a number."""
    kinds = {bool: "true or false", int: "a number", float: "a number"}
    what = kinds.get(type(default))
    right = isinstance(value, bool) == (type(default) is bool)
    if what and not (right and not isinstance(value, str | list | dict)):
        raise TrainingError(f"`{key}` must be {what}, got {shortened(value)}.")


def _missing(
    parameters: Iterable[inspect.Parameter], arguments: dict[str, Any]
) -> list[str]:
    return [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.name not in arguments
    ]


def _value(value: Any) -> Any:
    """TOML's lists and tables as Optax wants them: tuples, and integer keys
    (boundaries_and_scales)."""
    if isinstance(value, list):
        return tuple(map(_value, value))
    if isinstance(value, dict):
        return {
            int(key) if key.isdigit() else key: _value(item)
            for key, item in value.items()
        }
    return value
