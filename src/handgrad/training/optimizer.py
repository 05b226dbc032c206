"""Optimisers and schedules of Optax, by name and with arguments by name."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from handgrad.network import Params
from handgrad.training.errors import TrainingError, nearest
from handgrad.training.settings import Optimizer, Schedule

_RATES = ("learning_rate", "max_learning_rate")
_PEAKS = ("peak_value", "init_value", "value")
_LENGTHS = ("decay_steps", "transition_steps")


def optimizer_names() -> dict[str, Callable[..., Any]]:
    """Every public function of optax and optax.contrib that takes a learning rate, but
    those that take per-sample gradients in the place of their mean (dpsgd)."""
    return {
        name: function
        for module in (optax.contrib, optax)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith(("_", "scale_by_", "dpsgd"))
        and any(rate in inspect.signature(function).parameters for rate in _RATES)
    }


def schedule_names() -> dict[str, Callable[..., Any]]:
    """Every public function of optax.schedules that makes a schedule from numbers."""
    return {
        name: function
        for name, function in inspect.getmembers(optax.schedules, inspect.isfunction)
        if not name.startswith(("_", "inject_", "join_"))
    }


def make_schedule(
    settings: Schedule, peak: float, steps: int
) -> optax.ScalarOrSchedule:
    """The learning rate over a run.

    Args:
      settings: the table [optimizer.schedule]: a name and arguments.
      peak: the learning rate. It becomes `peak_value`, beside which `init_value`
        defaults to 0; without a `peak_value`, it becomes `init_value` or `value`.
      steps: of the whole run; the default of `decay_steps` or `transition_steps`.

    Returns:
      ``peak`` itself if it is constant, otherwise step -> learning rate.

    Raises:
      TrainingError: for an unknown name or argument, or a missing argument.
    """
    key = "optimizer.schedule"
    function = _lookup(settings.name, schedule_names(), f"{key}.name")
    if settings.name == "constant_schedule" and not settings.arguments:
        return peak
    taken = inspect.signature(function).parameters
    peak_name = next((name for name in _PEAKS if name in taken), None)
    defaults: dict[str, Any] = {name: steps for name in _LENGTHS if name in taken}
    if peak_name == "peak_value" and "init_value" in taken:
        defaults["init_value"] = 0.0
    peaks = {peak_name: peak} if peak_name else {}
    return _call(function, peaks, defaults, settings.arguments, key)


def make_optimizer(
    settings: Optimizer, steps: int, key: jax.Array
) -> optax.GradientTransformationExtraArgs:
    """The optimiser that the settings name.

    Args:
      settings: the table [optimizer].
      steps: of the whole run, for the schedule.
      key: a PRNG key for optimisers that draw noise, consumed here.

    Returns:
      The optimiser; `update` takes value=, grad=, value_fn= and obj_fn= besides, for
      those that look at the objective.

    Raises:
      TrainingError: for an unknown name or argument, or a missing argument.
    """
    function = _lookup(settings.name, optimizer_names(), "optimizer.name")
    taken = inspect.signature(function).parameters
    rate = make_schedule(settings.schedule, settings.learning_rate, steps)
    rates = {name: rate for name in _RATES if name in taken}
    defaults = {"key": key} if "key" in taken else {}
    optimizer = _call(function, rates, defaults, settings.arguments, "optimizer")
    return optax.with_extra_args_support(optimizer)


def evaluation_params(opt_state: optax.OptState, params: Params) -> Params:
    """The parameters to predict with: those being trained, except under schedule-free
    optimisers, which evaluate at an average kept in their state."""
    if isinstance(opt_state, optax.contrib.ScheduleFreeState):
        return optax.contrib.schedule_free_eval_params(opt_state, params)
    return params


def initial_state(
    optimizer: optax.GradientTransformationExtraArgs, params: Params
) -> optax.OptState:
    """The optimiser's state, sharing no buffer with the parameters, so that both can be
    donated."""
    return jax.tree.map(jnp.copy, optimizer.init(params))


def _lookup(
    name: str, functions: Mapping[str, Callable[..., Any]], key: str
) -> Callable[..., Any]:
    if name not in functions:
        raise TrainingError(
            f"`{key}` must be a function of Optax, got {name!r}. "
            f"{nearest(name, functions)}"
        )
    return functions[name]


def _call(
    function: Callable[..., Any],
    rates: dict[str, Any],
    defaults: dict[str, Any],
    given: dict[str, Any],
    key: str,
) -> Any:
    """Call with named arguments, after checking the names. ``rates`` are the arguments
    that the learning rate of the settings makes; ``given`` may not hold them."""
    parameters = inspect.signature(function).parameters
    for name in given:
        if name in rates:
            raise TrainingError(
                f"`{key}.arguments.{name}` must be left out: `optimizer.learning_rate` "
                f"sets it. Got {given[name]!r}."
            )
        if name not in parameters:
            raise TrainingError(
                f"`{key}.arguments.{name}` is not an argument of {function.__name__}. "
                f"{nearest(name, parameters)}"
            )
    chosen = {name: _value(value) for name, value in given.items()}
    arguments = defaults | rates | chosen
    missing = _missing(parameters.values(), arguments)
    if missing:
        raise TrainingError(
            f"`{key}.arguments` must hold {', '.join(missing)} for "
            f"{function.__name__}, got {', '.join(arguments) or 'none'}."
        )
    try:
        return function(**arguments)
    except Exception as error:
        raise TrainingError(
            f"`{key}.arguments` do not suit {function.__name__}: {error}"
        ) from error


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
