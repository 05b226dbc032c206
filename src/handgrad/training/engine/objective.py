"""What training minimises on a minibatch, and its gradient by hand."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

import handgrad
from handgrad.byproducts import clipped_gradient
from handgrad.network.mlp import loss_of_logits
from handgrad.training.engine.numbers import off
from handgrad.training.errors import TrainingError
from handgrad.training.settings import Model, Optimizer, Training


class Objective(NamedTuple):
    """What decides targets, weights, masks and precision; numbers may be traced."""

    activation: str | tuple[str, ...]
    class_weights: tuple[float, ...]  # C of them
    label_smoothing: ArrayLike = 0.0
    input_dropout: ArrayLike = 0.0
    hidden_dropout: ArrayLike = 0.0
    clip_samples: ArrayLike = 0.0  # largest norm of a sample's gradient; 0: any
    dtype: str = "float32"  # of the network's arithmetic
    chunk: int | Literal["auto"] | None = None  # classes at a time; None: all


def make_objective(
    model: Model,
    training: Training,
    optimizer: Optimizer,
    counts: np.ndarray,
) -> Objective:
    """The objective that the settings describe.

    Args:
      model, training, optimizer: the tables of these names.
      counts: (C,), the training samples m_c of each class, or the sums of their
        weights, for balanced class weights m / (C m_c).

    Returns:
      The objective.
    """
    weights = np.ones(len(counts))
    if training.class_weights == "balanced":
        present = np.where(counts > 0, counts, 1)
        weights = counts.sum() / (len(counts) * present)
    return Objective(
        model.activation,
        tuple(map(float, weights)),
        training.label_smoothing,
        model.input_dropout,
        model.hidden_dropout,
        optimizer.clip_samples,
        model.dtype,
        training.chunk_classes or None,
    )


def loss_arguments(
    objective: Objective,
    params: handgrad.Params,
    y: jax.Array,
    *,
    weights: jax.Array | None = None,
    key: jax.Array | None = None,
) -> dict[str, Any]:
    """The keyword arguments that make `handgrad.loss` and `handgrad.value_and_grad`
    the objective of one minibatch.

    Args:
      objective: of `make_objective`.
      params: the network, in the dtype it computes in; gives the widths.
      y: (m,), integer labels.
      weights: (m,), of the samples, 0 for padding; None for all 1.
      key: a PRNG key, consumed here for the dropout masks; None drops nothing.

    Returns:
      targets, weights, masks and activation.
    """
    if any(weight != 1 for weight in objective.class_weights):
        by_class = handgrad.class_weights(y, jnp.asarray(objective.class_weights))
        weights = by_class if weights is None else by_class * weights
    return {
        "targets": _targets(objective, y),
        "weights": weights,
        "masks": None if key is None else _masks(objective, params, key, len(y)),
        "activation": objective.activation,
    }


def value_and_gradient(
    objective: Objective,
    params: handgrad.Params,
    x: jax.Array,
    arguments: dict[str, Any],
) -> tuple[jax.Array, handgrad.Params]:
    """J of a minibatch and its gradient by hand, in the dtype of the parameters.

    Args:
      objective: of `make_objective`.
      params: the network, float32 or float64.
      x: (m, n_0), features.
      arguments: of `loss_arguments`.

    Returns:
      The loss, scalar, and the gradient; the mean of the clipped gradients of the
      samples where the objective clips them.
    """
    narrow, x = cast((params, x), objective.dtype)
    if off(objective.clip_samples):
        value, grads = handgrad.value_and_grad(
            narrow, x, chunk=objective.chunk, **arguments
        )
    else:
        _refuse_chunks(objective, "optimizer.clip_samples", "left out of the sweep")
        value, grads = _clipped(objective, narrow, x, **arguments)
    return value, cast(grads, params[0].weight.dtype)


def loss_by_hand(
    objective: Objective,
    params: handgrad.Params,
    x: jax.Array,
    arguments: dict[str, Any],
) -> jax.Array:
    """J of a minibatch with the hand-written derivatives, for optimisers that
    look at the objective; no sample's gradient is clipped in it."""
    what = "one that does not look at the objective, as line searches do,"
    _refuse_chunks(objective, "optimizer.name", what)
    narrow, x = cast((params, x), objective.dtype)
    return handgrad.loss_by_hand(narrow, x, **arguments)


def cast(tree: Any, dtype: Any) -> Any:
    """The tree in another dtype."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


def drops(objective: Objective) -> bool:
    """Whether a step draws masks."""
    return not (off(objective.input_dropout) and off(objective.hidden_dropout))


def _clipped(
    objective: Objective,
    params: handgrad.Params,
    x: jax.Array,
    *,
    activation: Any,
    masks: Any,
    targets: jax.Array,
    weights: jax.Array,
) -> tuple[jax.Array, handgrad.Params]:
    trace = handgrad.forward(params, x, activation=activation, masks=masks)
    deltas = handgrad.deltas(params, trace, targets, weights=weights)
    value = loss_of_logits(trace.logits, targets, weights)
    clip = jnp.asarray(objective.clip_samples, jnp.float32)
    clip = jnp.where(clip > 0, clip, jnp.inf)
    return value, clipped_gradient(trace, deltas, clip_norm=clip)


def _refuse_chunks(objective: Objective, key: str, what: str) -> None:
    if objective.chunk is not None:
        raise TrainingError(
            f"`{key}` must be {what} where training.chunk_classes is not 0, got both. "
            "Set training.chunk_classes to 0."
        )


def _targets(objective: Objective, y: jax.Array) -> jax.Array | handgrad.Smoothed:
    epsilon, classes = objective.label_smoothing, len(objective.class_weights)
    if off(epsilon):
        return y
    if objective.chunk is not None:
        return handgrad.Smoothed(y, epsilon)
    return handgrad.smooth_labels(y, classes, epsilon)


def _masks(
    objective: Objective, params: handgrad.Params, key: jax.Array, samples: int
) -> handgrad.Masks:
    return handgrad.dropout_masks(
        key,
        params,
        samples,
        inputs=objective.input_dropout,
        hidden=objective.hidden_dropout,
    )
