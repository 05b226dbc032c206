"""The weighted mean of L2, and exactly 0 without samples."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_equal

from handgrad.network.mean import divide, near_one, normaliser, weighted


def test_normaliser_without_weights_is_the_number_of_samples() -> None:
    assert_equal(normaliser(None, 7, jnp.dtype("float32")), jnp.float32(7))


@pytest.mark.parametrize("dtype", [bool, jnp.int8, jnp.float16, jnp.float64])
def test_normaliser_sums_weights_of_any_dtype_in_the_dtype_asked(dtype: Any) -> None:
    weights = jnp.ones(300, dtype)  # 300 is beyond int8
    assert_equal(normaliser(weights, 300, jnp.dtype("float32")), jnp.float32(300))


def test_weighted_multiplies_every_row() -> None:
    weights = jnp.array([2, 3])
    rows = jnp.array([[1.0, 10.0], [1.0, 10.0]])
    assert_equal(weighted(rows, weights), jnp.array([[2.0, 20.0], [3.0, 30.0]]))
    assert_equal(weighted(rows[:, 1], weights), jnp.array([20.0, 30.0]))
    assert weighted(rows, None) is rows


def test_divide_by_0_is_exactly_0() -> None:
    zero = jnp.float64(0)
    assert_equal(divide(jnp.array([3.0, -1.0]), zero), jnp.zeros(2))
    assert_equal(divide(jnp.array([3.0, -1.0]), jnp.float64(2)), jnp.array([1.5, -0.5]))
    assert_equal(divide(jnp.array([3.0]), jnp.float64(-2)), jnp.array([-1.5]))


def test_divide_by_0_has_derivative_0() -> None:
    """No NaN comes out of the branch that is not taken."""
    assert jax.grad(divide, argnums=0)(3.0, 0.0) == 0
    assert jax.grad(divide, argnums=1)(3.0, 0.0) == 0


@pytest.mark.parametrize("largest", [2e-37, 3e-7, 0.5, 1.0, 5.0, 3e38])
def test_weights_near_one_differ_by_a_power_of_two(largest: float) -> None:
    weights = jnp.array([0.25, -1.0, 0.0, 0.625], "float32") * jnp.float32(largest)
    came = near_one(weights, jnp.dtype("float32"))
    factors = np.asarray(came)[:2] / np.asarray(weights)[:2]
    assert factors[0] == factors[1] == 2.0 ** round(np.log2(factors[0]))
    bound = 4 if largest > 1e37 else 1  # 2^-126 is the least that float32 holds
    assert bound / 4 <= np.max(np.abs(came)) < bound


def test_weights_near_one_are_scaled_by_what_float32_holds() -> None:
    came = near_one(jnp.array([2.0**-200]), jnp.dtype("float64"))
    assert_equal(came, jnp.array([2.0**-74]))


@pytest.mark.parametrize("dtype", ["bool", "int32", "float16"])
def test_weights_near_one_are_of_the_dtype_asked(dtype: str) -> None:
    came = near_one(jnp.array([0, 1], dtype), jnp.dtype("float32"))
    assert_equal(came, jnp.array([0.0, 0.5], "float32"))
    assert_equal(near_one(jnp.zeros(2, dtype), came.dtype), jnp.zeros(2, "float32"))
