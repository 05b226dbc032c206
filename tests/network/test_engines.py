"""Engines that others wrote: scikit-learn's backpropagation, a published network,
and Optax walking with either gradient."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import ENGINE, GRADIENT, assert_close, batch, network, plain_value_and_grad
from sklearn.neural_network import MLPClassifier

from handgrad import Layer, forward, loss, value_and_grad

SKLEARN = {
    "identity": "identity",
    "sigmoid": "logistic",
    "tanh": "tanh",
    "relu": "relu",
}
HIDDEN = (), (5,), (5, 1, 4)


def sklearn_backpropagation(
    activation: str, params: Any, x: Any, distribution: Any, weights: Any
) -> tuple[Any, Any]:
    """Loss and gradient of scikit-learn's numpy code, for given parameters."""
    engine: Any = MLPClassifier(activation=activation, alpha=0)
    engine.n_layers_, engine.out_activation_ = len(params) + 1, "softmax"
    engine.coefs_ = [np.asarray(layer.weight) for layer in params]
    engine.intercepts_ = [np.asarray(layer.bias) for layer in params]
    empty = [[None] * len(params) for _ in range(3)]
    values = [np.asarray(x)] + [None] * len(params)
    value, weight_grads, bias_grads = engine._backprop(
        np.asarray(x), np.asarray(distribution), weights, values, *empty
    )
    return np.float64(value), tuple(map(Layer, weight_grads, bias_grads))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("name", SKLEARN)
def test_gradient_is_that_of_scikit_learn(
    name: str, hidden: Any, weighted: bool
) -> None:
    """24 networks."""
    sizes = (4, *hidden, 3)
    params, data = network(sizes, seed=len(hidden)), batch(sizes, 6)
    weights = data.weights if weighted else None
    came = value_and_grad(
        params, data.x, data.distribution, activation=name, weights=weights
    )
    expected = sklearn_backpropagation(
        SKLEARN[name],
        params,
        data.x,
        data.distribution,
        np.asarray(weights) if weighted else None,
    )
    assert_close(came, expected, ENGINE)


def cs231n() -> tuple[Any, Any, Any]:
    """The toy network of Stanford's CS231n, assignment 1, built from its two seeds."""
    random = np.random.RandomState(0)
    first, second = (0.1 * random.randn(*shape) for shape in ((4, 10), (10, 3)))
    x = 10 * np.random.RandomState(1).randn(5, 4)
    params = tuple(
        Layer(jnp.asarray(weight), jnp.zeros(weight.shape[1]))
        for weight in (first, second)
    )
    return params, x, np.array([0, 1, 2, 2, 1])


def test_the_published_loss_and_scores_of_cs231n() -> None:
    """Published with 11 digits after the point, the scores with 8."""
    params, x, labels = cs231n()
    squares = sum(float(jnp.sum(layer.weight**2)) for layer in params)
    value = loss(params, x, labels) + 0.05 * squares
    assert abs(value - 1.30378789133) <= 0.5e-11
    scores = [
        [-0.81233741, -1.27654624, -0.70335995],
        [-0.17129677, -1.18803311, -0.47310444],
        [-0.51590475, -1.01354314, -0.8504215],
        [-0.15419291, -0.48629638, -0.52901952],
        [-0.00618733, -0.12435261, -0.15226949],
    ]
    difference = forward(params, x).logits - np.array(scores)
    assert np.max(np.abs(difference)) <= 0.5e-8


def test_the_gradient_of_cs231n_is_that_of_jax() -> None:
    params, x, labels = cs231n()
    rest = jnp.eye(3)[labels], jnp.ones(5), (jnp.ones((5, 4)), jnp.ones((5, 10)))
    _, expected = plain_value_and_grad("relu", params, x, *rest)
    assert_close(value_and_grad(params, x, labels)[1], expected, GRADIENT)


@pytest.mark.parametrize(
    "optimizer",
    [optax.sgd(0.3, momentum=0.9), optax.adam(0.03)],
    ids=["momentum", "adam"],
)
def test_twenty_steps_of_optax_stay_together(optimizer: Any) -> None:
    """The gradients differ by 1e-11 at most, and 20 steps add that up 20 times."""
    sizes = (3, 6, 4)
    data = batch(sizes, 12)
    one_hot = jnp.eye(4)[data.labels]
    ones = jnp.ones(12), tuple(jnp.ones((12, n)) for n in sizes[:-1])

    def by_hand(params: Any) -> Any:
        return value_and_grad(params, data.x, data.labels, activation="gelu")

    def by_jax(params: Any) -> Any:
        return plain_value_and_grad("gelu", params, data.x, one_hot, *ones)

    def walk(value_and_grad: Any) -> tuple[list[Any], Any]:
        params = network(sizes)
        state, losses = optimizer.init(params), []
        for _ in range(20):
            value, grads = value_and_grad(params)
            losses.append(value)
            updates, state = optimizer.update(grads, state, params)
            params = optax.apply_updates(params, updates)
        return losses, params

    with jax.numpy_dtype_promotion("standard"):  # Optax raises a float to an int
        (losses, params), expected = walk(by_hand), walk(by_jax)
    assert_close((losses, params), expected, 20 * GRADIENT)
    assert losses[-1] < 0.8 * losses[0]


def test_there_are_at_least_sixteen_networks_for_scikit_learn() -> None:
    assert len(list(itertools.product(SKLEARN, HIDDEN, (False, True)))) >= 16
