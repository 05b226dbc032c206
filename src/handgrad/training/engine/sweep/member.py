"""One network of a sweep, as functions that `jax.vmap` turns into those of many.

Numbers of the settings and the seed are traced. What decides when a network is done is
decided on the device, and from then on nothing of it changes.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import handgrad
from handgrad.training.data import Dataset
from handgrad.training.engine.best import Best
from handgrad.training.engine.evaluate import Samples, Score, evaluate
from handgrad.training.engine.layout import Layout
from handgrad.training.engine.order import shuffled, steps_of
from handgrad.training.engine.prepare import first_params, make_step
from handgrad.training.engine.programs import scores
from handgrad.training.engine.step import (
    Epoch,
    State,
    Step,
    Sums,
    first_state,
    make_chunk,
)
from handgrad.training.settings import Settings, with_array


class Phase(IntEnum):
    """How far a member is."""

    RUNNING = 0
    DONE = 1  # all epochs
    STOPPED = 2  # early, by patience
    DIVERGED = 3  # with a loss that is not finite


class Point(NamedTuple):
    """What sets a member apart."""

    values: dict[str, Any]  # of settings, by their dotted keys
    seed: Any  # uint32


class Member(NamedTuple):
    """A network on its way."""

    state: State
    best: Best
    epoch: jax.Array  # int32: epochs done
    phase: jax.Array  # int32, a `Phase`


class Parts(NamedTuple):
    """The samples of all members."""

    train: Samples
    seen: Samples  # training samples that are scored
    validation: Samples | None
    test: Samples | None


class Task(NamedTuple):
    """What all members share and no program takes as an argument."""

    settings: Settings
    data: Dataset  # gives shapes, classes and scaling
    layout: Layout | None = None  # of each member, on a mesh

    @property
    def batch_size(self) -> int:
        """B, at most m."""
        return min(self.settings.training.batch_size, len(self.data.train.y))

    @property
    def steps_per_epoch(self) -> int:
        """S."""
        return steps_of(len(self.data.train.y), self.batch_size)


class Outcome(NamedTuple):
    """A member at its end."""

    best: Best
    epoch: jax.Array
    phase: jax.Array
    train: Score  # of the best parameters, over `Parts.seen`
    validation: Score | None
    test: Score | None


def begin(task: Task, point: Point) -> Member:
    """A member before its first step, as `start` makes the state of a run."""
    settings, step, key = _made(task, point)
    state = first_state(step, first_params(settings, task.data, key))
    zero, infinite = jnp.int32(0), jnp.float32(jnp.inf)
    best = Best(state.params, infinite, zero, infinite, zero)
    return Member(state, best, zero, jnp.int32(Phase.RUNNING))


def advance(
    task: Task,
    point: Point,
    member: Member,
    parts: Parts,
    done: jax.Array,
    until: jax.Array,
) -> Member:
    """Steps ``done`` to ``until``, which are of one epoch; at its end, the score.

    Args:
      task, point, parts: what the member is made of.
      member: its state before step ``done``.
      done, until: int32, the same for all members, so that `jax.vmap` leaves the loop
        over the steps a loop.

    Returns:
      The member after step ``until``; as it came if it had ended.
    """
    settings, step, key = _made(task, point)
    first = done - done % task.steps_per_epoch
    epoch = 1 + done // task.steps_per_epoch
    order = shuffled(key, epoch, len(task.data.train.y), task.batch_size)
    source = Epoch(*parts.train, *order, first)
    state = make_chunk(step)(member.state, key, source, until - done)
    after = jax.lax.cond(
        until == first + task.steps_per_epoch,
        lambda after: _end_epoch(settings, step, after, parts),
        lambda after: after,
        member._replace(state=state),
    )
    running = member.phase == Phase.RUNNING
    return jax.tree.map(lambda new, old: jnp.where(running, new, old), after, member)


def finish(task: Task, point: Point, member: Member, parts: Parts) -> Outcome:
    """The scores of a member's best parameters."""
    step = _made(task, point)[1]

    def score(part: Samples | None) -> Score | None:
        if part is None:
            return None
        params = member.best.params
        return evaluate(step.objective, step.scaling, params, part, task.layout)

    train, validation, test = map(score, (parts.seen, parts.validation, parts.test))
    assert train is not None
    return Outcome(member.best, member.epoch, member.phase, train, validation, test)


def _made(task: Task, point: Point) -> tuple[Settings, Step, jax.Array]:
    settings = with_array(task.settings, "seed", point.seed)
    for key, value in point.values.items():
        settings = with_array(settings, key, value)
    step = make_step(settings, task.data)._replace(layout=task.layout)
    return settings, step, jax.random.key(point.seed)


def _end_epoch(settings: Settings, step: Step, member: Member, parts: Parts) -> Member:
    training, state, epoch = settings.training, member.state, member.epoch + 1
    params, train, validation, _ = scores(step, state, parts.seen, parts.validation)
    loss = jnp.float32(jnp.nan) if validation is None else validation.loss
    best = better(member.best, epoch, params, train.loss, loss, training.min_change)
    objective = state.sums.loss / state.sums.weight
    finite = jnp.isfinite(objective) & jnp.isfinite(train.loss)
    waited = (training.patience > 0) & (training.patience <= best.waited)
    ends = jnp.where(epoch >= training.epochs, Phase.DONE, Phase.RUNNING)
    ends = jnp.where(waited, Phase.STOPPED, ends)
    ends = jnp.where(finite, ends, Phase.DIVERGED)
    zero = jnp.float32(0)
    state = state._replace(sums=Sums(zero, zero))
    return Member(state, best, epoch, ends.astype(jnp.int32))


def better(
    best: Best,
    epoch: jax.Array,
    params: handgrad.Params,
    train_loss: jax.Array,
    validation_loss: jax.Array,
    min_change: Any,
) -> Best:
    """As `handgrad.training.engine.best.better`, on the device."""
    falls = validation_loss < best.mark - min_change
    alone = jnp.isnan(validation_loss) & jnp.isfinite(train_loss)
    chosen = (validation_loss < best.loss) | alone
    return Best(
        jax.tree.map(lambda new, old: jnp.where(chosen, new, old), params, best.params),
        jnp.where(chosen, validation_loss, best.loss),
        jnp.where(chosen, epoch, best.epoch),
        jnp.where(falls, validation_loss, best.mark),
        jnp.where(falls, 0, best.waited + 1),
    )
