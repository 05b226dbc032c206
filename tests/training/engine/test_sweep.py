"""Members of a sweep against their single runs; chunks, refusals, early ends."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import handgrad
from handgrad.training import Dataset, Settings, TrainingError
from handgrad.training.engine.best import Best, better, nothing_yet
from handgrad.training.engine.fit import compile_programs, fit, prepare, start
from handgrad.training.engine.sweep import (
    Entry,
    Phase,
    plan_sweep,
    settings_of,
    train_members,
)
from handgrad.training.engine.sweep import member as on_device
from handgrad.training.engine.sweep.chunks import make_programs
from handgrad.training.engine.sweep.memory import chunk_size, free_bytes, member_bytes
from handgrad.training.engine.sweep.plan import points
from handgrad.training.errors import Diverged
from handgrad.training.records.metrics import EpochRecord
from handgrad.training.settings import Sweep, with_value

Found = dict[str, Any]


def with_all(settings: Settings, **values: Any) -> Settings:
    """Settings by keys with __ for the dot."""
    for key, value in values.items():
        table, _, name = key.partition("__")
        inner = replace(getattr(settings, table), **{name: value})
        settings = replace(settings, **{table: inner})
    return settings


def swept(settings: Settings, data: Dataset, **how: Any) -> list[tuple[Entry, Found]]:
    """Every member, in the order of the plan, with its outcome."""
    plan = plan_sweep(settings, data)
    found: dict[str, Found] = {}
    for trained in train_members(plan, **how):
        for number, entry in enumerate(trained.members):
            mine = jax.tree.map(lambda leaf, n=number: leaf[n], trained.outcome)
            found[str(entry)] = mine._asdict()
    return [(entry, found[str(entry)]) for entry in plan.members if str(entry) in found]


def single(settings: Settings, data: Dataset) -> tuple[Best, int, Phase]:
    """The run by itself: the best, the epochs, how it ended."""
    run = prepare(settings, data)
    state = start(settings, data, run)
    best, training, epoch = nothing_yet(state.params), settings.training, 0
    programs = compile_programs(run, state)
    try:
        for progress in fit(run, programs, state, epochs=training.epochs):
            best = better(best, progress, training.min_change)
            epoch = progress.epoch
            if 0 < training.patience <= best.waited:
                return best, epoch, Phase.STOPPED
    except Diverged:
        return best, epoch, Phase.DIVERGED
    return best, epoch, Phase.DONE
