"""Which networks a sweep trains, proven to fit before anything is compiled."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np

from handgrad.training.data import Dataset
from handgrad.training.engine.evaluate import Samples
from handgrad.training.engine.layout import make_layout, put
from handgrad.training.engine.prepare import Run, make_step, prepare
from handgrad.training.engine.sweep.member import Parts, Point, Task, advance, begin
from handgrad.training.engine.sweep.memory import chunk_size
from handgrad.training.errors import TrainingError
from handgrad.training.settings import (
    Settings,
    Sweep,
    check_settings,
    value_at,
    with_value,
)

_APART = {
    "seed": "`sweep.seeds` says how many there are of each network",
    "data": "all members of a sweep share the data",
    "records": "it changes no network",
    "model.stack_above": "it changes the shapes of the program",
    "training.batch_size": "it changes the shapes of the program",
    "training.chunk_steps": "it changes no network",
    "training.chunk_classes": "it changes the shapes of the program",
    "scale": "it changes no network",
}


class Entry(NamedTuple):
    """Which network a member is."""

    values: dict[str, float]  # of settings, by their dotted keys
    seed: int


class Plan(NamedTuple):
    """What `train_members` needs."""

    task: Task
    parts: Parts
    members: tuple[Entry, ...]
    size: int  # members of a chunk, which one program trains
    workers: int  # chunks that are at work at the same time


def plan_sweep(settings: Settings, data: Dataset) -> Plan:
    """Check every combination of values, and lay the data on the device.

    Args:
      settings: checked by `check_settings`; the table [sweep] says what to train.
      data: of `load_data`.

    Returns:
      The plan; nothing is compiled.

    Raises:
      TrainingError: for a combination that cannot work, and for a setting that must be
        the same in all members; naming its key.
    """
    if data.streamed:
        raise TrainingError(
            "`data.stream` must be 'off' in a sweep, whose members share a training "
            "part in memory, got one that is streamed. Set it to 'off' if it fits."
        )
    _refuse_apart(settings.sweep)
    entries, single = _entries(settings), replace(settings, sweep=Sweep())
    check_settings(settings_of(single, entries[-1]))  # of the highest seed
    for entry in entries[:: settings.sweep.seeds]:
        chosen = settings_of(single, entry)
        check_settings(chosen)
        make_step(chosen, data)
    task, run = Task(single, data), prepare(single, data)
    parts = _parts(run, data)
    for key in settings.sweep.values:
        _prove(task, parts, key, entries[0])
    if run.step.layout is not None:
        task = _on_mesh(task, entries[0])
    size, workers = chunk_size(
        task,
        parts,
        _point(task, entries[0]),
        len(entries),
        settings.sweep.members,
    )
    return Plan(task, parts, entries, size, workers)


def settings_of(settings: Settings, entry: Entry) -> Settings:
    """The settings of the single run that a member equals."""
    for key, value in entry.values.items():
        settings = with_value(settings, key, value)
    return replace(settings, seed=entry.seed, sweep=Sweep())


def points(plan: Plan, entries: Sequence[Entry]) -> Point:
    """The arguments of a chunk; its last member stands in for those that it lacks."""
    filled = [*entries, *[entries[-1]] * (plan.size - len(entries))]
    each = [_point(plan.task, entry) for entry in filled]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)


def _point(task: Task, entry: Entry) -> Point:
    chosen = settings_of(task.settings, entry)
    values = {key: _array(key, value_at(chosen, key)) for key in entry.values}
    return Point(values, np.uint32(entry.seed))


def _array(key: str, value: float) -> np.number:
    """Of one dtype for all values of a setting: in a list of arguments for Optax, whole
    numbers may stand beside others."""
    whole = isinstance(value, int) and ".arguments." not in key
    return np.int32(value) if whole else np.float32(value)


def _entries(settings: Settings) -> tuple[Entry, ...]:
    """Every combination of values, with every seed."""
    values, seeds = settings.sweep.values, settings.sweep.seeds
    return tuple(
        Entry(dict(zip(values, chosen, strict=True)), settings.seed + offset)
        for chosen in itertools.product(*values.values())
        for offset in range(seeds)
    )


def _on_mesh(task: Task, entry: Entry) -> Task:
    """With the layout of a member, whose state has a place for all that is traced."""
    point = _point(task, entry)
    shapes = jax.eval_shape(lambda point: begin(task, point).state, point)
    layout = make_layout(task.settings.scale, lambda: shapes, task.batch_size)
    return task._replace(layout=layout)


def _parts(run: Run, data: Dataset) -> Parts:
    assert isinstance(run.train, Samples)  # nothing is streamed
    assert run.validation is None or isinstance(run.validation, Samples)
    x, y = (put(array, run.step.layout) for array in data.test[:2])
    test = Samples(x, y) if len(data.test.y) else None
    return Parts(run.train, run.seen, run.validation, test)


def _refuse_apart(sweep: Sweep) -> None:
    for key in sweep.values:
        for apart, reason in _APART.items():
            if f"{key}.".startswith(f"{apart}."):
                raise _refusal(key, reason)


def _prove(task: Task, parts: Parts, key: str, entry: Entry) -> None:
    """Evaluate the shapes of a member that has the one setting traced."""
    point = _point(task, entry._replace(values={key: entry.values[key]}))
    try:
        member = jax.eval_shape(lambda point: begin(task, point), point)
        jax.eval_shape(
            lambda *traced: advance(task, *traced), point, member, parts, 0, 1
        )
    except jax.errors.ConcretizationTypeError as error:
        raise _refusal(key, "its value must be known to the compiler") from error
    except Exception as error:
        raise _refusal(key, f"{error}".partition("\n")[0]) from error


def _refusal(key: str, reason: str) -> TrainingError:
    return TrainingError(
        f"`sweep.values.{key}` must be left out, because {reason}. Train separate runs "
        "where it is to differ."
    )
