"""Feedback that shares the signs of the weights, and not their magnitudes.

    dl/da_k = (M_k * sign(W_{k+1})) delta_{k+1},   M_k >= 0

Source: Liao et al. 2016, "How important is weight symmetry in backpropagation?"
(uniform, fixed and batchwise random magnitudes); Moskovitz et al. 2018, "Feedback
alignment in deep convolutional networks".
"""

import math

import jax
import jax.numpy as jnp

from handgrad.network.affine import affine_backward_inputs
from handgrad.network.types import Transport
from handgrad.transport.feedback import Feedback, matrix_of

_normal = jax.nn.initializers.glorot_normal()


def sign_symmetric_uniform() -> Transport:
    """M = sqrt(2 / (n_k + n_{k+1})) everywhere: the scale of Glorot's initial weights.

    Source: Liao et al. 2016, uSF; the scale is from Xiao et al. 2018,
    "Biologically-plausible learning algorithms can scale to large datasets".
    """

    def transport(
        k: int, delta: jax.Array, weight: jax.Array, output_delta: jax.Array
    ) -> jax.Array:
        del k, output_delta
        magnitude = math.sqrt(2 / sum(weight.shape))
        return affine_backward_inputs(delta, magnitude * jnp.sign(weight))

    return transport


def sign_symmetric_fixed(feedback: Feedback) -> Transport:
    """M_k = |B_k|, drawn once.

    Args:
      feedback: of `init_feedback`; its signs are not used.

    Source: Liao et al. 2016, frSF.
    """

    def transport(
        k: int, delta: jax.Array, weight: jax.Array, output_delta: jax.Array
    ) -> jax.Array:
        b_k = matrix_of(feedback, k, weight.shape, top=delta is output_delta)
        return affine_backward_inputs(delta, jnp.abs(b_k) * jnp.sign(weight))

    return transport


def sign_symmetric_random(key: jax.Array) -> Transport:
    """M_k = |B_k|, drawn again for every batch.

    Args:
      key: a PRNG key, consumed here: a new one for every step.

    Source: Liao et al. 2016, brSF.
    """

    def transport(
        k: int, delta: jax.Array, weight: jax.Array, output_delta: jax.Array
    ) -> jax.Array:
        del output_delta
        drawn = _normal(jax.random.fold_in(key, k), weight.shape, weight.dtype)
        return affine_backward_inputs(delta, jnp.abs(drawn) * jnp.sign(weight))

    return transport
