"""h'' against autodiff of autodiff, and where h' has a kink against what it documents.

Errors are relative to 1, the size of h'': it passes through 0, where rounding is all
that is left.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import EQUATION, FLOAT32, JAX_NN, numbers, slope
from hypothesis import given

from handgrad import ACTIVATIONS

every_activation = pytest.mark.parametrize("name", JAX_NN)


@functools.partial(jax.jit, static_argnums=0)
def curvature(name: str, d: Any) -> jax.Array:
    """h''(d) by autodiff of autodiff."""
    return jax.vjp(lambda d: slope(name, d), d)[1](jnp.ones_like(d))[0]


def second_derivative(name: str, d: Any) -> jax.Array:
    h = ACTIVATIONS[name]
    assert h.second_derivative is not None
    return h.second_derivative(d, h.function(d))


@every_activation
def test_second_derivative_is_that_of_jax_nn(name: str) -> None:
    d = jnp.linspace(-9.7, 9.4, 60)
    difference = second_derivative(name, d) - curvature(name, d)
    assert np.max(np.abs(difference)) <= EQUATION


@every_activation
@given(values=numbers(6).filter(np.all))  # not at 0, where h' may have a kink
def test_second_derivative_is_that_of_jax_nn_anywhere(name: str, values: Any) -> None:
    d = jnp.asarray(values)
    difference = second_derivative(name, d) - curvature(name, d)
    assert np.max(np.abs(difference)) <= EQUATION


@pytest.mark.parametrize("name", [n for n in JAX_NN if n not in ("celu", "softsign")])
def test_second_derivative_at_a_kink_is_that_of_jax_nn(name: str) -> None:
    d = jnp.array([-6.0, -1.0, 0.0, 1.0, 6.0])
    difference = second_derivative(name, d) - curvature(name, d)
    assert np.max(np.abs(difference)) <= EQUATION


@pytest.mark.parametrize(("name", "expected"), [("celu", 1), ("softsign", 0)])
def test_second_derivative_at_0_is_documented(name: str, expected: float) -> None:
    """Autodiff follows how `jax.nn` is written there: 1/4 for celu, -2 for softsign."""
    assert second_derivative(name, jnp.zeros(1)).item() == expected


@every_activation
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_second_derivative_vanishes_far_from_0(name: str, dtype: Any) -> None:
    """2 / |d|^3 bounds the slowest of them, that of softsign."""
    d = jnp.array([-6e4, -300, -40, 40, 300, 6e4], dtype)
    came = second_derivative(name, d)
    assert came.dtype == dtype
    bound = 2 / np.abs(np.asarray(d, "float64")) ** 3 + FLOAT32
    assert np.all(np.abs(np.asarray(came, "float64")) <= bound)


def test_second_derivative_keeps_its_relative_accuracy_in_the_tail() -> None:
    d = jnp.array([-30], jnp.float32)
    for name in ("elu", "celu", "selu", "softplus", "silu", "mish"):
        factor = {"silu": 28, "mish": 28, "selu": 1.7580993408473766}.get(name, 1)
        came = abs(second_derivative(name, d).item())
        assert came == pytest.approx(factor * math.exp(-30), rel=16 * FLOAT32), name
