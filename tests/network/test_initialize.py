"""Initial parameters: scale, distribution, keys, dtypes, and what is refused."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_equal

from handgrad import Activation, init

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
