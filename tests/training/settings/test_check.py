"""Every value that cannot work is refused by its key."""

from dataclasses import replace
from typing import Any

import pytest

from handgrad.training import Settings, TrainingError, check_settings
from handgrad.training.settings import Data, Model, Schedule, Training, with_value


def changed(settings: Settings, key: str, value: Any) -> Settings:
    """The settings with one dotted key set."""
    table, _, name = key.rpartition(".")
    if not table:
        return replace(settings, **{name: value})
    inner = replace(getattr(settings, table), **{name: value})
    return replace(settings, **{table: inner})


def test_the_settings_of_the_fixtures_pass(settings: Settings) -> None:
    check_settings(settings)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", "", "`name` must be a folder's name, got ''."),
        ("name", "a/b", "`name` must be a folder's name, got 'a/b'."),
        ("name", "..", "`name` must be a folder's name, got '..'."),
        ("seed", -1, "`seed` must be an integer >= 0, got -1."),
        (
            "data.test",
            1.0,
            "`data.test` must be a number < 1.0, got 1.0.",
        ),
        ("data.validation", -0.1, "`data.validation` must be a number >= 0.0"),
        (
            "data.source",
            "idx",
            "`data.path` must be the folder of the samples (give it with --data.path",
        ),
        ("data.path", "x", "`data.path` must be left out: digits is no file, got 'x'."),
        ("model.hidden", (4, 0), "`model.hidden[1]` must be an integer >= 1, got 0."),
        ("model.activation", "rely", "name an activation, got 'rely'. Did you mean"),
        ("model.activation", ("relu",), "one per hidden layer (2), got ('relu',)."),
        ("model.input_dropout", 1.0, "`model.input_dropout` must be a number < 1.0"),
        (
            "model.hidden_dropout",
            -0.1,
            "`model.hidden_dropout` must be a number >= 0.0",
        ),
        (
            "training.label_smoothing",
            1.0,
            "`training.label_smoothing` must be a number < 1",
        ),
        ("optimizer.learning_rate", 0.0, "must be a number >= 1.2e-38, got 0.0."),
        (
            "optimizer.learning_rate",
            float("nan"),
            "number >= 1.2e-38, got nan.",
        ),
        ("training.epochs", 0, "`training.epochs` must be an integer >= 1, got 0."),
        (
            "training.batch_size",
            0,
            "`training.batch_size` must be an integer >= 1, got",
        ),
        ("name", "a\0b", "`name` must be a folder's name, got 'a\\x00b'."),
        ("name", "n" * 300, "`name` must be a folder's name, got 'nnn"),
        ("data.source", "digit", "got 'digit'. Did you mean 'digits'?"),
        ("data.source", "openml:", "`data.source` must be digits, iris"),
        ("data.label", 3, "`data.label` must be left out: digits takes none, got 3."),
        ("data.missing", "mean", "`data.missing` must be left out: digits takes none"),
        ("data.header", "no", "`data.header` must be left out: digits takes none"),
        ("data.test_path", "x", "`data.test_path` must be left out: digits is no file"),
        ("data.divisor", 255.0, "`data.divisor` must be 0 where data.scaling is 'stan"),
        ("data.scaling", "constant", "`data.divisor` must be positive where data.sca"),
        ("data.classes", ("a", "a"), "names of two or more classes, each once, got"),
        ("data.split_seed", 2**32, "`data.split_seed` must be an integer <= 42949672"),
        ("model.hidden", (10**400,), "must be an integer <= 2147483647, got 1000000"),
        ("model.hidden", (10**6, 10**6), "must be widths whose weights fit "),
        ("model.dtype", "float16", "'float32' or 'bfloat16', got 'float16'."),
        ("optimizer.learning_rate", 1e-60, "must be a number >= 1.2e-38, got 1e-60."),
        ("optimizer.learning_rate", 1e60, "must be a number <= 3.4e+38, got 1e+60."),
        (
            "optimizer.weight_decay",
            -0.1,
            "`optimizer.weight_decay` must be a number >=",
        ),
        (
            "optimizer.arguments",
            {"weight_decay": -1},
            "`optimizer.arguments.weight_dec",
        ),
        ("optimizer.clip_norm", float("inf"), "must be a number <= 3.4e+38, got inf."),
        ("optimizer.accumulate", 0, "`optimizer.accumulate` must be an integer >= 1"),
        ("optimizer.average", 1.0, "`optimizer.average` must be a number < 1.0"),
        (
            "optimizer.schedule",
            Schedule(epochs=3),
            "constant_schedule, which has no len",
        ),
        ("training.min_change", 0.1, "`training.min_change` must be 0 without a patie"),
        ("training.epochs", "3", "`training.epochs` must be an integer, got '3'."),
        ("records.keep", 0, "`records.keep` must be an integer >= 1, got 0."),
        ("records.checkpoint_seconds", 0.0, "must be a number >= 1.2e-38, got 0.0."),
        ("sweep.seeds", 0, "`sweep.seeds` must be an integer >= 1, got 0."),
        (
            "sweep.values",
            {"seed": []},
            "`sweep.values.seed` must be one number or more",
        ),
        (
            "sweep.values",
            {"sed": [1.0]},
            "name a numeric setting, got sed. Did you mean",
        ),
        (
            "sweep.values",
            {"name": [1.0]},
            "`sweep.values.name` must name a numeric set",
        ),
        (
            "sweep.values",
            {"seed": [0.5]},
            "and a whole number where it counts something",
        ),
        (
            "sweep.values",
            {"optimizer.average": [2.0]},
            "`optimizer.average` must be a n",
        ),
    ],
)
def test_a_value_that_cannot_work_is_refused(
    settings: Settings, key: str, value: Any, message: str
) -> None:
    with pytest.raises(TrainingError) as refused:
        check_settings(changed(settings, key, value))
    assert message in str(refused.value)


def test_one_activation_per_hidden_layer_passes(settings: Settings) -> None:
    check_settings(changed(settings, "model.activation", ("relu", "tanh")))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            Data("idx", "x", test=0.2),
            "`data.test` must be left out: idx brings test sam",
        ),
        (
            Data("csv", "x", test_path="y", test=0.2),
            "left out: csv brings test samples",
        ),
        (
            Data("csv", "x", validation_path="y", validation=0.0),
            "`data.validation` must",
        ),
        (Data("idx", "x", test_path="y"), "must be left out: idx takes none, got 'y'."),
        (Data("csv", "a\0b"), "`data.path` must be a path, without a null byte"),
        (Data("csv"), "`data.path` must be the file of the samples (give it with"),
        (
            Data("npz", "x", ignored=("a",)),
            "`data.ignored` must be left out: npz takes",
        ),
        (
            Data("openml:iris", label=3),
            "`data.label` must be left out: openml:iris take",
        ),
    ],
)
def test_what_a_source_cannot_do_is_refused(
    settings: Settings, data: Data, message: str
) -> None:
    with pytest.raises(TrainingError) as refused:
        check_settings(replace(settings, data=data))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Model((), hidden_dropout=0.5), "`model.hidden_dropout` must be 0 without hid"),
        (
            Model((), "tanh"),
            "`model.activation` must be left out without hidden layers",
        ),
    ],
)
def test_what_needs_hidden_layers_is_refused_without(
    settings: Settings, model: Model, message: str
) -> None:
    with pytest.raises(TrainingError) as refused:
        check_settings(replace(settings, model=model))
    assert message in str(refused.value)


def test_patience_needs_validation_samples(settings: Settings) -> None:
    training = Training(epochs=3, batch_size=16, patience=2)
    check_settings(replace(settings, training=training))
    none = replace(settings, training=training, data=Data("digits", validation=0.0))
    with pytest.raises(
        TrainingError, match=r"`training.patience` must be 0 without va"
    ):
        check_settings(none)


@pytest.mark.parametrize(
    "data",
    [
        Data("csv", "x", label="y", missing="mean", categorical=("*",)),
        Data("csv", "x", test_path="y", validation_path="z"),
        Data("openml:iris:1", ignored=("a",)),
        Data("digits", scaling="constant", divisor=16.0, test=0.0),
    ],
)
def test_what_a_source_can_do_passes(settings: Settings, data: Data) -> None:
    check_settings(replace(settings, data=data))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 3),
        ("optimizer.learning_rate", 0.5),
        ("optimizer.arguments.b1", 0.8),
        ("optimizer.schedule.warmup_steps", 5),
        ("data.validation", 0.3),
    ],
)
def test_a_sweep_sets_one_value(settings: Settings, key: str, value: float) -> None:
    came: Any = with_value(settings, key, value)
    check_settings(came)
    for name in key.split("."):
        came = came[name] if isinstance(came, dict) else getattr(came, name)
    assert came == value
    assert type(came) is type(value)
