"""Identities that a gradient of L2 obeys whatever the network, and exact zeros."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    FLOAT32,
    GRADIENT,
    JAX_NN,
    assert_close,
    assert_equal,
    batch,
    network,
    plain_value_and_grad,
)

from handgrad import Layer, deltas, forward, gradients, loss, value_and_grad

SIZES = (3, 5, 4, 3)


@pytest.fixture
def params() -> Any:
    return network(SIZES)


@pytest.fixture
def data() -> Any:
    return batch(SIZES, 6)


def test_the_gradient_is_the_weighted_mean_of_those_of_each_sample(
    params: Any, data: Any
) -> None:
    total = value_and_grad(params, data.x, data.labels, weights=data.weights)
    each = [
        value_and_grad(params, data.x[i : i + 1], data.labels[i : i + 1])
        for i in range(len(data.x))
    ]
    mean = jax.tree.map(lambda *leaf: np.average(leaf, 0, data.weights), *each)
    assert_close(total, mean, GRADIENT)


def test_a_duplicated_batch_has_the_same_gradient(params: Any, data: Any) -> None:
    twice = [jnp.concatenate([leaf, leaf]) for leaf in (data.x, data.distribution)]
    expected = value_and_grad(params, data.x, data.distribution)
    assert_close(value_and_grad(params, *twice), expected, GRADIENT)


def test_the_order_of_samples_does_not_matter(params: Any, data: Any) -> None:
    def at(order: Any) -> Any:
        masks = tuple(mask[order] for mask in data.masks)
        options = {"weights": data.weights[order], "masks": masks}
        return value_and_grad(params, data.x[order], data.labels[order], **options)

    assert_close(at(np.array([3, 1, 5, 0, 4, 2])), at(np.arange(6)), GRADIENT)


def test_permuted_hidden_units_permute_the_gradient(params: Any, data: Any) -> None:
    order = np.array([2, 0, 4, 1, 3])

    def permuted(tree: Any) -> Any:
        (w1, b1), (w2, b2), last = tree
        return Layer(w1[:, order], b1[order]), Layer(w2[order], b2), last

    value, grads = value_and_grad(params, data.x, data.labels)
    came = value_and_grad(permuted(params), data.x, data.labels)
    assert_close(came, (value, permuted(grads)), GRADIENT)


def test_a_shift_of_all_logits_changes_nothing(params: Any, data: Any) -> None:
    shifted = (*params[:-1], params[-1]._replace(bias=params[-1].bias + 7.0))
    expected = value_and_grad(params, data.x, data.labels)
    assert_close(value_and_grad(shifted, data.x, data.labels), expected, GRADIENT)


def test_the_gradient_of_the_last_layer_sums_to_0_over_classes(
    params: Any, data: Any
) -> None:
    _, grads = value_and_grad(params, data.x, data.labels)
    assert np.max(np.abs(np.sum(grads[-1].weight, axis=1))) <= GRADIENT
    assert abs(np.sum(grads[-1].bias)) <= GRADIENT


def test_a_whole_number_of_weight_is_that_many_samples(params: Any, data: Any) -> None:
    counts = np.array([1, 0, 3, 2, 0, 1])
    repeated = (np.repeat(leaf, counts, axis=0) for leaf in (data.x, data.labels))
    expected = value_and_grad(params, *repeated)
    came = value_and_grad(params, data.x, data.labels, weights=counts)
    assert_close(came, expected, GRADIENT)


@pytest.mark.parametrize("dtype", [bool, "int32", "uint8", "float32", "float16"])
def test_weights_of_any_real_dtype_are_the_same(
    params: Any, data: Any, dtype: Any
) -> None:
    mask = np.array([1, 0, 1, 1, 0, 1])
    expected = value_and_grad(params, data.x, data.labels, weights=mask.astype(float))
    came = value_and_grad(params, data.x, data.labels, weights=mask.astype(dtype))
    assert_equal(came, expected)


def test_only_the_proportions_of_weights_matter(params: Any, data: Any) -> None:
    expected = value_and_grad(params, data.x, data.labels, weights=data.weights)
    came = value_and_grad(params, data.x, data.labels, weights=4 * data.weights)
    assert_equal(came, expected)  # a power of 2 rounds nothing


def test_a_sample_of_weight_0_contributes_exactly_nothing(
    params: Any, data: Any
) -> None:
    weights = data.weights.at[2].set(0)
    expected = value_and_grad(params, data.x, data.labels, weights=weights)
    other_x, other_label = data.x.at[2].set(1e3), data.labels.at[2].add(1) % 3
    came = value_and_grad(params, other_x, other_label, weights=weights)
    assert_equal(came, expected)


@pytest.mark.parametrize("label", [-1, -100, 3])
def test_padding_may_have_any_label(params: Any, data: Any, label: int) -> None:
    weights = data.weights.at[2].set(0)
    padded = data.labels.at[2].set(label)
    for function in (loss, value_and_grad, jax.grad(loss)):
        expected = function(params, data.x, data.labels, weights=weights)
        came = function(params, data.x, padded, weights=weights)
        assert_equal(came, expected)


@pytest.mark.parametrize("weights", [[0.0] * 6, [1.0, -1.0, 0.0, 0.0, 2.0, -2.0]])
def test_without_weight_loss_and_gradient_are_exactly_0(
    params: Any, data: Any, weights: Any
) -> None:
    value, grads = value_and_grad(params, data.x, data.labels, weights=weights)
    assert_equal((value, grads), jax.tree.map(jnp.zeros_like, (value, params)))
    assert loss(params, data.x, data.labels, weights=weights) == 0


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_gives_nan_and_not_a_class(
    params: Any, data: Any, label: int
) -> None:
    labels = data.labels.at[0].set(label)
    value, grads = value_and_grad(params, data.x, labels)
    assert jnp.isnan(value)
    assert all(jnp.all(jnp.isnan(leaf)) for leaf in grads[-1])
    top = deltas(params, forward(params, data.x), labels).layers[-1]
    assert jnp.all(jnp.isnan(top[0]))
    assert jnp.all(jnp.isfinite(top[1:]))


@pytest.mark.parametrize("name", JAX_NN)
def test_at_pre_activations_of_exactly_0_the_gradient_is_that_of_jax_nn(
    name: str,
) -> None:
    """A blank input and zero biases put every hidden unit at its kink."""
    params = tuple(Layer(w, jnp.zeros_like(b)) for w, b in network((3, 4, 2)))
    x, labels = jnp.zeros((1, 3)), jnp.array([1])
    rest = jnp.eye(2)[labels], jnp.ones(1), (jnp.ones((1, 3)), jnp.ones((1, 4)))
    expected = plain_value_and_grad(name, params, x, *rest)
    came = value_and_grad(params, x, labels, activation=name)
    assert_close(came, expected, GRADIENT)


def test_logits_of_1e4_give_a_finite_and_right_gradient_in_float32() -> None:
    layer = Layer(jnp.array([[1e4, -1e4]], "float32"), jnp.zeros(2, "float32"))
    x, labels = jnp.array([[1], [-1]], "float32"), jnp.array([1, 1])
    with jax.debug_nans(True):
        value, (grads,) = value_and_grad((layer,), x, labels)
    # Losses 20000 and 0, deltas (1, -1) and (0, 0).
    assert_close(value, jnp.float32(1e4), FLOAT32)
    assert_equal(grads.weight, jnp.array([[0.5, -0.5]], "float32"))
    assert_equal(grads.bias, jnp.array([0.5, -0.5], "float32"))


def test_inputs_are_left_unchanged(params: Any, data: Any) -> None:
    arguments = jax.tree.map(np.array, (params, data))
    before = jax.tree.map(np.copy, arguments)
    params, data = arguments
    options = {"weights": data.weights, "masks": data.masks}
    value_and_grad(params, data.x, data.distribution, **options)
    trace = forward(params, data.x, masks=data.masks)
    gradients(trace, deltas(params, trace, data.labels))
    chex.assert_trees_all_equal(arguments, before)
