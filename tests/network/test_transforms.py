"""`value_and_grad` is an ordinary function: jit, vmap, jvp and Hessians go through."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import GRADIENT, SMOOTH, assert_close, batch, network

from handgrad import deltas, forward, gradients, loss, value_and_grad

SIZES = (3, 4, 2)


def problem(name: str = "tanh") -> tuple[Any, Any, Any]:
    """Parameters, the hand-written (loss, gradient), and the loss that it is of."""
    data = batch(SIZES, 5)
    options = {"activation": name, "weights": data.weights, "masks": data.masks}
    arguments = data.x, data.distribution
    return (
        network(SIZES),
        lambda params: value_and_grad(params, *arguments, **options),
        lambda params: loss(params, *arguments, **options),
    )


def test_jit_changes_nothing() -> None:
    params, by_hand, of_loss = problem()
    assert_close(jax.jit(by_hand)(params), by_hand(params), GRADIENT)
    assert_close(jax.jit(of_loss)(params), of_loss(params), GRADIENT)


def test_jit_traces_once_for_other_values_of_the_same_shapes() -> None:
    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(params: Any, x: Any, labels: Any, weights: Any, masks: Any) -> Any:
        return value_and_grad(params, x, labels, weights=weights, masks=masks)

    for seed in range(3):
        data = batch(SIZES, 5, seed)
        step(network(SIZES, seed), data.x, data.labels, data.weights, data.masks)


def test_the_three_steps_trace_once() -> None:
    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(params: Any, x: Any, labels: Any) -> Any:
        trace = forward(params, x)
        return gradients(trace, deltas(params, trace, labels))

    for seed in range(3):
        data = batch(SIZES, 5, seed)
        step(network(SIZES, seed), data.x, data.labels)


def test_vmap_over_stacked_parameters_is_one_network_at_a_time() -> None:
    _, by_hand, _ = problem()
    each = [network(SIZES, seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    came = jax.jit(jax.vmap(by_hand))(stacked)
    expected = [by_hand(params) for params in each]
    assert_close(came, jax.tree.map(lambda *v: jnp.stack(v), *expected), GRADIENT)


def test_vmap_over_samples_gives_each_gradient() -> None:
    params, data = network(SIZES), batch(SIZES, 5)
    one = functools.partial(value_and_grad, params)
    came = jax.jit(jax.vmap(one))(data.x[:, None], data.labels[:, None])
    for i in range(5):
        expected = one(data.x[i : i + 1], data.labels[i : i + 1])
        assert_close(jax.tree.map(lambda v, i=i: v[i], came), expected, GRADIENT)


@pytest.mark.parametrize("name", SMOOTH)
def test_jvp_through_the_gradient_is_the_hessian_vector_product_of_jax(
    name: str,
) -> None:
    params, by_hand, of_loss = problem(name)
    tangent = network(SIZES, seed=1)

    def product(value_and_grad: Any) -> Any:
        return jax.jit(lambda p, v: jax.jvp(value_and_grad, (p,), (v,)))(
            params, tangent
        )

    expected = product(jax.value_and_grad(of_loss))
    assert_close(product(by_hand), expected, GRADIENT)


def test_jacfwd_of_the_gradient_is_the_hessian() -> None:
    params, by_hand, of_loss = problem()
    came = jax.jit(jax.jacfwd(lambda p: by_hand(p)[1]))(params)
    assert_close(came, jax.jit(jax.hessian(of_loss))(params), GRADIENT)


def test_jacrev_of_the_gradient_is_the_hessian() -> None:
    params, by_hand, of_loss = problem()
    came = jax.jit(jax.jacrev(lambda p: by_hand(p)[1]))(params)
    assert_close(came, jax.jit(jax.hessian(of_loss))(params), GRADIENT)


def test_the_gradient_of_the_loss_and_of_the_value_are_the_gradient() -> None:
    params, by_hand, of_loss = problem()
    _, expected = by_hand(params)
    of_value = jax.jit(jax.grad(lambda p: by_hand(p)[0]))
    assert_close(jax.jit(jax.grad(of_loss))(params), expected, GRADIENT)
    assert_close(of_value(params), expected, GRADIENT)


def test_it_goes_through_scan() -> None:
    params, by_hand, _ = problem()

    def step(params: Any, _: None) -> Any:
        value, grads = by_hand(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), value

    came, values = jax.lax.scan(step, params, None, length=3)
    for value in values:
        assert abs(value - by_hand(params)[0]) <= GRADIENT
        params, _ = step(params, None)
    assert_close(came, params, GRADIENT)
    assert np.all(np.diff(values) < 0)
