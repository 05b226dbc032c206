"""Why a loss is not finite: by the cause that was planted."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from handgrad.training import Dataset, Settings, prepare, start
from handgrad.training.engine.diagnose import finite, why_not_finite
from handgrad.training.engine.fit import fit
from handgrad.training.engine.programs import compile_programs
from handgrad.training.engine.step import State
from handgrad.training.errors import Diverged


def why(settings: Settings, data: Dataset, change: Any = lambda state: state) -> str:
    run = prepare(settings, data)
    state = change(start(run))
    programs = compile_programs(run)
    kept = jax.tree.map(np.array, state)
    with pytest.raises(Diverged) as raised:
        list(fit(run, programs, state, epochs=settings.training.epochs))
    kept = jax.device_put(kept)
    return why_not_finite(run, programs, kept, raised.value.steps)


def test_one_entry_that_is_not_finite_is_enough(
    settings: Settings, data: Dataset
) -> None:
    state = start(prepare(settings, data))
    assert finite(state)
    first, *rest = state.params
    bad = first._replace(weight=first.weight.at[0, 0].set(jnp.inf))
    assert not finite(state._replace(params=(bad, *rest)))
    sums = state.sums._replace(loss=jnp.full_like(state.sums.loss, jnp.nan))
    assert not finite(state._replace(sums=sums))


def test_steps_that_are_too_long(settings: Settings, data: Dataset) -> None:
    optimizer = replace(settings.optimizer, name="sgd", learning_rate=1e25)
    found = why(replace(settings, optimizer=optimizer), data)
    assert "In step 2 " in found
    assert "values (forward) of layer 2" in found
    assert "lower `optimizer.learning_rate`" in found


def test_an_optimiser_that_makes_nan(settings: Settings, data: Dataset) -> None:
    optimizer = replace(settings.optimizer, arguments={"b1": float("nan")})
    found = why(replace(settings, optimizer=optimizer), data)
    assert "In step 1 loss and gradient are finite, and the update is not" in found
    assert "`optimizer.arguments`" in found
    assert "learning_rate" not in found


def test_errors_that_overflow_on_the_way_back(
    settings: Settings, data: Dataset
) -> None:
    """Weights of 1e30 above a hidden layer of zeros: finite forward, not backward."""

    def change(state: State) -> State:
        first, second, last = state.params
        quiet = first._replace(weight=first.weight * 0, bias=first.bias * 0 + 1e-36)
        steep = second._replace(weight=jnp.full_like(second.weight, 1e30))
        steeper = last._replace(weight=jnp.full_like(last.weight, 1e30) * jnp.arange(3))
        return state._replace(params=(quiet, steep, steeper))

    found = why(settings, data, change)
    assert "In step 1 " in found
    assert "errors (backward) of layer 1" in found
