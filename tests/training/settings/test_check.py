"""Every value that cannot work is refused by its key."""

from dataclasses import replace
from typing import Any

import pytest

from handgrad.training import Settings, TrainingError, check_settings


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
        ("seed", -1, "`seed` must be in [0, 2**32), got -1."),
        (
            "data.test",
            1.0,
            "`data.test` must be a share in [0, 1), where 0 holds out none, got 1.0.",
        ),
        ("data.validation", -0.1, "`data.validation` must be a share in [0, 1), where"),
        (
            "data.source",
            "idx",
            "`data.path` must be the folder of the samples (give it with --data.path",
        ),
        ("data.path", "x", "`data.path` must be left out: digits is no file, got 'x'."),
        ("model.hidden", (4, 0), "`model.hidden` must be widths of 1 or more, got 0."),
        ("model.activation", "rely", "name an activation, got 'rely'. Did you mean"),
        ("model.activation", ("relu",), "one per hidden layer (2), got ('relu',)."),
        ("model.input_dropout", 1.0, "`model.input_dropout` must be a probability in"),
        ("model.hidden_dropout", -0.1, "`model.hidden_dropout` must be a probability"),
        ("training.label_smoothing", 1.0, "`training.label_smoothing` must be a"),
        ("optimizer.learning_rate", 0.0, "`optimizer.learning_rate` must be positive"),
        (
            "optimizer.learning_rate",
            float("nan"),
            "must be positive in float32, got nan.",
        ),
        ("training.epochs", 0, "`training.epochs` must be 1 or more, got 0."),
        ("training.batch_size", 0, "`training.batch_size` must be 1 or more, got 0."),
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
