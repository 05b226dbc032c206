"""Parameters of four dtypes: what keeps the dtype, what is wider, what overflows."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    GRADIENT,
    JAX_NN,
    assert_close,
    assert_equal,
    batch,
    error_in_terms,
    network,
    plain_value_and_grad,
    term_sizes,
)

from handgrad import (
    Layer,
    deltas,
    forward,
    input_gradient,
    loss,
    predict_proba,
    value_and_grad,
)

SIZES = (3, 5, 4, 3)
DTYPES = ("float16", "bfloat16", "float32", "float64")

every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def dtypes(tree: Any) -> set[str]:
    return {leaf.dtype.name for leaf in jax.tree.leaves(tree)}


def wide(dtype: str) -> str:
    return "float64" if dtype == "float64" else "float32"


@every_dtype
@pytest.mark.parametrize("name", JAX_NN)
def test_gradients_keep_the_dtype_and_the_loss_is_wide(name: str, dtype: Any) -> None:
    params, data = network(SIZES, dtype=dtype), batch(SIZES, 4, dtype=dtype)
    for targets in (
        data.labels,
        data.distribution,
        data.distribution.astype("float32"),
    ):
        for options in ({}, {"weights": data.weights, "masks": data.masks}):
            options = {"activation": name, **options}
            arguments = params, data.x, targets
            by_hand = functools.partial(value_and_grad, **options)
            value, grads = jax.eval_shape(by_hand, *arguments)
            alone = jax.eval_shape(functools.partial(loss, **options), *arguments)
            assert value.dtype == alone.dtype == wide(dtype)
            assert dtypes(grads) == {dtype}


@every_dtype
@pytest.mark.parametrize("name", JAX_NN)
def test_the_steps_keep_the_dtype_and_probabilities_are_wide(
    name: str, dtype: Any
) -> None:
    params, data = network(SIZES, dtype=dtype), batch(SIZES, 4, dtype=dtype)

    def steps(params: Any, x: Any) -> Any:
        trace = forward(params, x, activation=name, masks=data.masks)
        errors = deltas(params, trace, data.labels, weights=data.weights)
        below = input_gradient(params, trace, errors)
        narrow = trace.layer_inputs, errors.layers, below
        return narrow, (errors.total, errors.scale, errors.loss_scale)

    narrow, (total, scale, loss_scale) = jax.eval_shape(steps, params, data.x)
    assert dtypes(narrow) == {dtype}
    assert total.dtype == scale.dtype == wide(dtype)
    assert (loss_scale is None) == (dtype != "float16")
    predict = functools.partial(predict_proba, activation=name)
    assert jax.eval_shape(predict, params, data.x).dtype == wide(dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_rounds_no_worse_than_jax(dtype: Any) -> None:
    """At most one bit more than jax.grad's worst, over one network per activation."""
    by_jax, handmade = [], []
    for seed, name in enumerate(JAX_NN):
        params, data = network(SIZES, seed, dtype), batch(SIZES, 4, seed, dtype)
        exact_params, x = jax.tree.map(lambda v: v.astype("float64"), (params, data.x))
        ones = tuple(jnp.ones((4, n)) for n in SIZES[:-1])
        rest = jnp.eye(3)[data.labels], jnp.ones(4), ones
        _, exact = plain_value_and_grad(name, exact_params, x, *rest)
        unit = term_sizes(name, exact_params, x, *rest)
        for errors, function in (
            (by_jax, jax.value_and_grad(loss)),
            (handmade, value_and_grad),
        ):
            _, grads = function(params, data.x, data.labels, activation=name)
            errors.append(error_in_terms(grads, exact, unit))
    assert max(handmade) <= 2 * max(by_jax)


def test_more_samples_than_float16_can_count_are_averaged() -> None:
    """70,000 is infinite in float16; so is the sum of what is averaged."""
    params = (Layer(jnp.zeros((1, 2), "float16"), jnp.zeros(2, "float16")),)
    x, labels = jnp.full((70_000, 1), 4, "float16"), jnp.zeros(70_000, "int32")
    for weights in (None, np.ones(70_000, "int32"), np.ones(70_000, "float16")):
        value, (grads,) = value_and_grad(params, x, labels, weights=weights)
        assert abs(float(value) - np.log(2)) <= 1e-4  # float32 added up 70,000 times
        assert_equal(grads.weight, jnp.array([[-2, 2]], "float16"))
        assert_equal(grads.bias, jnp.array([-0.5, 0.5], "float16"))


def test_the_loss_of_large_float16_logits_does_not_overflow() -> None:
    params = (Layer(jnp.array([[6e4, -6e4]], "float16"), jnp.zeros(2, "float16")),)
    x, labels = jnp.ones((1, 1), "float16"), jnp.array([1])
    value, (grads,) = value_and_grad(params, x, labels)
    assert_equal(value, jnp.float32(2 * np.float16(6e4).astype("float32")))
    assert_equal(grads.weight, jnp.array([[1, -1]], "float16"))


def test_float32_works_under_the_defaults_of_jax() -> None:
    """No x64, standard promotion: what a user has who sets nothing."""
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        params, data = network(SIZES, dtype="float32"), batch(SIZES, 4, dtype="float32")
        options = {"weights": data.weights, "masks": data.masks}
        arguments = params, data.x, data.labels
        value, grads = value_and_grad(*arguments, **options)
        assert dtypes((value, grads)) == {"float32"}
    exact = network(SIZES), *batch(SIZES, 4)[:2]
    options = {"weights": batch(SIZES, 4).weights, "masks": batch(SIZES, 4).masks}
    expected = value_and_grad(*exact, **options)
    came = jax.tree.map(lambda v: jnp.asarray(v, "float64"), (value, grads))
    assert_close(came, expected, 1e-5)  # 32 roundings of float32 and their cancellation


def test_float64_is_exact_beyond_float32() -> None:
    """A difference of 1e-9 in a weight shows in the loss."""
    params, data = network(SIZES), batch(SIZES, 4)
    (weight, bias), *rest = params
    moved = (Layer(weight.at[0, 0].add(1e-9), bias), *rest)
    arguments = data.x, data.labels
    difference = loss(moved, *arguments) - loss(params, *arguments)
    slope = value_and_grad(params, *arguments)[1][0].weight[0, 0]
    assert abs(difference / 1e-9 - slope) <= 1e-5 * abs(slope) + GRADIENT


@pytest.mark.parametrize("scale", [2.0**-30, 2.0**20])
def test_the_scale_of_weights_costs_float16_nothing(scale: float) -> None:
    params, data = network(SIZES, dtype="float16"), batch(SIZES, 4, dtype="float16")
    arguments = params, data.x, data.labels
    weights = jnp.array([0.5, 1.0, 2.0, 0.0], "float32")
    expected = value_and_grad(*arguments, weights=weights)
    assert_equal(value_and_grad(*arguments, weights=scale * weights), expected)
    assert all(np.any(np.asarray(leaf) != 0) for leaf in jax.tree.leaves(expected))
