"""Pearlmutter's R-operator through the derivation: one equation, one function.

R{.} is the derivative along v = (V_k, v_k) in the space of parameters. R of a product
is R of one factor times the other, and the other way round; of a constant, x or the
targets, it is 0. Each function here is R of the function of the network whose number
it bears: RF1 of F1, RB6 of B6. Rows are samples; with t_i = sum_c q_ic as in B3.

Source: Pearlmutter 1994, "Fast exact multiplication by the Hessian".
"""

import jax
import jax.numpy as jnp

from handgrad.network.activations import Activation, through_activation
from handgrad.network.affine import (
    affine_backward_bias,
    affine_backward_inputs,
    affine_backward_weight,
    affine_forward,
)
from handgrad.network.mean import per_sample
from handgrad.network.placement import matmul
from handgrad.network.types import Layer


def r_affine(
    inputs: jax.Array, r_inputs: jax.Array | None, layer: Layer, along: Layer
) -> jax.Array:
    """RF1: R{d_k} = W_k^T R{a_{k-1}} + V_k^T a_{k-1} + v_k.

    Args:
      inputs, r_inputs: a_{k-1} and R of it, (m, n_in); None where that is 0.
      layer, along: (W_k, b_k) and (V_k, v_k).

    Returns:
      R{d_k}, (m, n_out).
    """
    r_d = affine_forward(inputs, *along)
    return r_d if r_inputs is None else r_d + matmul(r_inputs, layer.weight)


def r_activate(
    activation: Activation, pre_activation: jax.Array, value: jax.Array, r_d: jax.Array
) -> jax.Array:
    """RF2: R{a_k} = h'(d_k) * R{d_k}; the Jacobian of F2 is its own transpose, so B7.

    Args:
      activation: the pair h, h'.
      pre_activation, value: d_k and a_k = h(d_k), (m, n_k).
      r_d: R{d_k}, (m, n_k).

    Returns:
      R{a_k}, (m, n_k).
    """
    return through_activation(activation, pre_activation, value, r_d)


def r_output_delta(
    probabilities: jax.Array, r_logits: jax.Array, row_sums: jax.Array | None = None
) -> jax.Array:
    """RB3: R{delta_L} = t H R{d_L}, H = diag(a_L) - a_L a_L^T, the Jacobian B2.

    Args:
      probabilities: a_L, (m, C).
      r_logits: R{d_L}, (m, C).
      row_sums: t, (m,); None for all 1.

    Returns:
      R of `output_delta`, (m, C), in the dtype of the probabilities.
    """
    p, r_d = probabilities, r_logits.astype(probabilities.dtype)
    product = p * (r_d - jnp.sum(p * r_d, axis=1, keepdims=True))
    return product if row_sums is None else per_sample(row_sums, product) * product


def r_weight_gradient(
    inputs: jax.Array,
    r_inputs: jax.Array | None,
    delta: jax.Array,
    r_delta: jax.Array,
    sharding: jax.sharding.NamedSharding | None = None,
) -> jax.Array:
    """RB4: R{dl/dW_k} = R{a_{k-1}} delta_k^T + a_{k-1} R{delta_k}^T, over samples.

    Args:
      inputs, r_inputs: a_{k-1} and R of it, (m, n_in); None where that is 0.
      delta, r_delta: delta_k and R of it, (m, n_out).
      sharding: that of W_k, on a mesh with Explicit axes.

    Returns:
      The sum, (n_in, n_out), in float32 or wider.
    """
    total = affine_backward_weight(inputs, r_delta, sharding)
    if r_inputs is None:
        return total
    return total + affine_backward_weight(r_inputs, delta, sharding)


def r_bias_gradient(r_delta: jax.Array) -> jax.Array:
    """RB5: R{dl/db_k} = R{delta_k}, summed over samples: (m, n_out) -> (n_out,)."""
    return affine_backward_bias(r_delta)


def r_carry_back(
    delta: jax.Array, r_delta: jax.Array, weight: jax.Array, along: jax.Array
) -> jax.Array:
    """RB6: R{dl/da_k} = W_{k+1} R{delta_{k+1}} + V_{k+1} delta_{k+1}.

    Args:
      delta, r_delta: delta_{k+1} and R of it, (m, n_out).
      weight, along: W_{k+1} and V_{k+1}, (n_in, n_out).

    Returns:
      R{dl/da_k}, (m, n_in).
    """
    return affine_backward_inputs(r_delta, weight) + affine_backward_inputs(
        delta, along
    )


def r_through_activation(
    activation: Activation,
    pre_activation: jax.Array,
    value: jax.Array,
    r_d: jax.Array,
    cotangent: jax.Array,
    r_cotangent: jax.Array,
) -> jax.Array:
    """RB7: R{delta_k} = h'(d_k) * R{dl/da_k} + h''(d_k) * R{d_k} * dl/da_k.

    Args:
      activation: h, h' and h''.
      pre_activation, value: d_k and a_k = h(d_k), (m, n_k).
      r_d: R{d_k}, (m, n_k).
      cotangent, r_cotangent: dl/da_k and R of it, (m, n_k).

    Returns:
      R{delta_k}, (m, n_k).

    Raises:
      ValueError: for an `Activation` without a second derivative.
    """
    if activation.second_derivative is None:
        raise ValueError(
            "`activation` must have a second derivative for Hessian-vector products, "
            f"got {activation!r}. Give Activation(..., second_derivative=...)."
        )
    straight = through_activation(activation, pre_activation, value, r_cotangent)
    bend = activation.second_derivative(pre_activation, value)
    return straight + bend * r_d * cotangent
