"""Targets, weights and masks of a minibatch, and the check of its gradient."""

from dataclasses import replace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import handgrad
from handgrad.training import Dataset, Settings, TrainingError
from handgrad.training.objective import (
    Objective,
    check_gradient_by_hand,
    loss_arguments,
    make_objective,
)

PLAIN = Objective("relu", (1.0, 1.0, 1.0), 0.0, 0.0, 0.0)
PARAMS = handgrad.init(jax.random.key(0), (4, 5, 3))
X = jax.random.normal(jax.random.key(1), (6, 4))
Y = jnp.array([0, 1, 2, 0, 1, 0])
KEY = jax.random.key(2)


def test_balanced_classes_weigh_the_same_in_sum(settings: Settings) -> None:
    training = replace(settings.training, class_weights="balanced")
    y = np.array([0, 0, 0, 2])
    weights = make_objective(settings.model, training, y, classes=3).class_weights
    # m / (C m_c) with m = 4 and C = 3; the class that is nowhere counts as one sample.
    assert weights == pytest.approx((4 / 9, 4 / 3, 4 / 3))


def test_unweighted_classes_weigh_1(settings: Settings, data: Dataset) -> None:
    objective = make_objective(settings.model, settings.training, data.train.y, 3)
    assert objective == Objective("relu", (1.0, 1.0, 1.0), 0.0, 0.0, 0.0)


def test_the_plain_objective_is_the_mean_loss() -> None:
    arguments = loss_arguments(PLAIN, PARAMS, Y)
    assert arguments["masks"] is None
    np.testing.assert_allclose(
        handgrad.loss(PARAMS, X, **arguments), handgrad.loss(PARAMS, X, Y), rtol=1e-6
    )


def test_smoothing_weights_and_masks_are_those_of_the_network_room() -> None:
    objective = Objective("tanh", (1.0, 2.0, 3.0), 0.1, 0.2, 0.5)
    present = jnp.array([1.0, 1, 1, 1, 0, 0])
    arguments = loss_arguments(objective, PARAMS, Y, present=present, key=KEY)
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
    arguments = loss_arguments(PLAIN, PARAMS, Y, present=present)
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


@pytest.mark.parametrize(
    "objective",
    [PLAIN, Objective(("gelu",), (1.0, 2.0, 3.0), 0.1, 0.2, 0.5)],
    ids=["plain", "everything"],
)
def test_the_check_passes_and_names_every_leaf(objective: Objective) -> None:
    arguments = loss_arguments(objective, PARAMS, Y, key=KEY)
    report = check_gradient_by_hand(PARAMS, X, arguments)
    for leaf in ("[0].weight", "[0].bias", "[1].weight", "[1].bias"):
        assert leaf in report


def test_a_wrong_gradient_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*args: Any, **options: Any) -> Any:
        value, grads = right(*args, **options)
        return value, jax.tree.map(lambda g: 1.01 * g, grads)

    right = handgrad.value_and_grad
    monkeypatch.setattr(handgrad, "value_and_grad", wrong)
    with pytest.raises(TrainingError, match="`gradient` by hand must equal jax.grad"):
        check_gradient_by_hand(PARAMS, X, loss_arguments(PLAIN, PARAMS, Y))
