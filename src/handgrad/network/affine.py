"""The affine map of a layer, forward and backward: F1, B4, B5, B6.

B4 and B5 are the equations of one sample, summed over the batch and divided by the
normaliser of L2. In the backward pass that division happens here and nowhere else.
"""

import jax
import jax.numpy as jnp

from handgrad.network.mean import divide
from handgrad.network.types import accumulation_dtype


def affine(inputs: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """F1: d_k = W_k^T a_{k-1} + b_k, here with samples as rows: D = A W + b.

    Args:
      inputs: a_{k-1}, (m, n_in).
      weight: W_k, (n_in, n_out).
      bias: b_k, (n_out,).

    Returns:
      d_k, (m, n_out).
    """
    return inputs @ weight + bias[None, :]


def weight_gradient(
    inputs: jax.Array, delta: jax.Array, normaliser: jax.Array
) -> jax.Array:
    """B4: dl/dW_k = a_{k-1} (dl/dd_k)^T, summed over samples and divided as L2 says.

    Args:
      inputs: a_{k-1}, (m, n_in).
      delta: dl_i/dd_k of every sample, (m, n_out).
      normaliser: sum of the sample weights, scalar; m where there are none.

    Returns:
      dJ/dW_k, (n_in, n_out), in the dtype of ``delta``; summed in float32 or wider.
    """
    wide = accumulation_dtype(delta.dtype)
    total = jnp.matmul(inputs.T, delta, preferred_element_type=wide)
    return divide(total, normaliser).astype(delta.dtype)


def bias_gradient(delta: jax.Array, normaliser: jax.Array) -> jax.Array:
    """B5: dl/db_k = dl/dd_k, summed over samples and divided as L2 says.

    Args:
      delta: dl_i/dd_k of every sample, (m, n_out).
      normaliser: sum of the sample weights, scalar; m where there are none.

    Returns:
      dJ/db_k, (n_out,), in the dtype of ``delta``; summed in float32 or wider.
    """
    total = jnp.sum(delta, axis=0, dtype=accumulation_dtype(delta.dtype))
    return divide(total, normaliser).astype(delta.dtype)


def carry_back(delta: jax.Array, weight: jax.Array) -> jax.Array:
    """B6: dl/da_k = W_{k+1} dl/dd_{k+1}, the error carried back through F1.

    Args:
      delta: dl/dd_{k+1}, (m, n_out).
      weight: W_{k+1}, (n_in, n_out).

    Returns:
      dl/da_k, (m, n_in).
    """
    return delta @ weight.T


def backprop(
    k: int, delta: jax.Array, weight: jax.Array, output_delta: jax.Array
) -> jax.Array:
    """B6 as a `Transport`: the exact one."""
    del k, output_delta
    return carry_back(delta, weight)
