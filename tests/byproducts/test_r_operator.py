"""RF1 to RB7: each is `jax.jvp` of the function of the network that it is R of.

GN is the product that they make with dense matrices.
"""

from typing import Any

import byproduct_cases as cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import EQUATION, SMOOTH, assert_close, assert_equal, numbers
from hypothesis import given
from hypothesis import strategies as st

from handgrad import ACTIVATIONS, Activation, Layer, byproducts
from handgrad.byproducts.r_operator import (
    r_activate,
    r_affine,
    r_bias_gradient,
    r_carry_back,
    r_output_delta,
    r_through_activation,
    r_weight_gradient,
)
from handgrad.network.activations import activate, through_activation
from handgrad.network.affine import (
    affine_backward_bias,
    affine_backward_inputs,
    affine_backward_weight,
    affine_forward,
)
from handgrad.network.softmax_nll import output_delta, softmax

SHAPES = (1, 1, 1), (1, 3, 2), (3, 1, 2), (3, 2, 1), (2, 3, 4)  # m, n_in, n_out


@st.composite
def tangents(draw: Any) -> dict[str, tuple[jax.Array, jax.Array]]:
    """What an affine layer works on, each with its R."""
    m, n_in, n_out = draw(st.sampled_from(SHAPES))
    shapes = {
        "inputs": (m, n_in),
        "weight": (n_in, n_out),
        "bias": (n_out,),
        "delta": (m, n_out),
    }
    return {
        name: (jnp.asarray(draw(numbers(*shape))), jnp.asarray(draw(numbers(*shape))))
        for name, shape in shapes.items()
    }


def pushed(function: Any, *pairs: tuple[Any, Any]) -> Any:
    """R{function} by autodiff, from (value, R of it) of each argument."""
    values, along = zip(*pairs, strict=True)
    return jax.jvp(function, values, along)[1]


def assert_near(actual: Any, expected: Any) -> None:
    """To 1e-12 of 64, four terms of 4 times 4: R adds what may cancel."""
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    assert jnp.max(jnp.abs(actual - expected)) <= 64 * EQUATION


@given(tangents())
def test_RF1_is_the_jvp_of_F1(layer: Any) -> None:
    (a, r_a), (w, v), (b, r_b) = layer["inputs"], layer["weight"], layer["bias"]
    came = r_affine(a, r_a, Layer(w, b), Layer(v, r_b))
    assert_near(came, pushed(affine_forward, (a, r_a), (w, v), (b, r_b)))


@given(tangents())
def test_RF1_of_the_first_layer_is_the_jvp_of_F1_at_constant_inputs(
    layer: Any,
) -> None:
    (a, _), (w, v), (b, r_b) = layer["inputs"], layer["weight"], layer["bias"]
    came = r_affine(a, None, Layer(w, b), Layer(v, r_b))
    assert_near(came, pushed(lambda w, b: affine_forward(a, w, b), (w, v), (b, r_b)))


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(d=numbers(2, 3).filter(np.all), r_d=numbers(2, 3))
def test_RF2_is_the_jvp_of_F2(name: str, d: Any, r_d: Any) -> None:
    h, d, r_d = ACTIVATIONS[name], jnp.asarray(d), jnp.asarray(r_d)
    came = r_activate(h, d, activate(h, d), r_d)
    assert_near(came, pushed(lambda d: activate(h, d), (d, r_d)))


@st.composite
def outputs(draw: Any) -> tuple[Any, Any, Any]:
    """Logits, R of them, and targets (m, C) whose rows sum to anything."""
    shape = draw(st.sampled_from([(1, 2), (3, 2), (2, 5)]))
    logits, r_logits, targets = (jnp.asarray(draw(numbers(*shape))) for _ in range(3))
    return logits, r_logits, targets


@given(outputs())
def test_RB3_is_the_jvp_of_B3(case: Any) -> None:
    d, r_d, q = case
    came = r_output_delta(softmax(d), r_d, jnp.sum(q, axis=1))
    assert_near(came, pushed(lambda d: output_delta(softmax(d), q), (d, r_d)))


@given(outputs())
def test_RB3_of_labels_is_the_jvp_of_B3(case: Any) -> None:
    d, r_d, q = case
    labels = jnp.argmax(q, axis=1)
    expected = pushed(lambda d: output_delta(softmax(d), labels), (d, r_d))
    assert_near(r_output_delta(softmax(d), r_d), expected)


def test_RB3_is_in_the_dtype_of_the_probabilities() -> None:
    p, r_d = softmax(jnp.zeros((1, 2), "float16")), jnp.ones((1, 2), "float16")
    for sums in (None, jnp.ones(1, "float32")):
        assert r_output_delta(p, r_d, sums).dtype == "float32"


@given(tangents())
def test_RB4_is_the_jvp_of_B4(layer: Any) -> None:
    (a, r_a), (delta, r_delta) = layer["inputs"], layer["delta"]
    came = r_weight_gradient(a, r_a, delta, r_delta)
    assert_near(came, pushed(affine_backward_weight, (a, r_a), (delta, r_delta)))


@given(tangents())
def test_RB4_of_the_first_layer_is_the_jvp_of_B4_at_constant_inputs(
    layer: Any,
) -> None:
    (a, _), (delta, r_delta) = layer["inputs"], layer["delta"]
    came = r_weight_gradient(a, None, delta, r_delta)
    expected = pushed(lambda delta: affine_backward_weight(a, delta), (delta, r_delta))
    assert_near(came, expected)


@given(tangents())
def test_RB5_is_the_jvp_of_B5(layer: Any) -> None:
    delta, r_delta = layer["delta"]
    assert_near(
        r_bias_gradient(r_delta), pushed(affine_backward_bias, (delta, r_delta))
    )


@given(tangents())
def test_RB6_is_the_jvp_of_B6(layer: Any) -> None:
    (delta, r_delta), (w, v) = layer["delta"], layer["weight"]
    came = r_carry_back(delta, r_delta, w, v)
    assert_near(came, pushed(affine_backward_inputs, (delta, r_delta), (w, v)))


@pytest.mark.parametrize("name", SMOOTH)
@given(
    d=numbers(2, 3),
    r_d=numbers(2, 3),
    cotangent=numbers(2, 3),
    r_cotangent=numbers(2, 3),
)
def test_RB7_is_the_jvp_of_B7(
    name: str, d: Any, r_d: Any, cotangent: Any, r_cotangent: Any
) -> None:
    h = ACTIVATIONS[name]
    d, r_d, cotangent, r_cotangent = map(jnp.asarray, (d, r_d, cotangent, r_cotangent))
    came = r_through_activation(h, d, activate(h, d), r_d, cotangent, r_cotangent)

    def b7(d: Any, cotangent: Any) -> Any:
        return through_activation(h, d, activate(h, d), cotangent)

    assert_near(came, pushed(b7, (d, r_d), (cotangent, r_cotangent)))


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n not in SMOOTH])
def test_RB7_is_the_jvp_of_B7_off_the_kinks(name: str) -> None:
    h, d = ACTIVATIONS[name], jnp.linspace(-8.3, 8.1, 24).reshape(4, 6)
    r_d, cotangent, r_cotangent = jnp.sin(d), jnp.cos(d), jnp.sin(3.0 * d)
    came = r_through_activation(h, d, activate(h, d), r_d, cotangent, r_cotangent)

    def b7(d: Any, cotangent: Any) -> Any:
        return through_activation(h, d, activate(h, d), cotangent)

    expected = pushed(b7, (d, r_d), (cotangent, r_cotangent))
    assert_close(came, expected, EQUATION)


def test_RB7_refuses_an_activation_without_a_second_derivative() -> None:
    sine = Activation(jnp.sin, lambda d, a: jnp.cos(d))
    one = jnp.ones((1, 1))
    with pytest.raises(ValueError, match="^`activation` must have a second derivative"):
        r_through_activation(sine, one, one, one, one, one)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_RB4_and_RB5_are_summed_in_float32_or_wider(dtype: str) -> None:
    large, ones = jnp.full((513, 1), 300, dtype), jnp.ones((513, 1), dtype)
    wide = "float64" if dtype == "float64" else "float32"
    came = r_weight_gradient(large, ones, ones, large)
    assert_equal(came, jnp.array([[513 * (300 * 300 + 1)]], wide))
    assert_equal(r_bias_gradient(ones), jnp.array([513], wide))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("variant", cases.VARIANTS)
def test_GN_is_the_dense_gauss_newton_matrix_times_v(variant: str, seed: int) -> None:
    """sum_i s_i t_i J_i^T H_i J_i v, J_i and H_i formed by autodiff."""
    case = cases.make(**cases.VARIANTS[variant])
    random = np.random.default_rng(seed)
    v = jax.tree.map(lambda leaf: random.normal(size=leaf.shape), case.params)
    trace, _ = case.passes()
    came = cases.compiled(
        byproducts.ggn_vector_product,
        case.params,
        trace,
        v,
        targets=case.targets,
        weights=case.weights,
    )
    expected = cases.judged(variant).ggn @ cases.flat(v)
    assert cases.error(cases.flat(came), expected) < EQUATION
