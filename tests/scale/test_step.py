"""The placed step does on four devices what it does on one."""

from dataclasses import replace
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from meshes import four_devices

from handgrad.scale.placement import DATA, MODEL, parameter_specs, specs_like
from handgrad.scale.step import (
    Job,
    arguments,
    make_job,
    place_step,
    stand_in,
    with_autodiff,
)
from handgrad.training.engine.prepare import first_params
from handgrad.training.engine.step import State, first_state, take_step
from handgrad.training.records.classifier import layer_sizes
from handgrad.training.settings import Settings

FEW_ROUNDINGS = 2e-6  # of float32: sums over samples and units in another order
KEY = jax.random.key(3)


def batch(samples: int = 16) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(0)
    x = random.normal(size=(samples, 6)).astype(np.float32)
    weights = np.r_[np.ones(samples - 3), 0.5, 0, 0].astype(np.float32)
    return x, random.integers(3, size=samples).astype(np.int32), weights


def first(settings: Settings, job: Job) -> State:
    """Compiled, as in training: no two leaves of what it gives are one array."""
    data = stand_in(settings, 6, 3)
    key = jax.random.key(0)
    begin = jax.jit(
        lambda key: first_state(job.step, first_params(settings, data, key))
    )
    return begin(key)


def four_steps(step: Any, state: State) -> State:
    for _ in range(4):
        state = step(state, KEY, *batch())
    return state


def mesh_of(shape: tuple[int, int]) -> Mesh:
    return Mesh(np.array(four_devices()).reshape(shape), (DATA, MODEL))


@pytest.fixture(scope="module")
def plain(settings: Settings, job: Job) -> State:
    """After four steps on one device."""
    return four_steps(jax.jit(partial(take_step, job.step)), first(settings, job))


@pytest.mark.parametrize("shape", [(4, 1), (2, 2), (1, 4)], ids=str)
def test_four_devices_do_what_one_does(
    shape: tuple[int, int], settings: Settings, job: Job, plain: State
) -> None:
    mesh = mesh_of(shape)
    state = four_steps(place_step(job, mesh), first(settings, job))
    chex.assert_trees_all_close(state, plain, rtol=FEW_ROUNDINGS, atol=FEW_ROUNDINGS)
    specs = parameter_specs(job.state.params, shape[1])
    laid = jax.tree.leaves(specs_like(state, state.params, specs))
    for leaf, spec in zip(jax.tree.leaves(state), laid, strict=True):
        assert leaf.sharding.is_equivalent_to(NamedSharding(mesh, spec), leaf.ndim)


def test_dropout_is_the_same_wherever_its_units_lie(settings: Settings) -> None:
    model = replace(settings.model, hidden_dropout=0.25)
    drops = replace(settings, model=model)
    job = make_job(drops, stand_in(drops, 6, 3))
    ones = [
        step(first(drops, job), KEY, *batch())
        for step in (
            jax.jit(partial(take_step, job.step)),
            place_step(job, mesh_of((2, 2))),
        )
    ]
    chex.assert_trees_all_close(*ones, rtol=FEW_ROUNDINGS, atol=FEW_ROUNDINGS)


def test_units_are_split_where_the_mesh_has_a_model_axis(job: Job) -> None:
    assert layer_sizes(job.state.params) == (6, 8, 8, 3)
    first, second, last = parameter_specs(job.state.params, 4)
    assert first.weight == P(None, MODEL)
    assert second.weight == P(MODEL, None)
    assert last.weight == P()


def test_the_step_by_autodiff_does_the_same(
    settings: Settings, job: Job, plain: State
) -> None:
    rival = with_autodiff(job)
    step = jax.jit(partial(take_step, rival.step))
    assert "transpose(jvp" in step.lower(*arguments(rival, 16)).as_text(debug_info=True)
    state = four_steps(step, first(settings, job))
    chex.assert_trees_all_close(state, plain, rtol=FEW_ROUNDINGS, atol=FEW_ROUNDINGS)


def test_a_stand_in_has_the_shapes_and_the_dtype_of_its_data(
    settings: Settings,
) -> None:
    images = replace(settings, data=replace(settings.data, source="idx"))
    job = make_job(images, stand_in(images, 784, 10))
    assert layer_sizes(job.state.params) == (784, 8, 8, 10)
    assert job.x.dtype == jnp.uint8
    state, key, x, y, weights = arguments(job, 32)
    assert state.params[0].weight.shape == (784, 8)
    assert jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    assert (x.shape, y.shape, weights.shape) == ((32, 784), (32,), (32,))
