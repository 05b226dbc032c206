"""From settings and data to all that is decided before the first step."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

import handgrad
from handgrad.scale.processes import many
from handgrad.training.data import Dataset, Part
from handgrad.training.engine.blocks import (
    Stream,
    gathered_share,
    streamed,
    streamed_share,
)
from handgrad.training.engine.evaluate import Samples
from handgrad.training.engine.layout import Layout, make_layout, put
from handgrad.training.engine.objective import make_objective
from handgrad.training.engine.optimizer import make_optimizer
from handgrad.training.engine.order import Draw, steps_of
from handgrad.training.engine.stacks import check_stacks
from handgrad.training.engine.step import State, Step, first_state
from handgrad.training.settings import Scale, Settings

SEEN = 10_000
"""Training samples that are scored at most."""


class Run(NamedTuple):
    """All that is decided before the first step."""

    step: Step
    begin: Callable[[jax.Array], State]  # from the key to the first state
    key: jax.Array  # of all that is drawn
    train: Samples | Stream
    seen: Samples  # training samples that are scored
    validation: Samples | Part | None  # on the device, or to be read block by block
    samples: int  # m, of the training part
    batch_size: int


def prepare(settings: Settings, data: Dataset) -> Run:
    """Make the objective and the optimiser, and lay the data on the device, or make the
    stream that reads them.

    Args:
      settings: checked by `check_settings`.
      data: of `load_data`.

    Returns:
      What `start` and `fit` need; a function of settings and data.

    Raises:
      TrainingError: for an optimiser or schedule that Optax cannot make, or devices
        that cannot share the work.
    """
    samples, step = len(data.train.y), make_step(settings, data)
    batch_size = min(settings.training.batch_size, samples)

    def begin(key: jax.Array) -> State:
        return first_state(step, first_params(settings, data, key))

    key = jax.random.key(settings.seed)
    first = partial(first_params, settings, data)
    check_stacks(settings, partial(jax.eval_shape, first, key))
    layout = _layout(settings.scale, partial(jax.eval_shape, begin, key), batch_size)
    if data.streamed or many():
        train = _blocks(data, key, settings.seed, batch_size, layout)
        validation = data.validation
    else:
        train = _on_device(data.train, layout)
        validation = _on_device(data.validation, layout)
    return Run(
        step._replace(layout=layout),
        begin,
        key,
        train,
        _seen(data, layout),
        validation if len(data.validation.y) else None,
        samples,
        batch_size,
    )


def make_step(settings: Settings, data: Dataset) -> Step:
    """Objective, optimiser and scaling; numbers of the settings may be traced.

    Raises:
      TrainingError: for an optimiser or schedule that Optax cannot make.
    """
    samples, training = len(data.train.y), settings.training
    epochs = settings.optimizer.schedule.epochs or training.epochs
    steps = epochs * steps_of(samples, min(training.batch_size, samples))
    counts = np.bincount(data.train.y, data.train.weights, len(data.classes))
    return Step(
        make_objective(settings.model, training, settings.optimizer, counts),
        make_optimizer(settings.optimizer, steps, settings.seed),
        data.scaling,
        settings.optimizer.average,
    )


def first_params(settings: Settings, data: Dataset, key: jax.Array) -> handgrad.Params:
    """The network before the first step; ``key`` is the run's."""
    sizes = (data.train.x.shape[1], *settings.model.hidden, len(data.classes))
    key = jax.random.fold_in(key, Draw.PARAMS)
    model = settings.model
    above = model.stack_above or None
    return handgrad.init(key, sizes, activation=model.activation, stack_above=above)


def _blocks(
    data: Dataset, key: jax.Array, seed: int, batch_size: int, layout: Layout | None
) -> Stream:
    if layout is None or not many():
        return streamed(data.train, seed, batch_size)
    if data.streamed:
        return streamed_share(data.train, seed, batch_size, layout)
    return gathered_share(data.train, key, batch_size, layout)


def _layout(scale: Scale, state: Callable[[], State], batch_size: int) -> Layout | None:
    if scale.data * scale.model == 1 and not many():
        return None
    return make_layout(scale, state, batch_size)


def _on_device(part: Part, layout: Layout | None) -> Samples:
    weights = None if part.weights is None else put(part.weights, layout)
    return Samples(put(part.x, layout), put(part.y, layout), weights)


def _seen(data: Dataset, layout: Layout | None) -> Samples:
    """Training samples to score: as many as there are for validation, so that one
    program scores both, and at most `SEEN`; the same ones after every epoch."""
    x, y, weights = data.train
    count = min(len(data.validation.y) or SEEN, len(y), SEEN)
    rows = np.sort(np.random.default_rng(0).choice(len(y), count, replace=False))
    weights = None if weights is None else weights[rows]
    return _on_device(Part(np.asarray(x[rows]), y[rows], weights), layout)
