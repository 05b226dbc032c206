"""The best epoch and patience, by losses written down."""

import jax.numpy as jnp
import numpy as np
import pytest

from handgrad import Layer
from handgrad.training.engine.best import Best, better, nothing_yet
from handgrad.training.engine.fit import Progress
from handgrad.training.engine.step import State
from handgrad.training.records.metrics import EpochRecord


def params_of(epoch: int) -> tuple[Layer, ...]:
    return (Layer(jnp.full((2, 2), float(epoch)), jnp.zeros(2)),)


def after(losses: list[float], min_change: float = 0.0, train: float = 1.0) -> Best:
    best = nothing_yet(params_of(0))
    for epoch, loss in enumerate(losses, start=1):
        record = EpochRecord(epoch, epoch, 1.0, train, 0.5, loss, 0.5, 0.1)
        state: State = None  # pyright: ignore[reportAssignmentType]
        progress = Progress(state, epoch, epoch, record=record, params=params_of(epoch))
        best = better(best, progress, min_change)
    return best


@pytest.mark.parametrize(
    ("losses", "epoch", "waited"),
    [
        ([], 0, 0),
        ([3.0], 1, 0),
        ([3.0, 2.0, 2.5, 2.0], 2, 2),
        ([3.0, np.nan, 2.0], 3, 0),
        ([3.0, np.inf], 1, 1),
    ],
)
def test_the_lowest_validation_loss_is_the_best(
    losses: list[float], epoch: int, waited: int
) -> None:
    best = after(losses, train=np.nan if np.nan in losses else 1.0)
    assert (int(best.epoch), int(best.waited)) == (epoch, waited)
    assert best.params[0].weight[0, 0] == epoch
    assert float(best.loss) == min([np.inf, *losses[epoch - 1 : epoch]])


def test_patience_wants_more_than_a_little() -> None:
    """Each epoch is a little better, and after each tenth by enough in sum."""
    best = after([1.0 - 0.01 * epoch for epoch in range(15)], min_change=0.095)
    assert (int(best.epoch), int(best.waited)) == (15, 4)


def test_without_validation_the_last_epoch_is_the_best() -> None:
    best = after([np.nan] * 3)
    assert (int(best.epoch), int(best.waited)) == (3, 3)


def test_within_an_epoch_nothing_changes() -> None:
    best = after([3.0])
    state: State = None  # pyright: ignore[reportAssignmentType]
    assert better(best, Progress(state, 5, 2), 0.0) is best
