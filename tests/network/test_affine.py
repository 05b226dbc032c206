"""F1, B4, B5, B6: the affine map against JAX's own derivative of ``x @ w + b``."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import EQUATION, assert_close, assert_equal, numbers
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_vjp

from handgrad.network.affine import (
    affine_backward_bias,
    affine_backward_inputs,
    affine_backward_weight,
    affine_forward,
    backprop,
)

SHAPES = (1, 1, 1), (1, 3, 2), (3, 1, 2), (3, 2, 1), (2, 3, 4)  # m, n_in, n_out


@st.composite
def layers(draw: Any) -> tuple[jax.Array, ...]:
    """inputs (m, n_in), weight (n_in, n_out), bias (n_out,), delta (m, n_out)."""
    m, n_in, n_out = draw(st.sampled_from(SHAPES))
    shapes = (m, n_in), (n_in, n_out), (n_out,), (m, n_out)
    return tuple(jnp.asarray(draw(numbers(*shape))) for shape in shapes)


def plain_vjp(inputs: Any, weight: Any, bias: Any, delta: Any) -> tuple[Any, ...]:
    _, vjp = jax.vjp(lambda x, w, b: x @ w + b[None, :], inputs, weight, bias)
    return vjp(delta)


@given(layers())
def test_F1_is_the_column_form_of_the_notes_for_every_sample(layer: Any) -> None:
    inputs, weight, bias, _ = layer
    columns = [np.asarray(weight).T @ a + bias for a in np.asarray(inputs)]
    assert_close(affine_forward(inputs, weight, bias), np.stack(columns), EQUATION)


@given(layers())
def test_B4_is_the_vjp_of_F1_in_the_weight(layer: Any) -> None:
    inputs, _, _, delta = layer
    assert_close(affine_backward_weight(inputs, delta), plain_vjp(*layer)[1], EQUATION)


@given(layers())
def test_B4_is_the_outer_product_of_each_sample(layer: Any) -> None:
    inputs, _, _, delta = map(np.asarray, layer)
    outer = sum(np.outer(a, d) for a, d in zip(inputs, delta, strict=True))
    assert_close(affine_backward_weight(layer[0], layer[3]), outer, EQUATION)


@given(layers())
def test_B5_is_the_vjp_of_F1_in_the_bias(layer: Any) -> None:
    assert_close(affine_backward_bias(layer[3]), plain_vjp(*layer)[2], EQUATION)


@given(layers())
def test_B6_is_the_vjp_of_F1_in_the_inputs(layer: Any) -> None:
    _, weight, _, delta = layer
    assert_close(affine_backward_inputs(delta, weight), plain_vjp(*layer)[0], EQUATION)


def test_B6_is_the_exact_transport() -> None:
    delta, weight = jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 5.0], [7.0, 11.0]])
    carried = backprop(1, delta, weight, jnp.full((1, 4), jnp.nan))
    assert_equal(carried, jnp.array([[13.0, 29.0]]))  # 3 + 2*5 and 7 + 2*11


def test_F1_with_B4_B5_B6_passes_check_vjp() -> None:
    def affine_vjp(inputs: Any, weight: Any, bias: Any) -> tuple[Any, Any]:
        return affine_forward(inputs, weight, bias), lambda delta: (
            affine_backward_inputs(delta, weight),
            affine_backward_weight(inputs, delta),
            affine_backward_bias(delta),
        )

    random = np.random.default_rng(0)
    shapes = (4, 3), (3, 2), (2,)
    check_vjp(affine_forward, affine_vjp, tuple(random.normal(size=s) for s in shapes))


def test_B4_and_B5_are_plain_sums_over_samples() -> None:
    """What a sample counts is in its delta: nothing is divided here."""
    inputs, delta = jnp.array([[3.0], [5.0]]), jnp.array([[2.0], [4.0]])
    assert_equal(
        affine_backward_weight(inputs, delta), jnp.array([[26.0]])
    )  # 3*2 + 5*4
    assert_equal(affine_backward_bias(delta), jnp.array([6.0]))


def test_without_samples_B4_and_B5_are_exactly_zero() -> None:
    inputs, delta = jnp.ones((0, 3)), jnp.ones((0, 1))
    assert_equal(affine_backward_weight(inputs, delta), jnp.zeros((3, 1)))
    assert_equal(affine_backward_bias(delta), jnp.zeros(1))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_low_precision_gradients_are_summed_in_float32(dtype: Any) -> None:
    """300 * 300 and its sum overflow float16; 1 is lost beside 512 in bfloat16."""
    inputs, delta = jnp.full((513, 1), 300, dtype), jnp.full((513, 1), 300, dtype)
    weight = affine_backward_weight(inputs, delta)
    assert_equal(weight, jnp.array([[513 * 300 * 300]], "float32"))
    ones = jnp.ones((1025, 1), dtype)
    assert_equal(affine_backward_bias(ones), jnp.array([1025], "float32"))
    large = jnp.full((4, 1), 60_000, jnp.float16)
    assert_equal(affine_backward_bias(large), 4 * large[0].astype("float32"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wide_gradients_are_summed_in_their_own_dtype(dtype: str) -> None:
    inputs, delta = jnp.ones((2, 3), dtype), jnp.ones((2, 1), dtype)
    assert_equal(affine_backward_weight(inputs, delta), jnp.full((3, 1), 2, dtype))
    assert_equal(affine_backward_bias(delta), jnp.full(1, 2, dtype))
