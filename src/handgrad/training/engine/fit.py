"""From settings and data to a state that learns: `prepare`, then `fit`, a generator.

Nothing is printed or written here. Whoever iterates decides what becomes of what is
yielded: checkpoints, logs, early stopping, pictures.
"""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import handgrad
from handgrad.network.types import accumulation_dtype
from handgrad.training.data import Dataset, Part
from handgrad.training.engine.evaluate import Samples, Score, evaluate
from handgrad.training.engine.objective import make_objective, off
from handgrad.training.engine.optimizer import (
    evaluation_params,
    learning_rate,
    make_optimizer,
)
from handgrad.training.engine.order import Draw, shuffled, steps_of
from handgrad.training.engine.step import (
    Block,
    Chunk,
    Epoch,
    State,
    Step,
    Sums,
    make_chunk,
)
from handgrad.training.errors import Diverged, TrainingError
from handgrad.training.records.metrics import EpochRecord
from handgrad.training.settings import Settings

SECONDS = 0.3
"""That a chunk takes where its steps are chosen by time: how long a signal waits."""

Stream = Callable[[int, int], Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]]
"""(epoch, first step of the epoch) -> blocks of x, y and presence."""


class Run(NamedTuple):
    """All that is decided before the first step."""

    step: Step
    key: jax.Array  # of shuffling and dropout
    train: Samples | Stream
    seen: Samples  # training samples that are scored, as many as there are for validation
    validation: Samples | None
    samples: int  # m, of the training part
    batch_size: int


class Progress(NamedTuple):
    """Where training stands: after a chunk, or with a record at the end of an epoch."""

    state: State
    steps: int  # done
    epoch: int  # in which they are, from 1
    last: bool = False  # whether nothing follows
    record: EpochRecord | None = None
    params: handgrad.Params | None = None  # that the record is of; lost with the state

    @property
    def finite(self) -> bool:
        """Whether training can go on from here."""
        if self.record is None:
            return True  # only an epoch's end is yielded with a loss that is not
        return all(map(math.isfinite, (self.record.objective, self.record.train_loss)))


def prepare(settings: Settings, data: Dataset, stream: Stream | None = None) -> Run:
    """Make the objective and the optimiser, and lay the data on the device.

    Args:
      settings: checked by `check_settings`.
      data: of `load_data`.
      stream: where the training part is not to lie in memory.

    Returns:
      What `start` and `fit` need; a function of settings and data.

    Raises:
      TrainingError: for an optimiser or schedule that Optax cannot make.
    """
    samples, training = len(data.train.y), settings.training
    batch_size = min(training.batch_size, samples)
    epochs = settings.optimizer.schedule.epochs or training.epochs
    steps = epochs * steps_of(samples, batch_size)
    counts = np.bincount(data.train.y, data.train.weights, len(data.classes))
    step = Step(
        make_objective(settings.model, training, settings.optimizer, counts),
        make_optimizer(settings.optimizer, steps, settings.seed),
        data.scaling,
        settings.optimizer.average,
    )
    validation = _on_device(data.validation) if len(data.validation.y) else None
    return Run(
        step,
        jax.random.key(settings.seed),
        stream or _on_device(data.train),
        _seen(data),
        validation,
        samples,
        batch_size,
    )


def start(settings: Settings, data: Dataset, run: Run) -> State:
    """The state before the first step; abstract under `jax.eval_shape`.

    Raises:
      TrainingError: for arguments that the optimiser cannot work with.
    """
    sizes = (data.train.x.shape[1], *settings.model.hidden, len(data.classes))
    activation = settings.model.activation

    def state(key: jax.Array) -> State:
        key = jax.random.fold_in(key, Draw.PARAMS)
        return first_state(run.step, handgrad.init(key, sizes, activation=activation))

    try:
        return jax.jit(state)(run.key)
    except Exception as error:
        raise TrainingError(
            f"`optimizer` {settings.optimizer.name} cannot begin with these arguments: "
            f"{error}"
        ) from error


def first_state(step: Step, params: handgrad.Params) -> State:
    """The state before the first step, from parameters that are at hand."""
    zero = jnp.zeros((), accumulation_dtype(params[0].weight.dtype))
    average = None if off(step.decay) else params
    opt_state = step.optimizer.init(params)
    return State(params, opt_state, average, jnp.int32(0), Sums(zero, zero))


def prove(settings: Settings, data: Dataset, run: Run) -> None:
    """Evaluate the shapes of a step and compile nothing, so that what does not fit is
    known before anything is written.

    Raises:
      TrainingError: for an optimiser that cannot begin, or take a step, with its
        arguments.
    """
    state = jax.eval_shape(lambda: start(settings, data, run))
    one = jax.ShapeDtypeStruct((), jnp.int32)
    x, y = data.train.x, data.train.y
    shape = (1, run.batch_size)
    block = Block(
        jax.ShapeDtypeStruct((*shape, x.shape[1]), x.dtype),
        jax.ShapeDtypeStruct(shape, y.dtype),
        jax.ShapeDtypeStruct(shape, jnp.float32),
        one,
    )
    try:
        jax.eval_shape(make_chunk(run.step), state, run.key, block, one)
    except Exception as error:
        raise TrainingError(
            f"`optimizer.name` {settings.optimizer.name} cannot take a step with "
            f"these arguments and this schedule: {error}"
        ) from error


def fit(
    run: Run,
    state: State,
    *,
    epochs: int,
    chunk_steps: int = 0,
    programs: "Programs | None" = None,
) -> Iterator[Progress]:
    """Train from a state to the end of an epoch.

    Args:
      run: of `prepare`.
      state: of `start`, or any that was yielded; it is consumed.
      epochs: the last epoch, counted from the first step of all.
      chunk_steps: steps per compiled call; 0: as many as take `SECONDS`.
      programs: compiled before, for a run of these shapes; compiled here unless given.

    Yields:
      Where it stands after every chunk, and at the end of every epoch with its record.
      A yielded state is consumed by the next chunk: copy what is to be kept. The same
      arguments on the same machine give the same bits, whatever the chunks are.

    Raises:
      Diverged: after the record of an epoch whose loss is not finite.
    """
    programs = programs or compile_programs(run, state)
    pace = Pace(chunk_steps)
    per_epoch = steps_of(run.samples, run.batch_size)
    done = int(state.step)
    while done < epochs * per_epoch:
        epoch = 1 + done // per_epoch
        loss = 0.0
        for source, end in sources(run, programs, epoch, done):
            while done < end:
                count = min(pace.steps, end - done)
                with pace:
                    state = programs.chunk(state, run.key, source, np.int32(count))
                    loss = float(state.sums.loss)
                done += count
                if not math.isfinite(loss):
                    break
                if done < epoch * per_epoch:
                    yield Progress(state, done, epoch)
            if not math.isfinite(loss):
                break
        record, params = _score(run, programs, state, epoch, done)
        state = state._replace(sums=_no_sums(state.sums.loss.dtype))
        ended = Progress(state, done, epoch, epoch == epochs, record, params)
        yield ended
        if not ended.finite:
            raise Diverged(
                f"`loss` must stay finite, but in epoch {epoch} it became "
                f"{record.objective} (over the samples scored: {record.train_loss}).",
                done,
            )


class Programs(NamedTuple):
    """The compiled programs of a run."""

    chunk: Chunk
    order: Callable[[jax.Array, Any], tuple[jax.Array, jax.Array]]
    score: Callable[[State, Samples, Samples | None], Any]


def compile_programs(run: Run, state: State) -> Programs:
    """Trace what a run needs, and compile it side by side; the chunks of a stream are
    compiled when the first has come."""
    chunk = jax.jit(make_chunk(run.step), donate_argnums=0)
    order = jax.jit(partial(shuffled, samples=run.samples, batch_size=run.batch_size))
    score = jax.jit(partial(scores, run.step))
    one = np.int32(1)
    lowered = [order.lower(run.key, one), score.lower(state, run.seen, run.validation)]
    if isinstance(run.train, Samples):
        rows = Epoch(*run.train, *jax.eval_shape(order, run.key, one), one)
        lowered.append(chunk.lower(state, run.key, rows, one))
    with ThreadPoolExecutor() as pool:
        order, score, *chunks = pool.map(lambda each: each.compile(), lowered)
    return Programs(chunks[0] if chunks else chunk, order, score)


class Pace:
    """How many steps make the next chunk: fixed, or what took `SECONDS` last time."""

    def __init__(self, steps: int) -> None:
        self.fixed = steps > 0
        self.steps = steps or 1
        self._chunks = 0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        seconds = time.perf_counter() - self._began
        self._chunks += 1
        if self.fixed or self._chunks == 1:  # the first compiles
            return
        wanted = self.steps * SECONDS / max(seconds, 1e-6)
        self.steps = max(1, int(min(wanted, 8 * self.steps)))


def sources(
    run: Run, programs: Programs, epoch: int, done: int
) -> Iterator[tuple[Epoch | Block, int]]:
    """What the steps of an epoch read, and the count of steps at which it ends."""
    per_epoch = steps_of(run.samples, run.batch_size)
    first = (epoch - 1) * per_epoch
    if isinstance(run.train, Samples):
        order, present = programs.order(run.key, np.int32(epoch))
        yield Epoch(*run.train, order, present, np.int32(first)), first + per_epoch
        return
    for x, y, present in run.train(epoch, done - first):
        steps = min(len(y), first + per_epoch - done)
        yield Block(x, y, present, np.int32(done)), done + steps
        done += steps


def scores(
    step: Step, state: State, seen: Samples, validation: Samples | None
) -> tuple[handgrad.Params, Score, Score | None, jax.Array]:
    """The parameters to predict with, how good they are, and the learning rate."""
    params = evaluation_params(state.opt_state, state.params)
    params = params if state.average is None else state.average
    score = partial(evaluate, step.objective, step.scaling, params)
    rate = learning_rate(state.opt_state)
    return params, score(seen), None if validation is None else score(validation), rate


def _score(
    run: Run, programs: Programs, state: State, epoch: int, steps: int
) -> tuple[EpochRecord, handgrad.Params]:
    params, *found = programs.score(state, run.seen, run.validation)
    train, validation, rate = jax.device_get(found)
    validation = validation or Score(np.float32("nan"), np.float32("nan"))
    record = EpochRecord(
        epoch=epoch,
        steps=steps,
        objective=float(state.sums.loss) / float(state.sums.weight),
        train_loss=float(train.loss),
        train_accuracy=float(train.accuracy),
        validation_loss=float(validation.loss),
        validation_accuracy=float(validation.accuracy),
        learning_rate=float(rate),
    )
    return record, params


def _no_sums(dtype: Any) -> Sums:
    return Sums(*jax.device_put((np.zeros((), dtype), np.zeros((), dtype))))


def _on_device(part: Part) -> Samples:
    weights = None if part.weights is None else jnp.asarray(part.weights)
    return Samples(jnp.asarray(part.x), jnp.asarray(part.y), weights)


def _seen(data: Dataset) -> Samples:
    """Training samples to score, as many as there are for validation: drawn once, so
    that the curve of an epoch after another is of the same samples."""
    samples = len(data.train.y)
    count = min(len(data.validation.y) or 10_000, samples)
    rows = np.sort(np.random.default_rng(0).choice(samples, count, replace=False))
    weights = None if data.train.weights is None else data.train.weights[rows]
    return _on_device(Part(data.train.x[rows], data.train.y[rows], weights))
