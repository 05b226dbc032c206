"""What training minimises on a minibatch: the arguments of `handgrad.loss`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import handgrad
from handgrad.gradcheck import check_gradients
from handgrad.training.errors import TrainingError
from handgrad.training.settings import Model, Training


class Objective(NamedTuple):
    """Plain numbers that decide targets, weights and masks."""

    activation: str | tuple[str, ...]
    class_weights: tuple[float, ...]  # C of them
    label_smoothing: float
    input_dropout: float
    hidden_dropout: float


def make_objective(
    model: Model, training: Training, y: np.ndarray, classes: int
) -> Objective:
    """The objective that the settings describe.

    Args:
      model: the table [model].
      training: the table [training].
      y: (m,), the labels of the training part, for balanced class weights
        m / (C m_c), where m_c samples are of class c.
      classes: C.

    Returns:
      The objective.
    """
    weights = np.ones(classes)
    if training.class_weights == "balanced":
        counts = np.bincount(y, minlength=classes)
        weights = len(y) / (classes * np.maximum(counts, 1))
    return Objective(
        model.activation,
        tuple(map(float, weights)),
        training.label_smoothing,
        model.input_dropout,
        model.hidden_dropout,
    )


def loss_arguments(
    objective: Objective,
    params: handgrad.Params,
    y: jax.Array,
    *,
    present: jax.Array | None = None,
    key: jax.Array | None = None,
) -> dict[str, Any]:
    """The keyword arguments that make `handgrad.loss` and `handgrad.value_and_grad`
    the objective of one minibatch.

    Args:
      objective: of `make_objective`.
      params: the network; gives widths and dtype.
      y: (m,), integer labels.
      present: (m,), 1 for a sample and 0 for padding; None if all are samples.
      key: a PRNG key, consumed here for the dropout masks; None drops nothing.

    Returns:
      targets, weights, masks and activation.
    """
    classes = len(objective.class_weights)
    weights = handgrad.class_weights(y, jnp.asarray(objective.class_weights))
    epsilon = objective.label_smoothing
    return {
        "targets": handgrad.smooth_labels(y, classes, epsilon) if epsilon else y,
        "weights": weights if present is None else weights * present,
        "masks": None if key is None else _masks(objective, params, key, len(y)),
        "activation": objective.activation,
    }


def check_gradient_by_hand(
    params: handgrad.Params, x: jax.Array, arguments: dict[str, Any]
) -> str:
    """Compare the hand-written gradient with `jax.grad` on one minibatch.

    Args:
      params: the network.
      x: (m, n_0), the features.
      arguments: of `loss_arguments`, for the same minibatch.

    Returns:
      The report, a table with the relative error of every leaf.

    Raises:
      TrainingError: if they differ by more than rounding.
    """
    arrays = {name: arguments[name] for name in ("targets", "weights", "masks")}
    activation = arguments["activation"]
    report = check_gradients(
        lambda params, x, arrays: handgrad.loss(
            params, x, activation=activation, **arrays
        ),
        lambda params, x, arrays: handgrad.value_and_grad(
            params, x, activation=activation, **arrays
        ),
        params,
        x,
        arrays,
    )
    if not report.ok:
        raise TrainingError(
            f"`gradient` by hand must equal jax.grad on the first batch, got\n{report}"
        )
    return str(report)


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
