"""From an estimator's parameters to the engine's settings: what is compiled for, and
the numbers that a compiled program takes."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from inspect import signature
from numbers import Integral
from typing import Any, NamedTuple

from handgrad.network import Activation
from handgrad.training.engine.optimizer import optimizer_names
from handgrad.training.errors import TrainingError
from handgrad.training.settings import (
    Data,
    Model,
    Optimizer,
    Schedule,
    Settings,
    Training,
    check_settings,
)

Numbers = dict[str, Any]
"""Hyperparameters that are not 0, and the seed, by name: floats, or traced."""

SKLEARN_SCHEDULES = ("constant", "invscaling", "adaptive")
_ACTIVATIONS: dict[str | Activation, str] = {"logistic": "sigmoid"}
_NAMES = {
    "optimizer.schedule.arguments": "learning_rate_options",
    "optimizer.schedule.name": "learning_rate",
    "optimizer.schedule": "learning_rate",
    "optimizer.arguments": "solver_options",
    "optimizer.name": "solver",
    "optimizer.learning_rate": "learning_rate_init",
    "optimizer.weight_decay": "alpha",
    "optimizer.clip_norm": "clip_norm",
    "optimizer": "solver",
    "model.hidden_dropout": "dropout",
    "model.input_dropout": "input_dropout",
    "model.hidden": "hidden_layer_sizes",
    "model.activation": "activation",
    "training.label_smoothing": "label_smoothing",
    "training.batch_size": "batch_size",
    "training.epochs": "max_iter",
    "data.test_path": "X",
}
"""Of the settings that a message may name, the parameters of the estimator."""


@dataclass(frozen=True)
class Options:
    """Keyword arguments as part of a key: equal if they are, found by their text."""

    values: dict[str, Any]

    def __hash__(self) -> int:
        return hash(repr(sorted(self.values.items())))


class Network(NamedTuple):
    """All that a compiled program is compiled for, beside shapes; hashable."""

    sizes: tuple[int, ...]  # (n_0, n_1, ..., C)
    activation: tuple[str | Activation, ...]  # per hidden layer
    dtype: str  # of the arithmetic
    solver: str
    solver_options: Options
    schedule: str  # of Optax
    schedule_options: Options
    epochs: int  # that the schedule lasts; 0: it has no length
    decay: str  # what alpha is; see `_decay_of`
    shuffle: bool

    @property
    def param_dtype(self) -> str:
        """The dtype of the parameters."""
        return "float64" if self.dtype == "float64" else "float32"


def hidden_sizes(hidden_layer_sizes: Any) -> tuple[int, ...]:
    """The widths that an integer or a sequence of integers stands for."""
    many = isinstance(hidden_layer_sizes, Iterable)
    sizes = tuple(hidden_layer_sizes) if many else (hidden_layer_sizes,)
    for size in sizes:
        if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
            raise ValueError(
                "`hidden_layer_sizes` must be widths of 1 or more, got "
                f"{hidden_layer_sizes!r}."
            )
    return tuple(map(int, sizes))


def network_of(
    parameters: dict[str, Any], ends: tuple[int, int], dtype: str
) -> Network:
    """What the parameters of an estimator describe.

    Args:
      parameters: of `get_params`, checked by `check_parameters`.
      ends: features and classes.
      dtype: "float32", "float64" or "bfloat16".

    Returns:
      The network and its solver, without the numbers.
    """
    solver, schedule = parameters["solver"], parameters["learning_rate"]
    hidden = hidden_sizes(parameters["hidden_layer_sizes"])
    options = deepcopy(parameters["solver_options"] or {})
    if solver == "sgd":
        options.setdefault("nesterov", bool(parameters["nesterovs_momentum"]))
    by_optax = schedule not in SKLEARN_SCHEDULES and solver != "lbfgs"
    return Network(
        (ends[0], *hidden, ends[1]),
        _activations(parameters["activation"], len(hidden)),
        dtype,
        solver,
        Options(options),
        schedule if by_optax else "constant_schedule",
        Options(deepcopy(parameters["learning_rate_options"] or {})),
        int(parameters["max_iter"]) if by_optax else 0,
        _decay_of(solver),
        bool(parameters["shuffle"]) and solver != "lbfgs",
    )


def numbers_of(
    parameters: dict[str, Any], network: Network, batch_weight: float
) -> Numbers:
    """The numbers of an estimator's parameters.

    Args:
      parameters: of `get_params`, checked by `check_parameters`.
      network: of `network_of` the same.
      batch_weight: what the samples of a minibatch weigh together.

    Returns:
      Floats by name, without those that are 0.
    """
    lbfgs = network.solver == "lbfgs"
    alpha = parameters["alpha"]
    numbers = {
        "learning_rate": 1.0 if lbfgs else parameters["learning_rate_init"],
        "alpha": alpha if network.decay == "own" else alpha / batch_weight,
        "dropout": parameters["dropout"],
        "input_dropout": parameters["input_dropout"],
        "label_smoothing": parameters["label_smoothing"],
        "clip_norm": parameters["clip_norm"],
    }
    numbers = {name: float(value) for name, value in numbers.items() if value != 0}
    own: dict[str, Any] = {}
    if network.solver == "sgd":
        own = {"momentum": parameters["momentum"]}
    elif network.solver == "adam":
        own = {"b1": parameters["beta_1"], "b2": parameters["beta_2"]}
        own["eps"] = parameters["epsilon"]
    given = network.solver_options.values
    return numbers | {
        f"solver.{name}": float(value)
        for name, value in own.items()
        if name not in given
    }


def settings_of(network: Network, numbers: Numbers) -> Settings:
    """The engine's settings; traced where the numbers are."""
    own = {
        name.removeprefix("solver."): value
        for name, value in numbers.items()
        if name.startswith("solver.")
    }
    decay = 0.0 if network.decay == "around" else numbers.get("alpha", 0.0)
    return Settings(
        "estimator",
        Data("digits"),
        Model(
            network.sizes[1:-1],
            network.activation,  # pyright: ignore[reportArgumentType]
            numbers.get("input_dropout", 0.0),
            numbers.get("dropout", 0.0),
        ),
        Optimizer(
            network.solver,
            numbers["learning_rate"],
            own | network.solver_options.values,
            Schedule(network.schedule, network.schedule_options.values),
            decay,
            numbers.get("clip_norm", 0.0),
        ),
        Training(1, 1, numbers.get("label_smoothing", 0.0)),
    )


def check_numbers(network: Network, numbers: Numbers) -> None:
    """Refuse what the engine cannot work with, before anything is compiled.

    Raises:
      ValueError: naming the parameter.
    """
    names = (h if isinstance(h, str) else "relu" for h in network.activation)
    network = network._replace(activation=tuple(names))
    try:
        check_settings(settings_of(network, numbers))
    except TrainingError as error:
        raise translated(error) from None


def translated(error: TrainingError) -> ValueError:
    """The engine's message, under the names of the estimator's parameters."""
    text = str(error)
    for setting, name in _NAMES.items():
        text = text.replace(f"`{setting}`", f"`{name}`")
        text = text.replace(f"`{setting}.", f"`{name}.")
    return ValueError(text)


def _activations(activation: Any, hidden: int) -> tuple[str | Activation, ...]:
    if isinstance(activation, str | Activation):
        activation = (activation,) * hidden
    if not isinstance(activation, Sequence) or not all(
        isinstance(h, str | Activation) for h in activation
    ):
        raise TypeError(
            "`activation` must be a name or an Activation(function, derivative), or "
            f"one of them per hidden layer, got {activation!r}."
        )
    return tuple(
        _ACTIVATIONS.get(h, h) if isinstance(h, str) else h for h in activation
    )


def _decay_of(solver: str) -> str:
    """What alpha is: "own" decay of a solver that spares the biases, the "penalty" that
    the engine adds for one without decay, or one that is put "around" the rest."""
    function = optimizer_names().get(solver)
    taken = signature(function).parameters if function else {}
    if "weight_decay" not in taken:
        return "penalty"
    return "own" if taken.keys() & {"mask", "weight_decay_mask"} else "around"
