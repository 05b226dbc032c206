"""What a run is made of: one frozen dataclass per table of the TOML file.

A field without a default must be in the file. The docstring under a field is its help
on the command line.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from tyro.conf import Suppress

from handgrad.network import ACTIVATIONS
from handgrad.training.errors import TrainingError, nearest


@dataclass(frozen=True)
class Data:
    """Which samples, how they are split, how they are scaled."""

    source: Literal["digits", "idx"]
    """digits: scikit-learn's 1,797 scans of 8x8; idx: a folder of IDX files (MNIST)."""
    path: str = ""
    """The folder of IDX files; for source idx alone."""
    test: float = 0.2
    """Share of all samples held out for the test; an IDX folder brings its own."""
    validation: float = 0.1
    """Share of the remaining samples held out for validation."""
    scaling: Literal["feature", "global", "none"] = "feature"
    """Mean 0 and variance 1 in the training part: per feature, over all, or not."""


@dataclass(frozen=True)
class Model:
    """The network between the features and the classes."""

    hidden: tuple[int, ...]
    """Units of each hidden layer; none of them is softmax regression."""
    activation: str | tuple[str, ...] = "relu"
    """Hidden activation: one name, or one per hidden layer."""
    input_dropout: float = 0.0
    """Probability that a feature is dropped in training."""
    hidden_dropout: float = 0.0
    """Probability that a hidden unit is dropped in training."""


@dataclass(frozen=True)
class Schedule:
    """How the learning rate moves; --optimizer.schedule.arguments.NAME VALUE sets any
    argument of the schedule."""

    name: str = "constant_schedule"
    """Any of optax.schedules, by its name."""
    arguments: Suppress[dict[str, Any]] = field(default_factory=dict)
    """Its arguments by name."""


@dataclass(frozen=True)
class Optimizer:
    """What turns gradients into updates; --optimizer.arguments.NAME VALUE sets any
    argument of the optimiser. Another name drops the arguments in the file."""

    name: str
    """Any of optax or optax.contrib that takes a learning rate, by its name."""
    learning_rate: float
    """The learning rate, per step; its peak under a schedule."""
    arguments: Suppress[dict[str, Any]] = field(default_factory=dict)
    """Its other arguments by name."""
    schedule: Schedule = field(default_factory=Schedule)


@dataclass(frozen=True)
class Training:
    """How long, in which batches, towards which objective."""

    epochs: int
    """Passes over the training part."""
    batch_size: int
    """Samples per step; the last batch of an epoch may be shorter."""
    label_smoothing: float = 0.0
    """Probability spread evenly over all classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: every class weighs the same in sum, however many samples it has."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides the result of a run."""

    name: str
    """The run's name: its files go to runs/NAME/."""
    data: Data
    model: Model
    optimizer: Optimizer
    training: Training
    seed: int = 0
    """Drives the split, the initial parameters, the shuffling and the dropout."""


def check_settings(settings: Settings) -> None:
    """Refuse values that cannot work, before anything is loaded or compiled.

    Args:
      settings: of the right types, as `load_settings` or tyro make them.

    Raises:
      TrainingError: naming the key, what must hold and what came.
    """
    data, model, training = settings.data, settings.model, settings.training
    _require(_is_folder_name(settings.name), "name", settings.name, "a folder's name")
    _require(0 <= settings.seed < 2**32, "seed", settings.seed, "in [0, 2**32)")
    for key, share in (("test", data.test), ("validation", data.validation)):
        _require(0 < share < 1, f"data.{key}", share, "a share in (0, 1)")
    if data.source == "idx":
        what = "the folder of IDX files (give it with --data.path FOLDER)"
        _require(data.path != "", "data.path", data.path, what)
    else:
        _require(data.path == "", "data.path", data.path, "empty unless source is idx")
    for width in model.hidden:
        _require(width >= 1, "model.hidden", width, "widths of 1 or more")
    _check_activations(model)
    for key, rate in (
        ("model.input_dropout", model.input_dropout),
        ("model.hidden_dropout", model.hidden_dropout),
        ("training.label_smoothing", training.label_smoothing),
    ):
        _require(0 <= rate < 1, key, rate, "a probability in [0, 1)")
    rate = settings.optimizer.learning_rate
    _require(0 < rate < float("inf"), "optimizer.learning_rate", rate, "positive")
    for key, count in (
        ("training.epochs", training.epochs),
        ("training.batch_size", training.batch_size),
    ):
        _require(count >= 1, key, count, "1 or more")


def _require(holds: bool, key: str, value: object, what: str) -> None:
    if not holds:
        raise TrainingError(f"`{key}` must be {what}, got {value!r}.")


def _is_folder_name(name: str) -> bool:
    return name.strip() == name != "" and name[0] != "." and not set(name) & set("/\\")


def _check_activations(model: Model) -> None:
    names = model.activation
    if not isinstance(names, str):
        count = len(model.hidden)
        _require(
            len(names) == count,
            "model.activation",
            names,
            f"one name, or one per hidden layer ({count})",
        )
    for name in (names,) if isinstance(names, str) else names:
        if name not in ACTIVATIONS:
            raise TrainingError(
                f"`model.activation` must name an activation, got {name!r}. "
                f"{nearest(name, ACTIVATIONS)}"
            )
