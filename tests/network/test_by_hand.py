"""`loss_by_hand`: what JAX makes of it is the hand-derived rule, in every argument."""

import functools
import re
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    GRADIENT,
    SMOOTH,
    assert_close,
    assert_equal,
    batch,
    compiled,
    network,
)

from handgrad import loss, loss_by_hand, value_and_grad

SIZES = (3, 5, 4, 3)
ARGUMENTS = ("params", "x", "targets", "weights", "masks")
EACH = tuple(range(len(ARGUMENTS)))


def everything(name: Any = "tanh", sizes: Any = SIZES) -> tuple[Any, ...]:
    """The loss of every floating argument; one of the weights is 0."""
    data = batch(sizes, 6)
    arguments = (
        network(sizes),
        data.x,
        data.distribution,
        data.weights.at[2].set(0),
        data.masks,
    )
    return tuple(
        functools.partial(positional, function, name)
        for function in (loss_by_hand, loss)
    ), arguments


def positional(
    function: Any, name: str, params: Any, x: Any, q: Any, weights: Any, masks: Any
) -> Any:
    return function(params, x, q, activation=name, weights=weights, masks=masks)


def slopes(function: Any, *arguments: Any) -> Any:
    """The gradient in every argument."""
    return compiled(jax.grad(function, argnums=EACH))(*arguments)


def test_the_value_is_the_loss() -> None:
    (by_hand, plain), arguments = everything()
    assert_equal(compiled(by_hand)(*arguments), compiled(plain)(*arguments))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        *(("tanh", (3, 2)), ("tanh", (2, 1, 3)), ("relu", (2, 1, 3))),
        *((name, SIZES) for name in ("tanh", "relu", "gelu")),
    ],
)
def test_the_gradient_in_every_argument_is_that_of_jax(name: str, sizes: Any) -> None:
    """B4 and B5, B6, L1, L2 and D1."""
    (by_hand, plain), arguments = everything(name, sizes)
    came, expected = slopes(by_hand, *arguments), slopes(plain, *arguments)
    for argument, leaf, right in zip(ARGUMENTS, came, expected, strict=True):
        assert any(np.any(np.asarray(v)) for v in jax.tree.leaves(right)), argument
        assert_close(leaf, right, GRADIENT)


def test_the_gradient_is_that_of_value_and_grad_to_the_last_bit() -> None:
    """And not what autodiff would make of the loss."""
    (by_hand, _), arguments = everything()
    params, x, q, weights, masks = arguments

    def by_value_and_grad(params: Any) -> Any:
        options = {"activation": "tanh", "weights": weights, "masks": masks}
        return value_and_grad(params, x, q, **options)

    expected = compiled(by_value_and_grad)(params)
    came = compiled(lambda params: jax.value_and_grad(by_hand)(params, *arguments[1:]))
    assert_equal(came(params), expected)


def test_the_backward_pass_multiplies_by_its_cotangent() -> None:
    (by_hand, plain), arguments = everything()
    came, expected = (
        slopes(lambda *v, f=f: jnp.exp(-3.0 * f(*v)), *arguments)
        for f in (by_hand, plain)
    )
    assert_close(came, expected, GRADIENT)


def test_derivatives_in_rows_that_do_not_sum_to_1() -> None:
    (by_hand, plain), (params, x, q, *rest) = everything()
    q = q.at[0].set(0).at[1].multiply(3).at[3].add(-0.5)
    arguments = params, x, q, *rest
    assert_close(slopes(by_hand, *arguments), slopes(plain, *arguments), GRADIENT)


@pytest.mark.parametrize("dtype", [None, "int32", "uint8", "bool"])
def test_labels_and_whole_weights_have_no_gradient_and_the_rest_has(
    dtype: Any,
) -> None:
    params, data = network(SIZES), batch(SIZES, 6)
    weights = None if dtype is None else np.array([1, 0, 1, 1, 1, 1]).astype(dtype)

    def of(function: Any) -> Any:
        def objective(params: Any, x: Any) -> Any:
            masks = (None, data.masks[1], None)
            return function(params, x, data.labels, weights=weights, masks=masks)

        return compiled(jax.value_and_grad(objective, (0, 1)))(params, data.x)

    assert_close(of(loss_by_hand), of(loss), GRADIENT)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_the_gradient_in_integer_labels_is_float0_as_with_jax(dtype: str) -> None:
    params, data = network(SIZES), batch(SIZES, 6)
    labels, weights = data.labels.astype(dtype), jnp.array([1, 0, 2, 1, 1, 1])
    for argument in (labels, weights):

        def objective(v: Any, function: Any, w: Any = argument is weights) -> Any:
            if w:
                return function(params, data.x, labels, weights=v)
            return function(params, data.x, v, weights=weights)

        came, expected = (
            jax.grad(functools.partial(objective, function=f), allow_int=True)(argument)
            for f in (loss_by_hand, loss)
        )
        assert came.dtype == expected.dtype == jax.dtypes.float0
        assert came.shape == expected.shape


@pytest.mark.parametrize("label", [-1, 7])
def test_padding_spoils_no_derivative(label: int) -> None:
    """A row of weight 0 with a label that is none, and features that are not finite.

    The derivative in its weight is -J / sum w for both: it has no loss to count.
    """
    params, data = network(SIZES), batch(SIZES, 6)
    weights = data.weights.at[2].set(0)
    x = data.x.at[2].set(jnp.inf)
    labels = data.labels.at[2].set(label)

    def of(function: Any) -> Any:
        def objective(params: Any, x: Any, weights: Any, masks: Any) -> Any:
            return function(params, x, labels, weights=weights, masks=masks)

        arguments = params, x, weights, data.masks
        return compiled(jax.grad(objective, argnums=(0, 1, 2, 3)))(*arguments)

    came = of(loss_by_hand)
    assert_close(came, of(loss), GRADIENT)
    value = loss(params, x, labels, weights=weights, masks=data.masks)
    assert_close(came[2][2], -value / jnp.sum(weights), GRADIENT)


def test_padding_may_overflow_within_the_network() -> None:
    """Finite features of weight 0 whose a_1 is infinite; jax.grad(loss) has NaN."""
    params, data = network(SIZES), batch(SIZES, 6)
    weights = data.weights.at[2].set(0)
    large = jax.tree.map(lambda leaf: 10.0 * leaf, params)

    def of(x: Any) -> Any:
        def objective(params: Any, x: Any, weights: Any, masks: Any) -> Any:
            return loss_by_hand(
                params, x, data.labels, activation="relu", weights=weights, masks=masks
            )

        masks = tuple(jnp.ones_like(mask) for mask in data.masks)
        arguments = large, x, weights, masks
        return compiled(jax.grad(objective, argnums=(0, 1, 2, 3)))(*arguments)

    kept = np.array([0, 1, 3, 4, 5])
    (grads, *rows), (plain, *others) = (
        of(data.x.at[2].set(padding)) for padding in (1e308, 1.0)
    )
    assert_equal(grads, plain)
    for came, right in zip(*map(jax.tree.leaves, (rows, others)), strict=True):
        assert_equal(came[kept], right[kept])
        assert jnp.all(jnp.isfinite(came))


@pytest.mark.parametrize("weights", [[0.0] * 6, [1.0, -1.0, 0.0, 0.0, 2.0, -2.0]])
def test_without_weight_every_derivative_is_exactly_0(weights: Any) -> None:
    (by_hand, _), (params, x, q, _, masks) = everything()
    arguments = params, x, q, jnp.array(weights), masks
    came = compiled(jax.value_and_grad(by_hand, argnums=EACH))(*arguments)
    assert_equal(came, jax.tree.map(jnp.zeros_like, (jnp.float64(0), arguments)))


OTHERS = {
    "float16": ("float16", "float32", "float64"),
    "bfloat16": ("bfloat16", "float32"),
    "float32": ("float32", "float64"),
}
"""Dtypes of the targets and weights beside that of the network: its own, and wider."""


@pytest.mark.parametrize("dtype", OTHERS)
def test_derivatives_keep_the_dtype_of_what_they_are_of(dtype: str) -> None:
    data, params = batch(SIZES, 6, dtype=dtype), network(SIZES, dtype=dtype)
    by_hand, plain = (
        compiled(jax.grad(functools.partial(positional, f, "tanh"), argnums=EACH))
        for f in (loss_by_hand, loss)
    )
    for other in OTHERS[dtype]:
        arguments = (
            params,
            data.x,
            data.distribution.astype(other),
            data.weights.astype(other),
            data.masks,
        )
        came = by_hand(*arguments)
        chex.assert_trees_all_equal_shapes_and_dtypes(came, arguments)
        wide = jax.tree.map(lambda leaf: leaf.astype("float64"), arguments)
        expected = plain(*wide)
        # 16 roundings of the dtype: layers, sums and their cancellation.
        came = jax.tree.map(lambda leaf: leaf.astype("float64"), came)
        assert_close(came, expected, 16 * float(jnp.finfo(dtype).eps))


def test_the_derivative_in_masks_of_more_samples_than_float16_counts() -> None:
    """The power of two that float16 needs is itself beyond float16 here."""
    sizes, samples = (3, 2), 70_000
    params = network(sizes, dtype="float16")
    data = batch(sizes, samples, dtype="float16")

    def of(function: Any, *arguments: Any) -> Any:
        params, x, masks = arguments
        of_masks = jax.grad(lambda r: function(params, x, data.labels, masks=r))
        grads = compiled(of_masks)(masks)
        return np.asarray(grads[0], "float64")

    arguments = params, data.x, data.masks
    wide = jax.tree.map(lambda leaf: leaf.astype("float64"), arguments)
    came, exact = of(loss_by_hand, *arguments), of(loss, *wide)
    # Half a step of 2^-24, the least that float16 holds, and 8 roundings of 2^-11.
    assert np.max(np.abs(exact)) > 100 * 2**-24
    assert np.max(np.abs(came - exact)) <= 2**-25 + 2**-8 * np.max(np.abs(exact))


def test_jit_changes_nothing_and_traces_once() -> None:
    (by_hand, _), arguments = everything(sizes=(3, 2))
    gradient = jax.grad(by_hand, argnums=EACH)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def once(*arguments: Any) -> Any:
        return gradient(*arguments)

    for factor in (1.0, 0.5):
        scaled = jax.tree.map(lambda leaf, f=factor: f * leaf, arguments)
        assert_close(once(*scaled), gradient(*scaled), GRADIENT)


def test_vmap_is_one_network_at_a_time() -> None:
    (by_hand, plain), arguments = everything()
    stacked = jax.tree.map(lambda v: jnp.stack([v, 0.5 * v, 1.5 * v]), arguments)
    came = compiled(jax.vmap(jax.grad(by_hand, argnums=EACH)))(*stacked)
    alone = compiled(jax.grad(plain, argnums=EACH))
    for i in range(3):
        one = jax.tree.map(lambda v, i=i: v[i], stacked)
        assert_close(jax.tree.map(lambda v, i=i: v[i], came), alone(*one), GRADIENT)


def test_vmap_over_samples_gives_each_gradient() -> None:
    params, data = network(SIZES), batch(SIZES, 6)

    def one(x: Any, label: Any) -> Any:
        return jax.grad(loss_by_hand)(params, x[None], label[None])

    came = compiled(jax.vmap(one))(data.x, data.labels)
    alone = compiled(jax.grad(loss))
    for i in range(6):
        expected = alone(params, data.x[i : i + 1], data.labels[i : i + 1])
        assert_close(jax.tree.map(lambda v, i=i: v[i], came), expected, GRADIENT)


@pytest.mark.parametrize("names", [SMOOTH[:4], SMOOTH[4:]])
def test_reverse_over_reverse_is_the_hessian_vector_product_of_jax(names: Any) -> None:
    """In all arguments at once: jax.grad of the hand-written rule itself."""
    (by_hand, plain), arguments = everything(names, (3, 2, 2, 2, 2, 2))
    along = jax.tree.map(lambda v: jnp.cos(3.0 * v), arguments)

    def product(function: Any) -> Any:
        def slope(*arguments: Any) -> Any:
            grads = jax.grad(function, argnums=EACH)(*arguments)
            pairs = zip(jax.tree.leaves(grads), jax.tree.leaves(along), strict=True)
            return sum(jnp.vdot(*pair) for pair in pairs)

        return slopes(slope, *arguments)

    assert_close(product(by_hand), product(plain), GRADIENT)


def test_forward_over_reverse_is_the_hessian_of_jax() -> None:
    """The rule is made of what JAX can push forward: jax.hessian works."""
    (by_hand, plain), arguments = everything("tanh", (3, 2, 2))
    came = compiled(jax.hessian(by_hand))(*arguments)
    assert_close(came, compiled(jax.hessian(plain))(*arguments), GRADIENT)


def test_there_is_no_forward_mode() -> None:
    (by_hand, _), arguments = everything()
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(by_hand, arguments, arguments)


def test_one_activation_for_each_layer_is_static() -> None:
    (by_hand, plain), arguments = everything(("tanh", "gelu"))
    came = compiled(jax.grad(by_hand))(*arguments)
    assert_close(came, compiled(jax.grad(plain))(*arguments), GRADIENT)


def test_a_network_below_this_one_learns_through_the_inputs() -> None:
    params, data = network(SIZES), batch(SIZES, 6)
    below = network((3, 3), seed=5)[0].weight

    def of(function: Any) -> Any:
        def objective(w: Any) -> Any:
            return function(params, jnp.sin(data.x @ w), data.labels)

        return compiled(jax.grad(objective))(below)

    assert_close(of(loss_by_hand), of(loss), GRADIENT)


def test_what_does_not_fit_is_refused_before_anything_is_traced() -> None:
    params, data = network(SIZES), batch(SIZES, 6)
    text = "`weights` must have shape (6,), one per sample, got (5,)."
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        jax.grad(loss_by_hand)(params, data.x, data.labels, weights=data.weights[:5])
