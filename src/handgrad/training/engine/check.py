"""The gradient by hand against `jax.grad`, before a network is trained."""

import jax
import numpy as np

import handgrad
from handgrad.gradcheck import check_gradients
from handgrad.training.data import Part, scale
from handgrad.training.engine.layout import put
from handgrad.training.engine.objective import drops, loss_arguments
from handgrad.training.engine.order import Draw
from handgrad.training.engine.prepare import Run
from handgrad.training.engine.step import State
from handgrad.training.errors import TrainingError

ROWS = 32
"""Samples of the minibatch that is checked: more would cost, and tell no more."""


def check_first_gradient(run: Run, state: State, train: Part) -> str:
    """Compare the hand-written gradient of a small minibatch with `jax.grad`, with the
    smoothing, class weights and dropout of training.

    Args:
      run: of `prepare`.
      state: whose parameters are checked.
      train: the training part; its first rows are used.

    Returns:
      The report, a table with the relative error of every leaf.

    Raises:
      TrainingError: if they differ by more than rounding.
    """
    objective = run.step.objective
    rows = min(ROWS, run.batch_size, run.samples)
    x, y = np.asarray(train.x[:rows]), np.asarray(train.y[:rows])
    key = jax.random.fold_in(run.key, Draw.MASKS) if drops(objective) else None
    inputs = put(scale(run.step.scaling, x))
    arguments = loss_arguments(objective, state.params, put(y), key=key)
    activation = arguments.pop("activation")
    report = check_gradients(
        lambda params, x, arrays: handgrad.loss(
            params, x, activation=activation, **arrays
        ),
        lambda params, x, arrays: handgrad.value_and_grad(
            params, x, activation=activation, chunk=objective.chunk, **arrays
        ),
        state.params,
        inputs,
        arguments,
    )
    if not report.ok:
        raise TrainingError(
            f"`gradient` by hand must equal jax.grad on the first batch, got\n{report}"
        )
    return str(report)
