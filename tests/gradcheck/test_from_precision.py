"""A right gradient computed in a narrower dtype than its own."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from handgrad import check_gradients

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((24, 30))
W = RANDOM.standard_normal((30, 12)) / 6


def loss(w: Any, x: Any) -> jax.Array:
    return jnp.sum(jnp.tanh(x @ w)) / len(x)


def summed_in(dtype: Any) -> Any:
    """The gradient whose contraction over the samples is in ``dtype``."""

    def gradient(w: Any, x: Any) -> Any:
        delta = 1 - jnp.tanh(x @ w) ** 2
        return (x.astype(dtype).T @ delta.astype(dtype)).astype(w.dtype) / len(x)

    return gradient


def rounded_to(dtype: Any) -> Any:
    return lambda w, x: jax.grad(loss)(w, x).astype(dtype).astype(w.dtype)


@pytest.mark.parametrize(
    ("dtype", "gradient", "said"),
    [
        ("float32", summed_in("bfloat16"), "bfloat16"),
        ("float32", rounded_to("bfloat16"), "Every entry is a bfloat16 number"),
        ("float32", rounded_to("float16"), "Every entry is a float16 number"),
        ("float64", summed_in("float32"), "float32"),
        ("float64", rounded_to("float32"), "Every entry is a float32 number"),
    ],
)
def test_narrow_arithmetic_is_told(dtype: str, gradient: Any, said: str) -> None:
    with jax.enable_x64(dtype == "float64"):
        w, x = jnp.asarray(W, dtype), jnp.asarray(X, dtype)
        report = check_gradients(loss, gradient, w, x)
    assert [leaf.cause for leaf in report.leaves] == ["low_precision"]
    assert said in report.leaves[0].explanation


def test_noise_that_no_dtype_makes_is_unknown() -> None:
    noise = jnp.asarray(RANDOM.standard_normal(W.shape), jnp.float32)

    def gradient(w: Any, x: Any) -> Any:
        found = jax.grad(loss)(w, x)
        return found + 0.3 * jnp.sqrt(jnp.mean(found**2)) * noise

    report = check_gradients(
        loss, gradient, jnp.asarray(W, jnp.float32), jnp.asarray(X, jnp.float32)
    )
    assert [leaf.cause for leaf in report.leaves] == ["unknown"]


@pytest.mark.parametrize(
    "pattern",
    [
        lambda w: jnp.ones_like(w),
        lambda w: jnp.ones_like(w) * jnp.cos(jnp.arange(12.0))[None, :],
        lambda w: jnp.cos(jnp.arange(30.0))[:, None] * jnp.sin(jnp.arange(12.0)),
    ],
    ids=["constant", "one row", "rank 1"],
)
def test_pattern_as_small_as_rounding_in_bfloat16_is_unknown(pattern: Any) -> None:
    w, x = jnp.asarray(W, jnp.float32), jnp.asarray(X, jnp.float32)

    def gradient(w: Any, x: Any) -> Any:
        found = jax.grad(loss)(w, x)
        return found + 2**-8 * jnp.sqrt(jnp.mean(found**2)) * pattern(w)

    report = check_gradients(loss, gradient, w, x)
    assert [leaf.cause for leaf in report.leaves] == ["unknown"]


def test_constant_as_small_as_rounding_is_unknown_in_a_vector_too() -> None:
    w = jnp.linspace(1.0, 2.0, 80)
    report = check_gradients(
        lambda w: jnp.sum(jnp.sin(7 * w)),
        lambda w: 7 * jnp.cos(7 * w) + 0.01,
        w,
    )
    assert [leaf.cause for leaf in report.leaves] == ["unknown"]


def test_simple_numbers_are_no_proof_of_narrow_arithmetic() -> None:
    """Where the truth is made of bfloat16 numbers, so is much that is wrong."""
    w = jnp.array([1.0, 2.0, 3.0, 4.0, 5.0])
    report = check_gradients(
        lambda w: jnp.sum(w * jnp.array([1.0, 2.0, 3.0, 4.0, 6.0])),
        lambda w: jnp.array([1.0, 2.0, 3.5, 4.0, 6.5]),
        w,
    )
    assert [leaf.cause for leaf in report.leaves] == ["unknown"]


def test_what_cannot_be_told_apart_at_this_precision_passes_with_its_floor() -> None:
    w, x = jnp.asarray(W, jnp.bfloat16), jnp.asarray(X, jnp.bfloat16)
    report = check_gradients(loss, lambda w, x: 1.001 * jax.grad(loss)(w, x), w, x)
    assert report.ok
    assert report.leaves[0].floor > 0.005
