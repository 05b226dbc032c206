"""Feedback through matrices of its own: alignment, direct alignment, Kolen-Pollack.

The matrices B are data, made from a key here and passed like parameters. Like a weight,
B has shape (n_in, n_out) and stands for W_{k+1} in B6: dl/da_k = B delta.
"""

import jax

from handgrad.network.affine import affine_backward_inputs
from handgrad.network.checks import check_params
from handgrad.network.stacks import apart
from handgrad.network.types import Params, Transport

Feedback = tuple[jax.Array, ...]
"""(B_1, ..., B_{L-1}): B_k carries the error to a_k."""

_normal = jax.nn.initializers.glorot_normal()


def init_feedback(key: jax.Array, params: Params) -> Feedback:
    """Random B_k like W_{k+1}, (n_k, n_{k+1}), normal, variance 2 / (n_k + n_{k+1}).

    Args:
      key: a PRNG key, consumed here; not the one of the parameters.
      params: the network; gives shapes and dtype.

    Returns:
      One matrix per hidden layer.
    """
    check_params(params)
    layers = jax.eval_shape(apart, params)
    return _draw(key, params, [layer.weight.shape for layer in layers[1:]])


def init_direct_feedback(key: jax.Array, params: Params) -> Feedback:
    """Random B_k from the output, (n_k, C), normal, variance 2 / (n_k + C).

    Args:
      key: a PRNG key, consumed here; not the one of the parameters.
      params: the network; gives shapes and dtype.

    Returns:
      One matrix per hidden layer.
    """
    check_params(params)
    layers = jax.eval_shape(apart, params)
    classes = params[-1].bias.shape[0]
    return _draw(key, params, [(w.shape[0], classes) for w, _ in layers[1:]])


def _draw(key: jax.Array, params: Params, shapes: list[tuple[int, ...]]) -> Feedback:
    keys = jax.random.split(key, len(shapes))
    dtype = params[0].weight.dtype
    return tuple(_normal(k, s, dtype) for k, s in zip(keys, shapes, strict=True))


def feedback_alignment(feedback: Feedback) -> Transport:
    """dl/da_k = B_k delta_{k+1}, layer by layer through matrices of their own.

    Fixed ones are feedback alignment. Matrices that learn, by the updates of
    `kolen_pollack_gradients`, are the method of Kolen and Pollack.

    Args:
      feedback: of `init_feedback`.

    Source: Lillicrap et al. 2016, "Random synaptic feedback weights support error
    backpropagation for deep learning"; Akrout et al. 2019, "Deep learning without
    weight transport".
    """

    def transport(
        k: int, delta: jax.Array, weight: jax.Array, output_delta: jax.Array
    ) -> jax.Array:
        b_k = matrix_of(feedback, k, weight.shape, top=delta is output_delta)
        return affine_backward_inputs(delta, b_k)

    return transport


def direct_feedback_alignment(feedback: Feedback) -> Transport:
    """dl/da_k = B_k delta_L, from the output straight to every layer.

    Args:
      feedback: of `init_direct_feedback`.

    Source: Nokland 2016, "Direct feedback alignment provides learning in deep neural
    networks".
    """

    def transport(
        k: int, delta: jax.Array, weight: jax.Array, output_delta: jax.Array
    ) -> jax.Array:
        shape = (weight.shape[0], output_delta.shape[1])
        b_k = matrix_of(feedback, k, shape, top=delta is output_delta)
        return affine_backward_inputs(output_delta, b_k)

    return transport


def kolen_pollack_gradients(gradients: Params) -> Feedback:
    """What B_k is updated with: the gradient of W_{k+1}.

    Put parameters and feedback through one optimiser with weight decay: their updates
    are the same, so the decay of rate r per step shrinks B_k - W_{k+1} by 1 - r.

    Args:
      gradients: of `handgrad.gradients`, from deltas carried back by
        `feedback_alignment` through these matrices.

    Returns:
      One matrix per hidden layer, (n_k, n_{k+1}).

    Source: Akrout et al. 2019, "Deep learning without weight transport".
    """
    return tuple(layer.weight for layer in apart(gradients)[1:])


def matrix_of(
    feedback: Feedback, k: int, shape: tuple[int, ...], *, top: bool
) -> jax.Array:
    """B_k, (n_k, ...).

    Args:
      feedback: (B_1, ..., B_{L-1}).
      k: the hidden layer, 1 ... L-1.
      shape: what B_k must have.
      top: whether layer k is the last hidden one, so that L - 1 = k is known.

    Raises:
      ValueError: if there is another number of matrices than hidden layers, or B_k has
        another shape.
    """
    if top and len(feedback) != k:
        raise ValueError(
            f"`feedback` must have one matrix per hidden layer, {k}, "
            f"got {len(feedback)}. See `init_feedback`."
        )
    b_k = feedback[k - 1]
    if b_k.shape != shape:
        raise ValueError(
            f"`feedback` of hidden layer {k} must have shape {shape}, got {b_k.shape}. "
            "`feedback_alignment` takes matrices of `init_feedback`, "
            "`direct_feedback_alignment` those of `init_direct_feedback`."
        )
    return b_k
