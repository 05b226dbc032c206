"""Targets, weights and masks of a minibatch, and the check of its gradient."""

from dataclasses import replace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import handgrad
from handgrad.training import Settings
from handgrad.training.engine.objective import (
    Objective,
    loss_arguments,
    make_objective,
    value_and_gradient,
)

PLAIN = Objective("relu", (1.0, 1.0, 1.0))
PARAMS = handgrad.init(jax.random.key(0), (4, 5, 3))
X = jax.random.normal(jax.random.key(1), (6, 4))
Y = jnp.array([0, 1, 2, 0, 1, 0])
KEY = jax.random.key(2)


def objective_of(settings: Settings, counts: list[int], **training: Any) -> Objective:
    made = replace(settings.training, **training)
    return make_objective(settings.model, made, settings.optimizer, np.array(counts))


def test_balanced_classes_weigh_the_same_in_sum(settings: Settings) -> None:
    found = objective_of(settings, [3, 0, 1], class_weights="balanced")
    # m / (C m_c) with m = 4 and C = 3; the class that is nowhere counts as one sample.
    assert found.class_weights == pytest.approx((4 / 9, 4 / 3, 4 / 3))


def test_the_settings_are_in_the_objective(settings: Settings) -> None:
    assert objective_of(settings, [3, 2, 1]) == PLAIN
    model = replace(settings.model, input_dropout=0.1, hidden_dropout=0.2)
    optimizer = replace(settings.optimizer, clip_samples=3.0)
    settings = replace(
        settings, model=replace(model, dtype="bfloat16"), optimizer=optimizer
    )
    assert objective_of(settings, [3, 2, 1], label_smoothing=0.3) == Objective(
        "relu", (1.0, 1.0, 1.0), 0.3, 0.1, 0.2, 3.0, "bfloat16"
    )


def test_unbounded_samples_clip_nothing() -> None:
    """A bound of 0 is none, also where it is traced, as in a sweep."""
    arguments = loss_arguments(PLAIN, PARAMS, Y)
    value = jax.jit(
        lambda bound: value_and_gradient(
            PLAIN._replace(clip_samples=bound), PARAMS, X, arguments
        )
    )
    plain = value_and_gradient(PLAIN, PARAMS, X, arguments)
    chex.assert_trees_all_close(value(0.0), plain, rtol=1e-5, atol=1e-6)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_close(value(0.1), plain, rtol=1e-5, atol=1e-6)


def test_the_plain_objective_is_the_mean_loss() -> None:
    arguments = loss_arguments(PLAIN, PARAMS, Y)
    assert arguments["masks"] is None
    np.testing.assert_allclose(
        handgrad.loss(PARAMS, X, **arguments), handgrad.loss(PARAMS, X, Y), rtol=1e-6
    )


def test_smoothing_weights_and_masks_are_those_of_the_network_room() -> None:
    objective = Objective("tanh", (1.0, 2.0, 3.0), 0.1, 0.2, 0.5)
    present = jnp.array([1.0, 1, 1, 1, 0, 0])
    arguments = loss_arguments(objective, PARAMS, Y, weights=present, key=KEY)
    assert arguments["activation"] == "tanh"
    np.testing.assert_array_equal(arguments["weights"], [1, 2, 3, 1, 0, 0])
    np.testing.assert_array_equal(
        arguments["targets"], handgrad.smooth_labels(Y, 3, 0.1)
    )
    chex.assert_trees_all_equal(
        arguments["masks"],
        handgrad.dropout_masks(KEY, PARAMS, 6, inputs=0.2, hidden=0.5),
    )


def test_padded_rows_contribute_nothing() -> None:
    present = jnp.array([1.0, 1, 1, 1, 0, 0])
    arguments = loss_arguments(PLAIN, PARAMS, Y, weights=present)
    rubbish = X.at[4:].set(1e30)
    chex.assert_trees_all_equal(
        handgrad.value_and_grad(PARAMS, X, **arguments),
        handgrad.value_and_grad(PARAMS, rubbish, **arguments),
    )


def test_autodiff_of_the_objective_gives_the_gradient_by_hand() -> None:
    objective = Objective(("gelu",), (1.0, 2.0, 3.0), 0.1, 0.2, 0.5)
    arguments = loss_arguments(objective, PARAMS, Y, key=KEY)
    value, by_hand = handgrad.value_and_grad(PARAMS, X, **arguments)
    twice, grads = jax.value_and_grad(
        lambda params: 2 * handgrad.loss_by_hand(params, X, **arguments)
    )(PARAMS)
    assert twice == 2 * value
    chex.assert_trees_all_equal(grads, jax.tree.map(lambda g: 2 * g, by_hand))
