"""Initial parameters: scale, distribution, keys, dtypes, and what is refused."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import EQUATION, assert_close, assert_equal

from handgrad import Activation, Layer, as_params, init, predict_proba

KEY = jax.random.key(0)


def assert_variance(weight: Any, expected: float) -> None:
    """Within 5 standard errors of a normal variance; a cut normal has a smaller one."""
    weight = np.asarray(weight, "float64")
    standard_error = expected * (2 / weight.size) ** 0.5
    assert abs(np.mean(weight**2) - expected) <= 5 * standard_error
    assert abs(np.mean(weight)) <= 5 * (expected / weight.size) ** 0.5


@pytest.mark.parametrize(
    ("activation", "variance"),
    [
        ("relu", 2 / 300),
        ("gelu", 2 / 300),
        ("selu", 1 / 300),
        ("identity", 1 / 300),
        ("tanh", 2 / 500),
        ("sigmoid", 2 / 500),
    ],
)
def test_variance_follows_the_activation(activation: str, variance: float) -> None:
    hidden, output = init(KEY, (300, 200, 100), activation=activation)
    assert_variance(hidden.weight, variance)
    assert_variance(output.weight, 1 / 200)


def test_variance_follows_an_activation_of_the_user_and_its_layer() -> None:
    sine = Activation(jnp.sin, lambda d, a: jnp.cos(d), scale="lecun")
    params = init(KEY, (300, 200, 100, 10), activation=[sine, "relu"])
    assert_variance(params[0].weight, 1 / 300)
    assert_variance(params[1].weight, 2 / 200)
    assert_variance(params[2].weight, 1 / 100)


def test_weights_are_cut_at_two_standard_deviations() -> None:
    """Of the normal before the cut, whose variance the cut divides by 0.7737."""
    (layer,) = init(KEY, (300, 200))
    cut = 2 * (1 / 300 / 0.7737413) ** 0.5
    assert 0.99 * cut < np.max(np.abs(layer.weight)) <= cut * (1 + 1e-6)


@pytest.mark.parametrize(
    ("activation", "initializer"),
    [
        ("relu", jax.nn.initializers.he_normal()),
        ("selu", jax.nn.initializers.lecun_normal()),
        ("tanh", jax.nn.initializers.glorot_normal()),
    ],
)
def test_weights_are_those_of_jax_to_the_last_bit(
    activation: str, initializer: Any
) -> None:
    hidden, output = init(KEY, (7, 5, 3), activation=activation)
    keys = jax.random.split(KEY, 2)
    assert_equal(hidden.weight, initializer(keys[0], (7, 5), jnp.float32))
    lecun = jax.nn.initializers.lecun_normal()
    assert_equal(output.weight, lecun(keys[1], (5, 3), jnp.float32))


def test_shapes_chain_and_biases_are_0() -> None:
    params = init(KEY, (5, 4, 1, 3), dtype=jnp.float64)
    assert [layer.weight.shape for layer in params] == [(5, 4), (4, 1), (1, 3)]
    for layer, n_out in zip(params, (4, 1, 3), strict=True):
        assert_equal(layer.bias, jnp.zeros(n_out))


def test_layers_of_the_same_shape_have_different_weights() -> None:
    first, second, third = init(KEY, (4, 4, 4, 4), activation="identity")
    assert not np.array_equal(first.weight, second.weight)
    assert not np.array_equal(second.weight, third.weight)


def test_the_same_key_gives_the_same_weights() -> None:
    assert_equal(init(KEY, (4, 3, 2)), init(KEY, (4, 3, 2)))
    other = init(jax.random.key(1), (4, 3, 2))
    assert not np.array_equal(init(KEY, (4, 3, 2))[0].weight, other[0].weight)


def test_the_dtype_is_float32_unless_asked() -> None:
    assert {leaf.dtype for leaf in jax.tree.leaves(init(KEY, (4, 3, 2)))} == {
        jnp.dtype("float32")
    }


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_parameters_have_the_dtype_asked(dtype: str) -> None:
    params = init(KEY, (4, 3, 2), dtype=dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize("sizes", [(), (4,), (4, 0, 2), (-1, 2), (4, 3, 0)])
def test_sizes_below_two_or_below_1_are_refused(sizes: Any) -> None:
    text = (
        "`sizes` must be at least two widths of 1 or more, "
        f"(features, *hidden, classes), got {sizes}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        init(KEY, sizes)


def test_width_1_everywhere_is_accepted() -> None:
    assert [layer.weight.shape for layer in init(KEY, [1, 1, 1])] == [(1, 1), (1, 1)]


@pytest.mark.parametrize("dtype", ["int32", "complex64", "bool"])
def test_a_dtype_that_is_not_floating_is_refused(dtype: str) -> None:
    text = f"`dtype` must be floating, got {dtype}."
    with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
        init(KEY, (4, 2), dtype=dtype)


def test_float64_without_x64_is_refused() -> None:
    text = "`dtype` float64 needs x64: run inside `with jax.enable_x64(True):`."
    with (
        jax.enable_x64(False),
        pytest.raises(ValueError, match=f"^{re.escape(text)}$"),
    ):
        init(KEY, (4, 2), dtype=jnp.float64)


def test_float32_without_x64_is_accepted() -> None:
    with jax.enable_x64(False):
        assert init(KEY, (4, 2))[0].weight.dtype == jnp.float32


W1, B1 = np.arange(12.0).reshape(4, 3), np.array([0.5, -1.0, 2.0])
W2, B2 = np.arange(6.0).reshape(3, 2), np.array([0.25, 4.0])


@pytest.mark.parametrize("make", [np.asarray, jnp.asarray, np.ndarray.tolist])
@pytest.mark.parametrize("pairs", [tuple, list, iter])
def test_layers_of_others_become_parameters(make: Any, pairs: Any) -> None:
    came = as_params(pairs([(make(W1), make(B1)), [make(W2), make(B2)]]))
    expected = (
        Layer(jnp.asarray(W1), jnp.asarray(B1)),
        Layer(jnp.asarray(W2), jnp.asarray(B2)),
    )
    assert isinstance(came[1], Layer)
    assert_equal(came, expected)


def test_transposed_weights_are_turned() -> None:
    came = as_params([(W1.T, B1), (W2.T, B2)], transposed=True)
    assert_equal(came, as_params([(W1, B1), (W2, B2)]))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_bias_that_is_absent_is_0_in_the_dtype_of_its_weight(
    transposed: bool, dtype: str
) -> None:
    weight = W1.astype(dtype)
    (layer,) = as_params([(weight.T if transposed else weight, None)],
                         transposed=transposed)  # fmt: skip
    assert_equal(layer, Layer(jnp.asarray(weight), jnp.zeros(3, dtype)))


def test_float64_of_others_becomes_float32_where_x64_is_off() -> None:
    with jax.enable_x64(False):
        params = as_params([(W1, B1)])
    assert {leaf.dtype for leaf in params[0]} == {jnp.dtype("float32")}


def test_a_logistic_output_is_refused_and_told_how_it_becomes_a_softmax() -> None:
    w, b = W2[:, :1], B2[:1]
    text = (
        "`layers` must end in one unit per class, got a last layer of one unit. A "
        "logistic output w, b is the softmax of two units, the first of which is "
        "0: weight jnp.hstack([0 * w, w]), bias jnp.hstack([0 * b, b])."
    )
    for last, transposed in (((w, b), False), ((w.T, b), True), ((w, None), False)):
        first = W1.T if transposed else W1
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            as_params([(first, B1), last], transposed=transposed)
    two = as_params([(W1, B1), (jnp.hstack([0 * w, w]), jnp.hstack([0 * b, b]))])
    x = jnp.array([[0.1, -0.2, 0.3, 0.05]])
    logit = jax.nn.relu(x @ W1 + B1[None]) @ w + b[None]
    came = predict_proba(two, x)
    assert_close(came[:, 1:], jax.nn.sigmoid(logit), EQUATION)


@pytest.mark.parametrize(
    ("layers", "error", "text"),
    [
        ([], TypeError, "`params` must be a non-empty tuple"),
        ([(W1, B1), (W1, B1)], ValueError, "`params` layer 2 must take the 3"),
        ([(W1.T, B1)], ValueError, "`params` layer 1 must have weight"),
        ([(B1, None)], ValueError, "`params` layer 1 must have weight"),
        ([(W1, B1.astype("float32"))], TypeError, "`params` must have one dtype"),
        ([(W1.astype(int), B1.astype(int))], TypeError, "`params` must be floating"),
    ],
)
def test_layers_that_make_no_network_are_refused(
    layers: Any, error: Any, text: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}"):
        as_params(layers)
