"""The weighted mean of L2: sum_i w_i x_i / sum_i w_i, and exactly 0 without samples."""

import jax
import jax.numpy as jnp


def normaliser(weights: jax.Array | None, samples: int, dtype: jnp.dtype) -> jax.Array:
    """sum_i w_i, or m where there are no weights: a scalar of ``dtype``."""
    if weights is None:
        return jnp.asarray(samples, dtype)
    return jnp.sum(weights, dtype=dtype)


def weighted(values: jax.Array, weights: jax.Array | None) -> jax.Array:
    """w_i x_i for values (m,) or (m, n); the values themselves without weights."""
    if weights is None:
        return values
    per_sample = weights.astype(values.dtype)
    return values * per_sample.reshape(-1, *(1,) * (values.ndim - 1))


def near_one(weights: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """The weights over a power of two that brings the largest to [1/2, 1).

    The mean does not change, not in a bit; but w_i delta_i, in the parameters' dtype,
    neither overflows nor underflows in half precision.
    """
    wide = weights.astype(dtype)
    _, exponent = jnp.frexp(jnp.max(jnp.abs(wide), initial=0))
    scale = jnp.ldexp(jnp.ones((), dtype), jnp.clip(-exponent, -126, 126))
    return wide * scale


def divide(total: jax.Array, normaliser: jax.Array) -> jax.Array:
    """total / normaliser, and exactly 0 where the normaliser is 0: no sample counts."""
    empty = normaliser == 0
    divisor = jnp.where(empty, jnp.ones_like(normaliser), normaliser)
    return jnp.where(empty, jnp.zeros_like(total), total / divisor)
