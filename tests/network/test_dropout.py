"""Dropout masks: values, mean, rates per layer, and what is refused."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_equal, network

from handgrad import dropout_masks

KEY = jax.random.key(3)


def test_masks_hold_0_and_the_inverse_of_the_rate_of_keeping() -> None:
    params = network((4, 3, 2))
    masks: Any = dropout_masks(KEY, params, 50, inputs=0.2, hidden=0.75)
    assert [mask.shape for mask in masks] == [(50, 4), (50, 3)]
    assert set(np.unique(masks[0])) == {0, 1 / 0.8}
    assert set(np.unique(masks[1])) == {0, 4}


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_masks_have_mean_1(rate: float) -> None:
    """Within 5 standard errors; one entry has variance p / (1 - p)."""
    mask, _ = dropout_masks(KEY, network((100, 1, 2)), 1000, inputs=rate)
    assert mask is not None
    standard_error = (rate / (1 - rate) / mask.size) ** 0.5
    assert abs(np.mean(mask) - 1) <= 5 * standard_error


def test_no_mask_where_nothing_drops() -> None:
    params = network((4, 3, 3, 2))
    assert dropout_masks(KEY, params, 5) == (None, None, None)
    masks = dropout_masks(KEY, params, 5, hidden=[0, 0.5])
    assert [mask is None for mask in masks] == [True, True, False]
    masks = dropout_masks(KEY, params, 5, inputs=0.5)
    assert [mask is None for mask in masks] == [False, True, True]


def test_each_layer_has_its_own_rate() -> None:
    params = network((4, 40, 40, 2))
    masks: Any = dropout_masks(KEY, params, 50, hidden=(0.5, 0.75))
    _, first, second = masks
    assert np.max(first) == 2
    assert np.max(second) == 4


def test_one_whole_number_is_a_rate_for_all_hidden_layers() -> None:
    assert dropout_masks(KEY, network((4, 3, 3, 2)), 5, hidden=0) == (None,) * 3


def test_layers_of_the_same_shape_drop_different_units() -> None:
    masks: Any = dropout_masks(KEY, network((9, 9, 9, 2)), 9, hidden=0.5)
    _, first, second = masks
    assert not np.array_equal(first, second)


def test_a_rate_may_be_of_numpy() -> None:
    params = network((4, 3, 2), dtype="float32")
    rate: Any = np.float32(0.5)
    masks: Any = dropout_masks(KEY, params, 50, hidden=rate)
    assert set(np.unique(masks[1])) == {0, 2}


@pytest.mark.parametrize("make", [jnp.asarray, np.asarray])
def test_rates_may_be_arrays(make: Any) -> None:
    params = network((4, 40, 40, 2))
    one = dropout_masks(KEY, params, 50, inputs=make(0.0), hidden=make(0.5))
    assert_equal(one, dropout_masks(KEY, params, 50, hidden=0.5))
    each = dropout_masks(KEY, params, 50, hidden=make([0.5, 0.75]))
    assert_equal(each, dropout_masks(KEY, params, 50, hidden=(0.5, 0.75)))


def test_rates_may_be_traced() -> None:
    params = network((4, 40, 40, 2))

    @jax.jit
    def masks(inputs: Any, hidden: Any) -> Any:
        return dropout_masks(KEY, params, 50, inputs=inputs, hidden=hidden)

    came = masks(jnp.float64(0.5), jnp.array([0.0, 0.75]))
    known: Any = dropout_masks(KEY, params, 50, inputs=0.5, hidden=(0.5, 0.75))
    assert_equal((came[0], came[2]), (known[0], known[2]))
    assert_equal(came[1], jnp.ones((50, 40)))  # a rate that is traced drops nothing
    outside = masks(jnp.float64(1), jnp.array([-0.1, 0.75]))
    assert all(bool(jnp.all(jnp.isnan(mask))) for mask in outside[:2])
    assert_equal(outside[2], known[2])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("rate", [1 - 1e-5, 1 - 1e-9])
def test_a_rate_next_to_1_drops_and_gives_no_nan(rate: float, dtype: str) -> None:
    """1 - 1e-9 is 1 in float32, and 1e5 is infinite in float16."""
    params = network((4, 3, 2), dtype=dtype)
    masks: Any = dropout_masks(KEY, params, 5, hidden=rate)
    assert_equal(masks[1], jnp.zeros((5, 3), dtype))


def test_the_same_key_gives_the_same_masks() -> None:
    params = network((4, 3, 2))
    once, again = (dropout_masks(KEY, params, 5, hidden=0.5) for _ in range(2))
    assert_equal(once, again)
    other = dropout_masks(jax.random.key(4), params, 5, hidden=0.5)
    assert not np.array_equal(np.asarray(once[1]), np.asarray(other[1]))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_masks_have_the_dtype_of_the_parameters(dtype: Any) -> None:
    masks = dropout_masks(KEY, network((4, 3, 2), dtype=dtype), 5, inputs=0.5)
    assert masks[0] is not None
    assert masks[0].dtype == dtype


@pytest.mark.parametrize("name", ["inputs", "hidden"])
@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, float("nan")])
def test_a_rate_that_is_no_probability_of_dropping_is_refused(
    name: str, rate: float
) -> None:
    text = f"`{name}` must be a number at least 0 and below 1, got {rate}."
    rates: Any = {name: rate}
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        dropout_masks(KEY, network((4, 3, 2)), 5, **rates)


@pytest.mark.parametrize("rates", [(), (0.5, 0.5)])
def test_another_number_of_rates_is_refused(rates: Any) -> None:
    text = f"`hidden` must be one rate, or one per hidden layer (1), got {len(rates)}."
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        dropout_masks(KEY, network((4, 3, 2)), 5, hidden=rates)


def test_what_are_no_parameters_is_refused() -> None:
    with pytest.raises(TypeError, match="^`params` must be a non-empty tuple of Layer"):
        dropout_masks(KEY, (), 5)
