"""What settings must hold, whatever the data are: each refusal names its key."""

import os
from dataclasses import asdict, replace
from math import inf

from handgrad.network import ACTIVATIONS
from handgrad.training.errors import TrainingError, nearest, shortened
from handgrad.training.settings.file import validated
from handgrad.training.settings.tables import (
    Data,
    Model,
    Optimizer,
    Scale,
    Settings,
    Sweep,
    Training,
)
from handgrad.training.settings.values import with_value

BUNDLED = ("digits", "iris", "wine", "breast_cancer")
FILES = ("idx", "npz", "npy", "csv")


def check_settings(settings: Settings) -> None:
    """Refuse values that cannot work, before anything is loaded or compiled.

    Args:
      settings: of the right types, as `load_settings` or tyro make them.

    Raises:
      TrainingError: naming the key, what must hold and what came.
    """
    validated(asdict(settings), "")
    _require(_is_folder_name(settings.name), "name", settings.name, "a folder's name")
    _check_source(settings.data)
    _check_data(settings.data)
    _check_model(settings.model)
    _check_optimizer(settings.optimizer)
    _check_training(settings.training, settings.data)
    _check_chunks(settings)
    _check_sweep(settings)
    _check_scale(settings.scale)


def memory_bytes() -> int:
    """The memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _require(holds: bool, key: str, value: object, what: str) -> None:
    if not holds:
        raise TrainingError(f"`{key}` must be {what}, got {shortened(value)}.")


def _is_folder_name(name: str) -> bool:
    plain = name.strip() == name != "" and name[0] != "." and name.isprintable()
    return plain and not set(name) & set("/\\") and len(name.encode()) <= 200


def _check_source(data: Data) -> None:
    """The source, and which of the other settings it takes."""
    kind, _, name = data.source.partition(":")
    if data.source not in BUNDLED + FILES and not (kind == "openml" and name):
        raise TrainingError(
            f"`data.source` must be {', '.join(BUNDLED + FILES)} or openml:NAME, got "
            f"{shortened(data.source)}. {nearest(data.source, BUNDLED + FILES)}"
        )
    files = data.source in FILES
    for key in ("path", "test_path", "validation_path"):
        value = getattr(data, key)
        _require("\0" not in value, f"data.{key}", value, "a path, without a null byte")
        if not files:
            what = f"left out: {data.source} is no file"
            _require(value == "", f"data.{key}", value, what)
        elif data.source == "idx" and key != "path":
            _require(value == "", f"data.{key}", value, "left out: idx takes none")
    if files and data.path == "":
        what = "folder" if data.source in ("idx", "npy") else "file"
        raise TrainingError(
            f"`data.path` must be the {what} of the samples (give it with --data.path "
            "PATH), got ''."
        )
    defaults = Data(data.source)
    for key in ("label", "header", "ignored", "categorical", "missing"):
        value = getattr(data, key)
        takes = data.source == "csv" or (
            kind == "openml" and key in ("ignored", "categorical", "missing")
        )
        what = f"left out: {data.source} takes none"
        _require(takes or value == getattr(defaults, key), f"data.{key}", value, what)


def _check_data(data: Data) -> None:
    own = {"test": data.test_path or data.source == "idx"}
    for key, brought in (own | {"validation": data.validation_path}).items():
        if brought:
            what = f"left out: {data.source} brings {key} samples of its own"
            share = getattr(data, key)
            _require(share is None, f"data.{key}", share, what)
    divided = data.scaling == "constant"
    _require(
        (data.divisor > 0) == divided,
        "data.divisor",
        data.divisor,
        f"{'positive' if divided else '0'} where data.scaling is {data.scaling!r}",
    )
    _require(
        len(set(data.classes)) == len(data.classes) != 1,
        "data.classes",
        data.classes,
        "the names of two or more classes, each once",
    )


def _check_model(model: Model) -> None:
    widths = (1, *model.hidden)
    size = 4 * sum(a * b for a, b in zip(widths, model.hidden, strict=False))
    limit = memory_bytes()
    what = f"widths whose weights fit {limit / 2**30:.0f} GiB of memory"
    _require(size <= limit, "model.hidden", model.hidden, what)
    _check_activations(model)
    if not model.hidden:
        rate = model.hidden_dropout
        _require(rate == 0, "model.hidden_dropout", rate, "0 without hidden layers")


def _check_activations(model: Model) -> None:
    names, count = model.activation, len(model.hidden)
    one = isinstance(names, str)
    what = f"one name, or one per hidden layer ({count})"
    _require(one or len(names) == count, "model.activation", names, what)
    for name in (names,) if isinstance(names, str) else names:
        if name not in ACTIVATIONS:
            raise TrainingError(
                f"`model.activation` must name an activation, got {shortened(name)}. "
                f"{nearest(name, ACTIVATIONS)}"
            )
    if one and not count:
        _require(
            names == "relu", "model.activation", names, "left out without hidden layers"
        )


def _check_optimizer(optimizer: Optimizer) -> None:
    schedule = optimizer.schedule
    if schedule.name == "constant_schedule":
        what = "0 with constant_schedule, which has no length"
        key = "optimizer.schedule.epochs"
        _require(schedule.epochs == 0, key, schedule.epochs, what)
    for key, arguments in (
        ("optimizer.arguments", optimizer.arguments),
        ("optimizer.schedule.arguments", schedule.arguments),
    ):
        for name, value in arguments.items():
            if "decay" in name and isinstance(value, int | float):
                _require(
                    0 <= value < inf, f"{key}.{name}", value, "0 or more, and finite"
                )


def _check_training(training: Training, data: Data) -> None:
    if training.patience == 0:
        change = training.min_change
        _require(change == 0, "training.min_change", change, "0 without a patience")
    elif data.validation == 0:
        what = "0 without validation samples (data.validation is 0)"
        _require(False, "training.patience", training.patience, what)


def _check_chunks(settings: Settings) -> None:
    """A sample's norm is known when its last chunk is, and clipping needs it before."""
    if settings.training.chunk_classes != 0:
        bound = settings.optimizer.clip_samples
        what = "0 where training.chunk_classes is not"
        _require(bound == 0, "optimizer.clip_samples", bound, what)


def _check_scale(scale: Scale) -> None:
    if scale.zero:
        what = "false where scale.data is 1: there is nothing to split over"
        _require(scale.data > 1, "scale.zero", scale.zero, what)


def _check_sweep(settings: Settings) -> None:
    """Every value must work by itself, at the key it is for."""
    single = replace(settings, sweep=Sweep())
    for key, values in settings.sweep.values.items():
        _require(len(values) > 0, f"sweep.values.{key}", values, "one number or more")
        for value in values:
            check_settings(with_value(single, key, value))
