"""The best parameters of a run so far, and when to stop looking for better ones."""

import math
from typing import NamedTuple

import jax
import numpy as np

import handgrad
from handgrad.training.engine.fit import Progress


class Best(NamedTuple):
    """Of the epoch with the lowest validation loss; arrays, so that it can be kept."""

    params: handgrad.Params  # numpy arrays
    loss: np.ndarray  # validation loss in nats, infinite before the first epoch
    epoch: np.ndarray  # from 1; 0 before the first
    mark: np.ndarray  # the loss that patience wants to see undercut
    waited: np.ndarray  # epochs since it was


def nothing_yet(params: handgrad.Params) -> Best:
    """Before the first epoch."""
    return _best(params, math.inf, 0, math.inf, 0)


def better(best: Best, progress: Progress, min_change: float) -> Best:
    """The best after a chunk; the same unless an epoch ended with it.

    Without a validation part the last epoch is the best.

    Args:
      best: so far.
      progress: of `fit`.
      min_change: by how much the loss must fall for patience to begin anew.

    Returns:
      This epoch's where its loss is lower, otherwise the same with one more waited.
    """
    record, params = progress.record, progress.params
    if record is None or params is None:
        return best
    loss, mark, waited = record.validation_loss, float(best.mark), int(best.waited) + 1
    if loss < mark - min_change:
        mark, waited = loss, 0
    no_validation = math.isnan(loss) and math.isfinite(record.train_loss)
    if loss < best.loss or no_validation:
        return _best(params, loss, record.epoch, mark, waited)
    return _best(best.params, float(best.loss), int(best.epoch), mark, waited)


def _best(
    params: handgrad.Params, loss: float, epoch: int, mark: float, waited: int
) -> Best:
    """Copies: the next chunk overwrites the parameters of a state."""
    return Best(
        jax.tree.map(lambda leaf: np.array(leaf), params),
        np.array(loss, np.float32),
        np.array(epoch, np.int32),
        np.array(mark, np.float32),
        np.array(waited, np.int32),
    )
