"""The trace, D1 and D2, and the dtype in which sums are taken."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from helpers import EQUATION, assert_close, assert_equal, batch, network, numbers
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.test_util import check_vjp

from handgrad import ACTIVATIONS, Deltas, Trace, deltas, forward
from handgrad.network.types import accumulation_dtype, drop

masks = arrays("float64", (2, 3), elements=st.sampled_from([0.0, 1.25]))


@given(value=numbers(2, 3), mask=masks)
def test_D1_multiplies_each_unit_by_its_mask(value: Any, mask: Any) -> None:
    expected = [
        [v * r for v, r in zip(*rows, strict=True)]
        for rows in zip(value, mask, strict=True)
    ]
    assert_equal(drop(jnp.asarray(value), jnp.asarray(mask)), jnp.array(expected))


@given(value=numbers(2, 3), mask=masks, cotangent=numbers(2, 3))
def test_D2_is_the_vjp_of_D1(value: Any, mask: Any, cotangent: Any) -> None:
    _, vjp = jax.vjp(lambda a: a * mask, jnp.asarray(value))
    (expected,) = vjp(jnp.asarray(cotangent))
    assert_close(drop(jnp.asarray(cotangent), mask), expected, EQUATION)


def test_D1_and_D2_pass_check_vjp() -> None:
    mask = jnp.array([[0.0, 2.0, 2.0]])
    check_vjp(
        lambda a: drop(a, mask),
        lambda a: (drop(a, mask), lambda cotangent: (drop(cotangent, mask),)),
        (jnp.array([[0.3, -0.7, 1.1]]),),
    )


def test_without_a_mask_nothing_is_dropped() -> None:
    value = jnp.ones((2, 3))
    assert drop(value, None) is value


def test_the_trace_knows_its_logits_and_what_each_layer_saw() -> None:
    x, hidden, mask = jnp.ones((1, 2)), jnp.full((1, 2), 3.0), jnp.array([[2.0, 0.0]])
    relu = ACTIVATIONS["relu"]
    trace = Trace(
        (x, hidden), (hidden, jnp.full((1, 3), 5.0)), (None, mask), (relu,), ()
    )
    assert trace.logits is trace.pre_activations[1]
    assert_equal(trace.layer_inputs, (x, jnp.array([[6.0, 0.0]])))


def test_the_trace_gives_what_it_holds_of_each_hidden_layer() -> None:
    sizes = (3, 4, 5, 2)
    names, data = ("tanh", "relu"), batch(sizes, 6)
    trace = forward(network(sizes), data.x, activation=names, masks=data.masks)
    assert trace.hidden == tuple(ACTIVATIONS[name] for name in names)
    assert len(trace.hidden_layers) == 2
    for k, layer in enumerate(trace.hidden_layers, start=1):
        assert layer.k == k
        assert layer.h is trace.hidden[k - 1]
        assert layer.d is trace.pre_activations[k - 1]
        assert layer.a is trace.activations[k]
        assert layer.output is trace.activations[k]
        assert layer.inputs is trace.activations[k - 1]
        assert layer.mask is data.masks[k - 1]


def test_softmax_regression_has_no_hidden_layer() -> None:
    trace = forward(network((3, 2)), batch((3, 2), 4).x)
    assert trace.hidden == trace.hidden_layers == ()


def test_the_scale_of_deltas_is_what_each_sample_counts() -> None:
    params, data = network((3, 4, 2)), batch((3, 4, 2), 5)
    trace = forward(params, data.x)
    plain = deltas(params, trace, data.labels)
    assert_equal(plain.scale, jnp.full(5, 0.2))
    assert_equal(plain.total, jnp.float64(5))
    weighted = deltas(params, trace, data.labels, weights=data.weights)
    total = jnp.sum(data.weights)
    assert_close(weighted.scale, data.weights / total, EQUATION)
    assert_equal(weighted.total, total)
    nothing = deltas(params, trace, data.labels, weights=jnp.zeros(5))
    assert_equal(nothing.scale, jnp.zeros(5))


def test_the_scale_of_several_passes_is_that_of_the_samples() -> None:
    stacked = Deltas((jnp.ones((3, 5, 2)),), None, jnp.float64(5))
    assert_equal(stacked.scale, jnp.full(5, 0.2))


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        ("float16", "float32"),
        ("bfloat16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
    ],
)
def test_sums_are_taken_in_float32_or_wider(dtype: str, wide: str) -> None:
    came = accumulation_dtype(jnp.dtype(dtype))
    assert isinstance(came, jnp.dtype)
    assert came == wide
