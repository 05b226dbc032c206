"""From settings and data to trained parameters; nothing is printed or written here."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

import handgrad
from handgrad.training.data import Dataset, Part
from handgrad.training.errors import TrainingError
from handgrad.training.folder import EpochRecord
from handgrad.training.loop import (
    Batches,
    Epoch,
    Metrics,
    State,
    make_epoch,
    shuffled_batches,
)
from handgrad.training.objective import (
    Objective,
    check_gradient_by_hand,
    loss_arguments,
    make_objective,
)
from handgrad.training.optimizer import (
    evaluation_params,
    initial_state,
    make_optimizer,
)
from handgrad.training.settings import Settings


class Start(NamedTuple):
    """All that is decided before the first step."""

    params: handgrad.Params  # initial
    objective: Objective
    optimizer: optax.GradientTransformationExtraArgs
    key: jax.Array  # of shuffling and dropout


def prepare(settings: Settings, data: Dataset) -> Start:
    """Draw the parameters, make the objective and the optimiser.

    Args:
      settings: checked by `check_settings`.
      data: of `load_data`.

    Returns:
      What `check_first_batch` and `fit` start from; a function of settings and data.

    Raises:
      TrainingError: for an optimiser or schedule that Optax cannot make.
    """
    model, training = settings.model, settings.training
    init_key, key, noise_key = jax.random.split(jax.random.key(settings.seed), 3)
    samples, features = data.train.x.shape
    sizes = (features, *model.hidden, len(data.classes))
    steps = training.epochs * math.ceil(samples / training.batch_size)
    return Start(
        handgrad.init(init_key, sizes, activation=model.activation),
        make_objective(model, training, data.train.y, len(data.classes)),
        make_optimizer(settings.optimizer, steps, noise_key),
        key,
    )


def check_first_batch(settings: Settings, data: Dataset, start: Start) -> str:
    """Compare the gradient of the first step with `jax.grad`: the same minibatch, with
    the same weights, smoothing and dropout masks.

    Returns:
      The report, a table with the relative error of every leaf.

    Raises:
      TrainingError: if they differ by more than rounding.
    """
    samples = len(data.train.y)
    batches = shuffled_batches(start.key, 1, samples, settings.training.batch_size)
    first: Batches = jax.tree.map(lambda stacked: stacked[0], batches)
    x, y = (jnp.asarray(array)[first.rows] for array in data.train)
    arguments = loss_arguments(
        start.objective, start.params, y, present=first.present, key=first.keys
    )
    return check_gradient_by_hand(start.params, x, arguments)


def fit(
    settings: Settings,
    data: Dataset,
    start: Start,
    *,
    on_epoch: Callable[[EpochRecord, handgrad.Params], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> handgrad.Params:
    """Train for the epochs that the settings name.

    Args:
      settings, data, start: of `prepare`; the parameters in ``start`` stay usable.
      on_epoch: called as each epoch ends with its record, and the parameters to
        predict with, which the next epoch overwrites.
      stop: asked after each epoch whether to end early.

    Returns:
      The parameters to predict with. The same arguments on the same machine give the
      same bits.

    Raises:
      TrainingError: for an optimiser that cannot take a step with its arguments, or a
        loss that is no longer finite.
    """
    train, validation = (
        Part(*map(jnp.asarray, part)) for part in (data.train, data.validation)
    )
    params = jax.tree.map(jnp.copy, start.params)
    state = State(params, initial_state(start.optimizer, params))
    epoch = make_epoch(start.objective, start.optimizer, settings.training.batch_size)
    program = _compile(epoch, settings, state, start.key, train, validation)
    for number in range(1, settings.training.epochs + 1):
        began = time.perf_counter()
        state, metrics = program(state, start.key, jnp.int32(number), train, validation)
        record = _record(number, metrics, data, began)
        _check_finite(record, settings)
        params = evaluation_params(state.opt_state, state.params)
        on_epoch(record, params)
        if stop():
            break
    return params


def _compile(
    epoch: Epoch,
    settings: Settings,
    state: State,
    key: jax.Array,
    train: Part,
    validation: Part,
) -> Epoch:
    """The program of an epoch: traced once and compiled once, here."""
    jitted = jax.jit(epoch, donate_argnums=0)
    try:
        lowered = jitted.lower(state, key, jnp.int32(1), train, validation)
    except Exception as error:
        raise TrainingError(
            f"`optimizer.name` {settings.optimizer.name} cannot take a step with "
            f"these arguments and this schedule: {error}"
        ) from error
    return lowered.compile()


def _record(number: int, metrics: Metrics, data: Dataset, began: float) -> EpochRecord:
    """Waits for the device, so that the time is that of the epoch."""
    host = jax.device_get(metrics)
    return EpochRecord(
        epoch=number,
        train_loss=float(host.train_loss),
        train_accuracy=int(host.train_correct) / len(data.train.y),
        validation_loss=float(host.validation_loss),
        validation_accuracy=int(host.validation_correct) / len(data.validation.y),
        seconds=time.perf_counter() - began,
    )


def _check_finite(record: EpochRecord, settings: Settings) -> None:
    losses = (record.train_loss, record.validation_loss)
    if not all(map(math.isfinite, losses)):
        raise TrainingError(
            f"`optimizer.learning_rate` {settings.optimizer.learning_rate} of "
            f"{settings.optimizer.name} made the loss {losses[0]} (validation "
            f"{losses[1]}) in epoch {record.epoch}: it must stay finite. Lower it."
        )
