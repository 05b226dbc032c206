"""What each sample counts, on its way in and on its way out."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_equal, network

from handgrad import Layer, Trace, deltas, forward
from handgrad.network.samples import (
    as_gradient,
    check_samples,
    pairs,
    sample_factors,
    with_output,
)

WEIGHTS = [0.0, 1.0, 2.0]


def trace_of(samples: int, dtype: Any) -> Trace:
    return forward(network((2, 4), dtype=dtype), jnp.ones((samples, 2), dtype))


def test_padding_among_distributions_is_made_finite_and_labels_stay() -> None:
    logits, weights = jnp.zeros((3, 2)), jnp.array(WEIGHTS)
    q = jnp.array([[np.nan, 0.5], [0.25, 0.75], [np.nan, 1.0]])
    targets, w = check_samples(logits, q, weights)
    expected = [[0.0, 0.5], [0.25, 0.75], [np.nan, 1.0]]
    assert np.array_equal(targets, expected, equal_nan=True)
    assert w is weights
    labels = jnp.array([-1, 0, 1])
    assert check_samples(logits, labels, None) == (labels, None)


@pytest.mark.parametrize(
    ("dtype", "lift"), [("float16", 256), ("bfloat16", None), ("float64", None)]
)
def test_factors_are_lifted_where_the_exponent_is_narrow(dtype: str, lift: Any) -> None:
    """1/300 becomes 256/300, the first power of two to reach 1/2."""
    known, factor = sample_factors(trace_of(300, dtype), None)
    wide = jnp.dtype("float64" if dtype == "float64" else "float32")
    assert known.loss_scale == lift
    assert_equal(factor, jnp.asarray(1 / 300, wide) * (lift or 1))
    assert_equal(known.total, jnp.asarray(300, wide))


def test_factors_are_the_shares_of_the_weights() -> None:
    sums = jnp.array([1.0, 2.0, 3.0])
    known, factor = sample_factors(trace_of(3, "float64"), jnp.array(WEIGHTS), sums)
    assert_equal(factor, jnp.array([0.0, 1 / 3, 2 / 3]))
    assert_equal((known.weights, known.total), (jnp.array(WEIGHTS), jnp.float64(3)))
    assert known.row_sums is sums


def test_padding_is_0_in_the_last_delta_and_finite_in_the_pairs() -> None:
    params, x = network((2, 4)), jnp.array([[np.inf, 1.0], [2.0, 3.0], [4.0, 5.0]])
    trace = forward(params, x)
    known, _ = sample_factors(trace, jnp.array(WEIGHTS))
    delta = jnp.ones((3, 4)).at[0].set(np.nan)
    top = with_output(known, delta, jnp.dtype("float32"))
    expected = jnp.ones((3, 4), "float32").at[0].set(0)
    assert_equal(top.layers, (expected,))
    ((inputs, errors),) = pairs(trace, top)
    assert_equal(inputs, x.at[0, 0].set(0))
    assert errors is top.layers[0]


@pytest.mark.parametrize("lift", [None, 4.0])
def test_a_gradient_loses_the_power_of_two_and_takes_the_dtype(lift: Any) -> None:
    trace = trace_of(3, "float16")
    errors = deltas(network((2, 4), dtype="float16"), trace, jnp.zeros(3, int))
    errors = replace(errors, loss_scale=None if lift is None else jnp.float32(lift))
    sums = (Layer(jnp.full((2, 4), 3, "float32"), jnp.full(4, 5, "float32")),)
    weight, bias = 3 / (lift or 1), 5 / (lift or 1)
    expected = Layer(jnp.full((2, 4), weight, "float16"), jnp.full(4, bias, "float16"))
    assert_equal(as_gradient(sums, trace, errors), (expected,))
