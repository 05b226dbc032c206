"""From settings and data to all that is decided before the first step."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import handgrad
from handgrad.training.data import Dataset, Part, stream
from handgrad.training.engine.evaluate import Samples
from handgrad.training.engine.objective import make_objective
from handgrad.training.engine.optimizer import make_optimizer
from handgrad.training.engine.order import Draw, steps_of
from handgrad.training.engine.step import State, Step, Sums
from handgrad.training.settings import Settings

SEEN = 10_000
"""Training samples that are scored at most."""

BLOCK = 2**25
"""Bytes of the features that a stream hands over at once, and that are scored at once
where a part stays on the disk."""

Stream = Callable[[int, int], Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]]
"""(epoch, first step of the epoch) -> blocks of x, y and presence."""


class Run(NamedTuple):
    """All that is decided before the first step."""

    step: Step
    begin: Callable[[jax.Array], State]  # from the key to the first state
    key: jax.Array  # of all that is drawn
    train: Samples | Stream
    seen: (
        Samples  # training samples that are scored, as many as there are for validation
    )
    validation: Samples | None
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
      TrainingError: for an optimiser or schedule that Optax cannot make.
    """
    samples, training = len(data.train.y), settings.training
    batch_size = min(training.batch_size, samples)
    epochs = settings.optimizer.schedule.epochs or training.epochs
    steps = epochs * steps_of(samples, batch_size)
    counts = np.bincount(data.train.y, minlength=len(data.classes))
    step = Step(
        make_objective(settings.model, training, settings.optimizer, counts),
        make_optimizer(settings.optimizer, steps, settings.seed),
        data.scaling,
        settings.optimizer.average,
    )
    place = (lambda part: part) if data.streamed else _on_device
    return Run(
        step,
        _beginning(settings, data, step),
        jax.random.key(settings.seed),
        _stream(data.train, settings.seed, batch_size)
        if data.streamed
        else _on_device(data.train),
        _seen(data),
        place(data.validation) if len(data.validation.y) else None,
        samples,
        batch_size,
    )


def _beginning(settings: Settings, data: Dataset, step: Step) -> Callable[..., State]:
    """The function from the key of a run to its first state."""
    sizes = (data.train.x.shape[1], *settings.model.hidden, len(data.classes))
    activation = settings.model.activation

    def begin(key: jax.Array) -> State:
        key = jax.random.fold_in(key, Draw.PARAMS)
        params = handgrad.init(key, sizes, activation=activation)
        average = params if settings.optimizer.average else None
        opt_state = step.optimizer.init(params)
        zero = jnp.zeros((), jnp.float32)
        begun = State(params, opt_state, average, jnp.int32(0), Sums(zero, zero))
        # As the chunk returns it: no leaf is of a weak type.
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype), begun)

    return begin


def _stream(part: Part, seed: int, batch_size: int) -> Stream:
    """Blocks of one size, so that one program takes them all: the last of an epoch ends
    in minibatches of nothing, which are not stepped through."""
    row = part.x.dtype.itemsize * part.x.shape[1]
    steps = max(1, BLOCK // (row * batch_size))

    def blocks(epoch: int, first: int) -> Iterator[tuple[np.ndarray, ...]]:
        for block in stream(part, seed, epoch, first, batch_size, steps):
            missing = (0, steps - len(block.y))
            yield tuple(
                np.pad(array, (missing, *((0, 0),) * (array.ndim - 1)))
                for array in block
            )

    return blocks  # pyright: ignore[reportReturnType]


def _on_device(part: Part) -> Samples:
    return Samples(jnp.asarray(part.x), jnp.asarray(part.y))


def _seen(data: Dataset) -> Samples:
    """Training samples to score: as many as there are for validation, so that one
    program scores both, and at most `SEEN`; the same ones after every epoch."""
    samples = len(data.train.y)
    count = min(len(data.validation.y) or SEEN, samples, SEEN)
    rows = np.sort(np.random.default_rng(0).choice(samples, count, replace=False))
    return _on_device(Part(np.asarray(data.train.x[rows]), data.train.y[rows]))
