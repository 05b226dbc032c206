"""What the parameters of the estimator must hold: scikit-learn's rules for its own."""

from collections.abc import Callable, Mapping
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any

from handgrad.training.errors import nearest, shortened
from handgrad.training.estimator.network import SKLEARN_SCHEDULES

Rule = tuple[Callable[[Any], bool], str]
DTYPES = ("auto", "float32", "float64", "bfloat16")


def _whole(value: Any) -> bool:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    return whole and int(value) >= 1


def _number(low: float, high: float = inf, *, open_low: bool = False) -> Callable:
    def holds(value: Any) -> bool:
        if not isinstance(value, Real) or isinstance(value, bool):
            return False
        number = float(value)
        above = number > low if open_low else number >= low
        return above and number < high and isfinite(number)

    return holds


def _flag(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")


_POSITIVE: Rule = (_number(0, open_low=True), "positive and finite")
_NOT_NEGATIVE: Rule = (_number(0), "0 or more, and finite")
_SHARE: Rule = (_number(0, 1), "in [0, 1)")
_COUNT: Rule = (_whole, "a whole number of 1 or more")
_FLAG: Rule = (_flag, "True or False")
_TEXT: Rule = (lambda value: isinstance(value, str), "a name")
_OPTIONS: Rule = (
    lambda value: value is None or isinstance(value, Mapping),
    "None or a dictionary of keyword arguments",
)

_RULES: dict[str, Rule] = {
    "solver": _TEXT,
    "alpha": _NOT_NEGATIVE,
    "batch_size": (
        lambda value: (isinstance(value, str) and value == "auto") or _whole(value),
        "'auto' or a whole number of 1 or more",
    ),
    "learning_rate": _TEXT,
    "learning_rate_init": _POSITIVE,
    "power_t": _NOT_NEGATIVE,
    "max_iter": _COUNT,
    "shuffle": _FLAG,
    "tol": _NOT_NEGATIVE,
    "warm_start": _FLAG,
    "momentum": (
        lambda value: _number(0, 1)(value) or value == 1,
        "in [0, 1]",
    ),
    "nesterovs_momentum": _FLAG,
    "early_stopping": _FLAG,
    "validation_fraction": (_number(0, 1, open_low=True), "between 0 and 1"),
    "beta_1": _SHARE,
    "beta_2": _SHARE,
    "epsilon": _POSITIVE,
    "n_iter_no_change": (
        lambda value: _whole(value) or value == inf,
        "a whole number of 1 or more, or infinite",
    ),
    "max_fun": _COUNT,
    "dropout": _SHARE,
    "input_dropout": _SHARE,
    "label_smoothing": _SHARE,
    "clip_norm": _NOT_NEGATIVE,
    "class_weight": (
        lambda value: (
            value is None
            or isinstance(value, Mapping)
            or (isinstance(value, str) and value == "balanced")
        ),
        "None, 'balanced' or a dictionary by label",
    ),
    "solver_options": _OPTIONS,
    "learning_rate_options": _OPTIONS,
    "dtype": (
        lambda value: isinstance(value, str) and value in DTYPES,
        f"one of {', '.join(DTYPES)}",
    ),
}


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse values of the wrong kind, before anything is looked up.

    Args:
      parameters: of `get_params`.

    Raises:
      ValueError: naming the parameter, what must hold and what came.
    """
    for name, (holds, what) in _RULES.items():
        if not holds(parameters[name]):
            raise ValueError(
                f"`{name}` must be {what}, got {shortened(parameters[name])}."
            )
    schedule = parameters["learning_rate"]
    if schedule in SKLEARN_SCHEDULES and parameters["learning_rate_options"]:
        raise ValueError(
            "`learning_rate_options` must be left out unless `learning_rate` is a "
            f"schedule of Optax, got {shortened(parameters['learning_rate_options'])} "
            f"with {schedule!r}."
        )
    callbacks = parameters["callbacks"]
    for each in callbacks_of(callbacks):
        if not callable(each):
            raise ValueError(
                "`callbacks` must be a function, or a list of functions, of the "
                f"estimator and the record of an epoch, got {shortened(callbacks)}."
            )


def check_schedule(name: str, known: Mapping[str, Any]) -> None:
    """Refuse a learning rate that neither scikit-learn nor Optax names."""
    if name not in (*SKLEARN_SCHEDULES, *known):
        raise ValueError(
            f"`learning_rate` must be one of {', '.join(SKLEARN_SCHEDULES)}, or a "
            f"schedule of Optax, got {name!r}. {nearest(name, known)}"
        )


def callbacks_of(callbacks: Any) -> tuple[Any, ...]:
    """None, one or many as a tuple."""
    if callbacks is None:
        return ()
    return tuple(callbacks) if isinstance(callbacks, list | tuple) else (callbacks,)
