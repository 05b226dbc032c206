"""J, and J with its gradient: all classes at once, or a chunk of them at a time."""

from typing import Literal, overload

import jax
from jax.typing import ArrayLike

from handgrad.network.affine import backprop
from handgrad.network.backward import gradients_below
from handgrad.network.chunked import (
    PerSample,
    Targets,
    forward_below,
    loss_in_chunks,
    value_and_grad_in_chunks,
)
from handgrad.network.mlp import (
    Activations,
    finite_forward,
    loss_of_logits,
    output_errors,
)
from handgrad.network.softmax_nll import smooth_labels
from handgrad.network.types import Masks, Params, Smoothed, Trace, Transport

Chunk = int | Literal["auto"]


def loss(
    params: Params,
    x: ArrayLike,
    targets: Targets,
    *,
    activation: Activations = "relu",
    weights: ArrayLike | None = None,
    masks: Masks | None = None,
    chunk: Chunk | None = None,
) -> jax.Array:
    """J of L2: the mean negative log-likelihood, sum_i w_i l_i / sum_i w_i.

    Args:
      params, x, activation, masks: as in `forward`.
      targets: integer labels (m,), distributions (m, C), or `Smoothed` labels.
      weights: w, (m,), or None for all 1. A row of weight 0 may hold anything.
      chunk: as in `value_and_grad`. Where `jax.grad` goes backward through it, JAX
        keeps what all chunks leave, and no memory is saved: take `value_and_grad`.

    Returns:
      J, scalar, in nats, float32 or wider; exactly 0 if the weights sum to 0.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.
    """
    if chunk is not None:
        network = forward_below(
            params,
            x,
            targets,
            activation=activation,
            weights=weights,
            masks=masks,
            chunk=chunk,
        )
        return loss_in_chunks(network)
    trace = finite_forward(
        params, x, activation=activation, masks=masks, weights=weights
    )
    return loss_of_logits(trace.logits, _as_array(params, targets), weights)


@overload  # mutants: for type checkers
def value_and_grad(
    params: Params,
    x: ArrayLike,
    targets: Targets,
    *,
    activation: Activations = ...,
    weights: ArrayLike | None = ...,
    masks: Masks | None = ...,
    transport: Transport = ...,
    has_aux: Literal[False] = ...,
    chunk: Chunk | None = ...,
) -> tuple[jax.Array, Params]: ...


@overload  # mutants: for type checkers
def value_and_grad(
    params: Params,
    x: ArrayLike,
    targets: Targets,
    *,
    activation: Activations = ...,
    weights: ArrayLike | None = ...,
    masks: Masks | None = ...,
    transport: Transport = ...,
    has_aux: Literal[True],
    chunk: None = ...,
) -> tuple[tuple[jax.Array, Trace], Params]: ...


@overload  # mutants: for type checkers
def value_and_grad(
    params: Params,
    x: ArrayLike,
    targets: Targets,
    *,
    activation: Activations = ...,
    weights: ArrayLike | None = ...,
    masks: Masks | None = ...,
    transport: Transport = ...,
    has_aux: Literal[True],
    chunk: Chunk,
) -> tuple[tuple[jax.Array, PerSample], Params]: ...


def value_and_grad(
    params: Params,
    x: ArrayLike,
    targets: Targets,
    *,
    activation: Activations = "relu",
    weights: ArrayLike | None = None,
    masks: Masks | None = None,
    transport: Transport = backprop,
    has_aux: bool = False,
    chunk: Chunk | None = None,
) -> tuple[jax.Array | tuple[jax.Array, Trace | PerSample], Params]:
    """J and dJ/dparams, derived by hand: what ``jax.value_and_grad(loss)`` returns.

    Args:
      params, x, targets, activation, weights, masks: as in `loss`.
      transport: what stands for B6; see `handgrad.transport`. None but the exact one
        with a chunk: the others need delta_L whole.
      has_aux: whether to return the trace as well, for an accuracy from its logits;
        with a chunk there are no logits, and losses, predictions and norms of single
        samples come instead.
      chunk: how many classes the last layer takes at a time, so that no array (m, C)
        is ever whole; "auto" chooses, and takes them all where there are few. None
        takes all. On a GPU few large chunks are faster than many small ones. With a
        chunk the logits are computed twice, and neither trace nor deltas of the last
        layer, and so no by-product made from them, are to be had; on a mesh the samples
        may be split, and the classes may not.

    Returns:
      J, scalar, and its gradient in the structure, shapes and dtypes of ``params``;
      with ``has_aux``, (J, trace) and the gradient, or (J, `PerSample`) with a chunk.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from handgrad import init
      >>> params = init(jax.random.key(0), (4, 8, 3))
      >>> x, y = jnp.ones((5, 4)), jnp.array([0, 1, 2, 0, 1])
      >>> value, grads = value_and_grad(params, x, y)
      >>> grads[0].weight.shape, grads[1].bias.shape
      ((4, 8), (3,))
    """
    if chunk is not None:
        _check_transport(transport)
        network = forward_below(
            params,
            x,
            targets,
            activation=activation,
            weights=weights,
            masks=masks,
            chunk=chunk,
        )
        return value_and_grad_in_chunks(network, has_aux=has_aux)
    trace = finite_forward(
        params, x, activation=activation, masks=masks, weights=weights
    )
    targets = _as_array(params, targets)
    value = loss_of_logits(trace.logits, targets, weights)
    known, delta = output_errors(trace, targets, weights)
    grads = gradients_below(params, trace, known, delta, transport=transport)
    return ((value, trace) if has_aux else value), grads


def _as_array(params: Params, targets: Targets) -> ArrayLike:
    if not isinstance(targets, Smoothed):
        return targets
    classes = params[-1].bias.shape[0]  # mutants: one axis
    return smooth_labels(targets.labels, classes, targets.epsilon)


def _check_transport(transport: Transport) -> None:
    if transport is not backprop:  # mutants: functions are equal if they are the same
        raise ValueError(
            "`transport` must be the exact one where there is a `chunk`, for others "
            f"need the error of all classes at once, got {transport}. Leave one out."
        )
