"""L2's factors: what each sample counts in the mean, s_i = w_i / sum_j w_j.

Weights of any size are brought near 1 by a power of two first, which changes no bit of
the mean, and keeps sums of 1e38 finite and products with 1e-38 above 0. Without weights
s_i = 1 / m; where the weights sum to 0, or there is no sample, s_i is exactly 0.
"""

import jax
import jax.numpy as jnp


def sample_scale(
    weights: jax.Array | None, samples: int, dtype: jnp.dtype
) -> jax.Array:
    """s, (m,); without weights the scalar 1 / m."""
    if weights is None:
        return jnp.asarray(1 / max(samples, 1), dtype)
    near = _near_one(weights.astype(dtype))
    return divide(near, jnp.sum(near))


def total_weight(
    weights: jax.Array | None, samples: int, dtype: jnp.dtype
) -> jax.Array:
    """sum_i w_i, or m where there are no weights: a scalar of ``dtype``."""
    if weights is None:
        return jnp.asarray(samples, dtype)
    return jnp.sum(weights, dtype=dtype)


def per_sample(scale: jax.Array, values: jax.Array) -> jax.Array:
    """``scale``, (m,) or scalar, shaped to multiply values (..., m, n)."""
    if scale.ndim == 0 or values.ndim == 1:  # mutants: neither is below that
        return scale
    return jnp.expand_dims(scale, (*range(values.ndim - 2), values.ndim - 1))


def silence(
    values: jax.Array, weights: jax.Array | None, judged: jax.Array | None = None
) -> jax.Array:
    """0 in the place of NaN and infinities of samples whose weight is 0.

    Padding may hold anything, and 0 times infinity is not 0. What is finite stays, so
    that derivatives with respect to a weight are right at 0 as well.

    Args:
      values: (m,) or (..., m, n).
      weights: w, (m,), or None for all 1.
      judged: what must be finite, of the shape of the values; None for these.
    """
    if weights is None:
        return values
    padding = per_sample(~weights.astype(bool), values)
    wrong = padding & ~jnp.isfinite(values if judged is None else judged)
    return jnp.where(wrong, jnp.zeros_like(values), values)


def loss_scale(scale: jax.Array, dtype: jnp.dtype) -> jax.Array | None:
    """The power of two that brings the largest s_i to [1/2, 1), for narrow exponents.

    None where ``dtype`` reaches as far down as float32 and s_i delta_i fits as it is.

    Source: Micikevicius et al. 2018, "Mixed precision training", section 3.2.
    """
    if jnp.finfo(dtype).minexp <= jnp.finfo(jnp.float32).minexp:
        return None
    return _to_one(scale)


def divide(total: jax.Array, normaliser: jax.Array) -> jax.Array:
    """total / normaliser, and exactly 0 where the normaliser is 0: no sample counts."""
    empty = normaliser == 0
    divisor = jnp.where(empty, jnp.ones_like(normaliser), normaliser)
    return jnp.where(empty, jnp.zeros_like(total), total / divisor)


def _near_one(values: jax.Array) -> jax.Array:
    return values * _to_one(values)


def _to_one(values: jax.Array) -> jax.Array:
    """The power of two, a scalar, that brings the largest value to [1/2, 1)."""
    largest = jnp.max(jnp.abs(values), initial=0)
    _, exponent = jnp.frexp(jax.lax.stop_gradient(largest))
    # mutants: of float32's least numbers, either is near enough to 1
    return jnp.ldexp(jnp.ones_like(largest), jnp.clip(-exponent, -126, 126))
