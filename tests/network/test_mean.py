"""L2's factors: what each sample counts in the mean, and exactly 0 without samples."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import EQUATION, FLOAT32, assert_close, assert_equal, numbers
from hypothesis import given
from hypothesis import strategies as st

from handgrad.network.mean import (
    divide,
    loss_scale,
    per_sample,
    sample_scale,
    silence,
    total_weight,
)

SINGLE, DOUBLE = jnp.dtype("float32"), jnp.dtype("float64")
BAD = np.nan, np.inf, -np.inf


@pytest.mark.parametrize(("samples", "expected"), [(8, 0.125), (1, 1), (0, 1)])
def test_sample_scale_without_weights_is_one_over_the_samples(
    samples: int, expected: float
) -> None:
    """Of no sample it multiplies nothing."""
    assert_equal(sample_scale(None, samples, SINGLE), jnp.float32(expected))
    assert sample_scale(None, samples, DOUBLE).dtype == "float64"


@given(weights=numbers(5).map(lambda w: np.abs(w) + 0.5))
def test_sample_scale_is_the_share_of_each_weight(weights: Any) -> None:
    came = sample_scale(jnp.asarray(weights), 5, DOUBLE)
    assert_close(came, jnp.asarray(weights / weights.sum()), EQUATION)


def test_sample_scale_of_negative_weights_is_their_share_of_the_sum() -> None:
    came = sample_scale(jnp.array([3.0, -1.0]), 2, DOUBLE)
    assert_equal(came, jnp.array([1.5, -0.5]))


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -1.0], []])
def test_sample_scale_of_weights_that_sum_to_0_is_exactly_0(weights: Any) -> None:
    came = sample_scale(jnp.array(weights), len(weights), DOUBLE)
    assert_equal(came, jnp.zeros(len(weights)))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "float16", "float64"])
def test_sample_scale_takes_weights_of_any_dtype(dtype: str) -> None:
    """300 samples of weight 1 are beyond int8, and one in 300 below float16's ulp."""
    came = sample_scale(jnp.ones(300, dtype), 300, SINGLE)
    assert_close(came, jnp.full(300, 1 / 300, SINGLE), 2 * FLOAT32)


@pytest.mark.parametrize("exponent", [-124, -30, 0, 30, 125])
def test_sample_scale_is_that_of_weights_a_power_of_two_larger(exponent: int) -> None:
    """Not in a bit another one: at 2^125 the sum itself is beyond float32."""
    weights = jnp.array([0.25, 1.0, 0.0, 0.625, 1.5, 1.5, 1.5, 1.5, 1.5], SINGLE)
    large = jnp.asarray(np.ldexp(np.asarray(weights), exponent))
    assert_equal(sample_scale(large, 9, SINGLE), sample_scale(weights, 9, SINGLE))


def test_sample_scale_of_the_least_weights_of_float32_is_not_lost() -> None:
    came = sample_scale(jnp.array([2e-38, 6e-38], SINGLE), 2, SINGLE)
    assert_close(came, jnp.array([0.25, 0.75], SINGLE), 2 * FLOAT32)


def test_sample_scale_brings_weights_near_1_as_far_as_float32_holds() -> None:
    came = sample_scale(jnp.array([2.0**-200, 3 * 2.0**-200]), 2, DOUBLE)
    assert_equal(came, jnp.array([0.25, 0.75]))


@pytest.mark.parametrize("weights", [[0.5, 2.0, 0.0], [3.0, -1.0, 0.25]])
def test_the_derivative_of_sample_scale_is_that_of_the_share(weights: Any) -> None:
    """The power of two that moves the weights and is taken back has none."""
    w = jnp.array(weights)
    expected = jax.jacobian(lambda w: w / jnp.sum(w))(w)
    for jacobian in (jax.jacfwd, jax.jacrev):
        came = jacobian(lambda w: sample_scale(w, 3, DOUBLE))(w)
        assert_close(came, expected, EQUATION)


def test_total_weight_without_weights_is_the_number_of_samples() -> None:
    assert_equal(total_weight(None, 7, SINGLE), jnp.float32(7))
    assert_equal(total_weight(None, 0, DOUBLE), jnp.float64(0))


@pytest.mark.parametrize("dtype", [bool, jnp.int8, jnp.float16, jnp.float64])
def test_total_weight_sums_any_dtype_in_the_dtype_asked(dtype: Any) -> None:
    weights = jnp.ones(300, dtype)  # 300 is beyond int8
    assert_equal(total_weight(weights, 300, SINGLE), jnp.float32(300))


@pytest.mark.parametrize("shape", [(2,), (2, 3), (4, 2, 3), (5, 4, 2, 3), (2, 2)])
def test_per_sample_multiplies_every_row(shape: Any) -> None:
    """And no rank is promoted unseen."""
    values = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    scale = np.array([2.0, 3.0])
    expected = values * (scale if len(shape) == 1 else scale[:, None])
    came = per_sample(jnp.asarray(scale), jnp.asarray(values)) * values
    assert_equal(came, jnp.asarray(expected))


def test_per_sample_of_a_number_is_the_number() -> None:
    scale = jnp.float64(3)
    assert per_sample(scale, jnp.ones((2, 3))) is scale
    assert per_sample(scale, jnp.ones(2)) is scale


@pytest.mark.parametrize("dtype", ["bool", "int32", "float16", "float64"])
def test_silence_puts_0_for_what_is_not_finite_where_the_weight_is_0(
    dtype: str,
) -> None:
    weights = jnp.array([0, 1, 0]).astype(dtype)
    vector = jnp.array([np.nan, np.inf, 2.0])
    assert_equal(silence(vector, weights)[np.array([0, 2])], jnp.array([0.0, 2.0]))
    assert silence(vector, weights)[1] == np.inf
    rows = jnp.array([[np.inf, 1.0], [np.nan, 2.0], [3.0, -np.inf]])
    came = silence(rows, weights)
    assert_equal(came[np.array([0, 2])], jnp.array([[0.0, 1.0], [3.0, 0.0]]))
    assert jnp.isnan(came[1, 0])
    assert came[1, 1] == 2
    stacked = silence(jnp.stack([rows, 2 * rows]), weights)
    assert np.array_equal(stacked, jnp.stack([came, 2 * came]), equal_nan=True)


def test_silence_without_weights_leaves_everything() -> None:
    values = jnp.array(BAD)
    assert silence(values, None) is values


def test_a_negative_weight_is_no_padding() -> None:
    assert silence(jnp.array([np.inf]), jnp.array([-1.0]))[0] == np.inf


def test_silence_passes_the_derivative_of_what_is_finite() -> None:
    """So that dJ/dw_i = (l_i - J) / sum w is right at w_i = 0, too."""
    weights = jnp.array([0.0, 0.0, 1.0])

    def total(values: Any) -> Any:
        return jnp.sum(silence(values, weights))

    came = jax.grad(total)(jnp.array([5.0, np.nan, 7.0]))
    assert_equal(came, jnp.array([1.0, 0.0, 1.0]))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_no_loss_scale_where_the_exponent_is_that_of_float32(dtype: str) -> None:
    assert loss_scale(jnp.array([1e-30], SINGLE), jnp.dtype(dtype)) is None


@given(st.floats(2.0**-120, 1.0, width=32), st.booleans())
def test_the_loss_scale_of_float16_brings_the_largest_factor_to_one(
    largest: float, negative: bool
) -> None:
    scale = jnp.array([0.25, -1.0 if negative else 1.0, 0.0], SINGLE)
    scale = scale * jnp.float32(largest)
    came = loss_scale(scale, jnp.dtype("float16"))
    assert came is not None
    assert came.dtype == "float32"
    mantissa, _ = np.frexp(np.asarray(came))
    assert mantissa == 0.5, "no power of two"
    assert 0.5 <= np.max(np.abs(scale * came)) < 1


def test_the_loss_scale_of_one_factor_for_all() -> None:
    """1 / m without weights: a scalar."""
    came = loss_scale(jnp.float32(1 / 5), jnp.dtype("float16"))
    assert_equal(came, jnp.float32(4))  # 4/5 is in [1/2, 1)


@pytest.mark.parametrize("scale", [np.zeros(3), np.zeros(0)])
def test_the_loss_scale_without_samples_is_1(scale: Any) -> None:
    came = loss_scale(jnp.asarray(scale, SINGLE), jnp.dtype("float16"))
    assert_equal(came, jnp.float32(1))


def test_divide_by_0_is_exactly_0() -> None:
    zero = jnp.float64(0)
    assert_equal(divide(jnp.array([3.0, -1.0]), zero), jnp.zeros(2))
    assert_equal(divide(jnp.array([3.0, -1.0]), jnp.float64(2)), jnp.array([1.5, -0.5]))
    assert_equal(divide(jnp.array([3.0]), jnp.float64(-2)), jnp.array([-1.5]))


def test_divide_takes_a_normaliser_for_each() -> None:
    came = divide(jnp.array([3.0, -1.0, 5.0]), jnp.array([2.0, 0.0, -4.0]))
    assert_equal(came, jnp.array([1.5, 0.0, -1.25]))


def test_divide_by_0_has_derivative_0() -> None:
    """No NaN comes out of the branch that is not taken."""
    assert jax.grad(divide, argnums=0)(3.0, 0.0) == 0
    assert jax.grad(divide, argnums=1)(3.0, 0.0) == 0
