"""Training as a generator: states and records, one after the other.

Nothing is printed or written here. Whoever iterates decides what becomes of what is
yielded: checkpoints, logs, early stopping, pictures.
"""

import math
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

import handgrad
from handgrad.scale.processes import first_says
from handgrad.training.data import Part
from handgrad.training.engine.blocks import BLOCK
from handgrad.training.engine.evaluate import ROWS, Samples, Score
from handgrad.training.engine.layout import Layout, from_own, own_rows
from handgrad.training.engine.order import steps_of
from handgrad.training.engine.prepare import Run
from handgrad.training.engine.programs import Programs
from handgrad.training.engine.step import Block, Epoch, State, Sums
from handgrad.training.errors import Diverged
from handgrad.training.records.metrics import EpochRecord

SECONDS = 0.3
"""That a chunk takes where its steps are chosen by time: how long a signal waits."""

MOST_STEPS = 2**20
"""In a chunk whose steps take no time at all."""


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


def fit(
    run: Run,
    programs: Programs,
    state: State,
    *,
    epochs: int,
    chunk_steps: int = 0,
) -> Iterator[Progress]:
    """Train from a state to the end of an epoch.

    Args:
      run: of `prepare`.
      programs: of `compile_programs`, for a run of these shapes.
      state: of `start`, or any that was yielded; it is consumed.
      epochs: the last epoch, counted from the first step of all.
      chunk_steps: steps per compiled call; 0: as many as take `SECONDS`.

    Yields:
      Where it stands after every chunk, and at the end of every epoch with its record.
      A yielded state is consumed by the next chunk: copy what is to be kept. The same
      arguments on the same machine give the same bits, whatever the chunks are.

    Raises:
      Diverged: after the record of an epoch whose loss is not finite.
    """
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
        state = state._replace(sums=_no_sums(state.sums))
        ended = Progress(state, done, epoch, epoch == epochs, record, params)
        yield ended
        if not ended.finite:
            raise Diverged(
                f"`loss` must stay finite, but in epoch {epoch} it became "
                f"{record.objective} (over the samples scored: {record.train_loss}).",
                done,
            )


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
        steps = max(1, int(min(wanted, 8 * self.steps, MOST_STEPS)))
        self.steps = first_says(steps)


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


def _score(
    run: Run, programs: Programs, state: State, epoch: int, steps: int
) -> tuple[EpochRecord, handgrad.Params]:
    on_device = None if isinstance(run.validation, Part) else run.validation
    params, *found = programs.score(state, run.seen, on_device)
    train, validation, rate = jax.device_get(found)
    if isinstance(run.validation, Part):
        layout = run.step.layout
        validation = _score_from_disk(programs, params, run.validation, layout)
    validation = validation or Score(math.nan, math.nan)
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


def _score_from_disk(
    programs: Programs, params: handgrad.Params, part: Part, layout: Layout | None
) -> Score:
    """The score of a part that is read block by block, by each process its rows."""
    row = part.x.dtype.itemsize * part.x.shape[1]
    rows = min(len(part.y), max(1, BLOCK // row))
    if layout:
        rows = min(ROWS, -(-rows // layout.shares)) * layout.shares
    own = np.arange(rows) if layout is None else own_rows(layout, rows)
    total = np.zeros(2)
    for start in range(0, len(part.y), rows):
        y = np.asarray(part.y[start : start + rows])
        missing = (0, rows - len(y))
        weights = np.pad(np.ones(len(y), np.float32), missing)
        x = np.asarray(part.x[start + own[own < len(y)]])
        x = np.pad(x, ((0, len(own) - len(x)), (0, 0)))
        if layout:
            x = from_own(x, own, layout.rows, rows, axis=0)
        block = Samples(x, np.pad(y, missing), weights)
        total += np.array(jax.device_get(programs.evaluate(params, block))) * len(y)
    return Score(*(total / len(part.y)))


def _no_sums(sums: Sums) -> Sums:
    """Zeros where the sums lie."""
    zero = np.zeros((), sums.loss.dtype)
    devices = sums.loss.sharding
    one = len(devices.device_set) == 1
    return Sums(*jax.device_put((zero, zero), None if one else devices))
