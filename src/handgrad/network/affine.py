"""The affine map of a layer, forward and backward: F1, B4, B5, B6.

B4 and B5 are the equations of one sample, summed over the batch. What each sample
counts in J is already in its delta, so nothing is divided here.
"""

import jax
import jax.numpy as jnp

from handgrad.network.placement import beside, contract, matmul
from handgrad.network.types import accumulation_dtype


def affine_forward(inputs: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """F1: d_k = W_k^T a_{k-1} + b_k, here with samples as rows: D = A W + b.

    Args:
      inputs: a_{k-1}, (m, n_in).
      weight: W_k, (n_in, n_out).
      bias: b_k, (n_out,).

    Returns:
      d_k, (m, n_out).
    """
    product = matmul(inputs, weight)
    return product + beside(bias, product)[None, :]


def affine_backward_weight(
    inputs: jax.Array,
    delta: jax.Array,
    sharding: jax.sharding.NamedSharding | None = None,
) -> jax.Array:
    """B4: dl/dW_k = a_{k-1} (dl/dd_k)^T, summed over samples.

    Args:
      inputs: a_{k-1}, (m, n_in), or (K, m, n_in) of a stack.
      delta: dl_i/dd_k of every sample times what the sample counts, (m, n_out) or
        (K, m, n_out).
      sharding: that of W_k, on a mesh with Explicit axes.

    Returns:
      The sum, (n_in, n_out) or (K, n_in, n_out), in float32 or wider.
    """
    return contract(inputs, delta, accumulation_dtype(delta.dtype), sharding)


def affine_backward_bias(delta: jax.Array) -> jax.Array:
    """B5: dl/db_k = dl/dd_k, summed over samples.

    Args:
      delta: dl_i/dd_k of every sample times what the sample counts, (m, n_out), or
        (K, m, n_out) of a stack.

    Returns:
      The sum, (n_out,) or (K, n_out), in float32 or wider.
    """
    return jnp.sum(delta, axis=-2, dtype=accumulation_dtype(delta.dtype))


def affine_backward_inputs(
    delta: jax.Array, weight: jax.Array, dtype: jnp.dtype | None = None
) -> jax.Array:
    """B6: dl/da_k = W_{k+1} dl/dd_{k+1}, the error carried back through F1.

    Args:
      delta: dl/dd_{k+1}, (m, n_out), or (K, m, n_out) of a stack.
      weight: W_{k+1}, (n_in, n_out) or (K, n_in, n_out).
      dtype: of the sums and the result, if not that of the operands.

    Returns:
      dl/da_k, (m, n_in) or (K, m, n_in).
    """
    return matmul(delta, weight.mT, dtype)


def backprop(
    k: int, delta: jax.Array, weight: jax.Array, output_delta: jax.Array
) -> jax.Array:
    """B6 as a `Transport`: the exact one."""
    del k, output_delta
    return affine_backward_inputs(delta, weight)
