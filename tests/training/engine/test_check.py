"""The check in front of a run: with the objective of training, and able to fail."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import pytest

import handgrad
from handgrad.training import Dataset, Settings, TrainingError, prepare, start
from handgrad.training.engine.check import check_first_gradient


def test_every_leaf_is_checked_with_what_training_adds(
    settings: Settings, data: Dataset
) -> None:
    model = replace(settings.model, hidden_dropout=0.5)
    training = replace(settings.training, label_smoothing=0.1, class_weights="balanced")
    settings = replace(settings, model=model, training=training)
    run = prepare(settings, data)
    table = check_first_gradient(run, start(run), data.train)
    for path in ("[0].weight", "[0].bias", "[2].weight", "[2].bias"):
        assert path in table


def test_a_wrong_gradient_is_an_error(settings: Settings, data: Dataset) -> None:
    wrong = handgrad.Activation(jnp.tanh, lambda d, a: 1 + a**2)
    run = prepare(settings, data)
    objective: Any = run.step.objective._replace(activation=wrong)
    run = run._replace(step=run.step._replace(objective=objective))
    with pytest.raises(TrainingError, match="must equal jax.grad"):
        check_first_gradient(run, start(run), data.train)
