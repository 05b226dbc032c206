"""What settings must hold, whatever the data are: each refusal names its key."""

import os
from collections.abc import Iterable
from dataclasses import replace
from math import inf

import numpy as np

from handgrad.network import ACTIVATIONS
from handgrad.training.errors import TrainingError, nearest, shortened
from handgrad.training.settings.tables import (
    Data,
    Model,
    Optimizer,
    Records,
    Settings,
    Sweep,
    Training,
)
from handgrad.training.settings.values import with_value

BUNDLED = ("digits", "iris", "wine", "breast_cancer")
FILES = ("idx", "npz", "npy", "csv")
_COUNT = 2**31  # counts are int32 in the compiled program


def check_settings(settings: Settings) -> None:
    """Refuse values that cannot work, before anything is loaded or compiled.

    Args:
      settings: of the right types, as `load_settings` or tyro make them.

    Raises:
      TrainingError: naming the key, what must hold and what came.
    """
    _require(_is_folder_name(settings.name), "name", settings.name, "a folder's name")
    _require(0 <= settings.seed < 2**32, "seed", settings.seed, "in [0, 2**32)")
    _check_source(settings.data)
    _check_data(settings.data)
    _check_model(settings.model)
    _check_optimizer(settings.optimizer)
    _check_training(settings.training, settings.data)
    _check_records(settings.records)
    _check_sweep(settings.sweep, settings)


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
    own_test = data.test_path or data.source == "idx"
    own = (("test", own_test), ("validation", data.validation_path))
    for key, brought in own:
        share = getattr(data, key)
        if brought:
            what = f"left out: {data.source} brings {key} samples of its own"
            _require(share is None, f"data.{key}", share, what)
        _require(
            share is None or 0 <= share < 1,
            f"data.{key}",
            share,
            "a share in [0, 1), where 0 holds out none",
        )
    _require(
        0 <= data.split_seed < 2**32,
        "data.split_seed",
        data.split_seed,
        "in [0, 2**32)",
    )
    divided = data.scaling == "constant"
    _require(
        0 < data.divisor < inf if divided else data.divisor == 0,
        "data.divisor",
        data.divisor,
        "positive with data.scaling = 'constant'"
        if divided
        else "left out unless data.scaling is 'constant'",
    )
    _require(
        len(set(data.classes)) == len(data.classes) != 1,
        "data.classes",
        data.classes,
        "the names of two or more classes, each once",
    )


def _check_model(model: Model) -> None:
    for width in model.hidden:
        _require(1 <= width < _COUNT, "model.hidden", width, "widths of 1 or more")
    wide = 4 * sum(
        a * b for a, b in zip((1, *model.hidden), model.hidden, strict=False)
    )
    limit = memory_bytes()
    what = f"widths whose weights fit {limit / 2**30:.0f} GiB of memory"
    _require(wide <= limit, "model.hidden", model.hidden, what)
    _check_activations(model)
    for key in ("input_dropout", "hidden_dropout"):
        rate = getattr(model, key)
        _require(0 <= rate < 1, f"model.{key}", rate, "a probability in [0, 1)")
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
    rate, schedule = optimizer.learning_rate, optimizer.schedule
    with np.errstate(over="ignore"):
        single = np.float32(rate)
    _require(
        bool(0 < single < inf), "optimizer.learning_rate", rate, "positive in float32"
    )
    for key, value in (
        ("weight_decay", optimizer.weight_decay),
        ("clip_norm", optimizer.clip_norm),
        ("clip_samples", optimizer.clip_samples),
    ):
        _require(0 <= value < inf, f"optimizer.{key}", value, "0 or more, and finite")
    average = optimizer.average
    _require(0 <= average < 1, "optimizer.average", average, "a decay in [0, 1)")
    _counts("optimizer", 1, accumulate=optimizer.accumulate)
    _counts(
        "optimizer.schedule",
        0,
        warmup_steps=schedule.warmup_steps,
        epochs=schedule.epochs,
    )
    if schedule.name == "constant_schedule":
        what = "0 with constant_schedule, which has no length"
        _require(
            schedule.epochs == 0, "optimizer.schedule.epochs", schedule.epochs, what
        )
    _check_decays("optimizer.arguments", optimizer.arguments.items())
    _check_decays("optimizer.schedule.arguments", schedule.arguments.items())


def _check_decays(key: str, arguments: Iterable[tuple[str, object]]) -> None:
    for name, value in arguments:
        if "decay" in name and isinstance(value, int | float):
            _require(0 <= value < inf, f"{key}.{name}", value, "0 or more, and finite")


def _check_training(training: Training, data: Data) -> None:
    _counts("training", 1, epochs=training.epochs, batch_size=training.batch_size)
    _counts("training", 0, patience=training.patience, chunk_steps=training.chunk_steps)
    epsilon, change = training.label_smoothing, training.min_change
    what = "a probability in [0, 1)"
    _require(0 <= epsilon < 1, "training.label_smoothing", epsilon, what)
    _require(0 <= change < inf, "training.min_change", change, "0 or more, and finite")
    if training.patience == 0:
        what = "0 without training.patience"
        _require(change == 0, "training.min_change", change, what)
    elif data.validation == 0:
        what = "0 without validation samples (data.validation is 0)"
        _require(False, "training.patience", training.patience, what)


def _check_records(records: Records) -> None:
    _counts(
        "records", 1, checkpoint_epochs=records.checkpoint_epochs, keep=records.keep
    )
    seconds = records.checkpoint_seconds
    _require(seconds > 0, "records.checkpoint_seconds", seconds, "positive")


def _check_sweep(sweep: Sweep, settings: Settings) -> None:
    """Every value must work by itself, at the key it is for."""
    _counts("sweep", 1, seeds=sweep.seeds)
    single = replace(settings, sweep=Sweep())
    for key, values in sweep.values.items():
        _require(len(values) > 0, f"sweep.values.{key}", values, "one number or more")
        for value in values:
            check_settings(with_value(single, key, value))


def _counts(table: str, least: int, **counts: int) -> None:
    for key, count in counts.items():
        what = f"in [{least}, 2**31)" if count >= _COUNT else f"{least} or more"
        _require(least <= count < _COUNT, f"{table}.{key}", count, what)
