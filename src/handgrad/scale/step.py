"""The training step of some settings, laid on a mesh.

Every device has its share of the samples along `data`, and its share of the units along
`model`. What crosses devices follows from where the parameters and the samples lie: the
compiler sums the shares of the gradient, and of the layers that are split.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import handgrad
from handgrad.gradcheck.reference.autodiff import by_autodiff
from handgrad.scale.placement import (
    DATA,
    MODEL,
    Specs,
    parameter_specs,
    shardings,
    specs_like,
)
from handgrad.training.data import Dataset, Part, Scaling
from handgrad.training.engine.objective import Objective, cast
from handgrad.training.engine.prepare import first_params, make_step
from handgrad.training.engine.stacks import check_stacks
from handgrad.training.engine.step import State, Step, first_state, take_step
from handgrad.training.settings import Settings


class Job(NamedTuple):
    """What is to be compiled: all but the mesh and the samples of a step."""

    step: Step
    state: State  # shapes
    x: jax.ShapeDtypeStruct  # (n_0,), of one sample


def make_job(settings: Settings, data: Dataset) -> Job:
    """The step of a run, as `handgrad.training.prepare` makes it.

    Raises:
      TrainingError: for an optimiser or schedule that Optax cannot make, or one that
        does not fit stacks.
    """
    step = make_step(settings, data)

    def begin(key: jax.Array) -> State:
        return first_state(step, first_params(settings, data, key))

    x = data.train.x
    sample = jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
    state = jax.eval_shape(begin, jax.random.key(0))
    check_stacks(settings, lambda: state.params)
    return Job(step, state, sample)


def stand_in(settings: Settings, inputs: int, classes: int) -> Dataset:
    """A data set of a shape, for data that are not here; its numbers say nothing.

    Args:
      settings: give the kind of the data, whose dtype this has, and the batch size.
      inputs: n_0.
      classes: C.
    """
    dtype = np.uint8 if settings.data.source == "idx" else np.float32
    samples = 100 * settings.training.batch_size
    x = np.broadcast_to(np.zeros((), dtype), (samples, inputs))
    train = Part(x, np.arange(samples, dtype=np.int32) % classes)
    none = Part(x[:0], train.y[:0])
    half = np.full(inputs, 0.5, np.float32)
    names = tuple(map(str, range(classes))), tuple(map(str, range(inputs)))
    rows = (np.arange(samples), none.y, none.y)
    return Dataset(
        train, none, none, Scaling(half, half), *names, None, None, rows, False
    )


def with_autodiff(job: Job) -> Job:
    """The same step with `jax.value_and_grad` in the place of the gradient by hand."""
    return job._replace(step=job.step._replace(gradient=_by_autodiff))


def place_step(job: Job, mesh: Mesh) -> Any:
    """The step as one program on a mesh, its state given up to it.

    Args:
      job: of `make_job`.
      mesh: of the axes `data` and `model`.

    Returns:
      (state, key, x, y, weights) -> state, jitted. Samples are split along `data`, and
      the state lies as `specs_like` says.
    """
    state = shardings(mesh, specs_like(job.state, job.state.params, _specs(job, mesh)))
    rows, whole = shardings(mesh, (P(DATA), P()))
    return jax.jit(
        partial(take_step, job.step),
        in_shardings=(state, whole, rows, rows, rows),
        out_shardings=state,
        donate_argnums=0,
    )


def arguments(job: Job, samples: int) -> tuple[Any, ...]:
    """The shapes of what `place_step` takes, for a minibatch of ``samples``."""
    return (
        job.state,
        jax.eval_shape(lambda: jax.random.key(0)),
        jax.ShapeDtypeStruct((samples, *job.x.shape), job.x.dtype),
        jax.ShapeDtypeStruct((samples,), jnp.int32),
        jax.ShapeDtypeStruct((samples,), jnp.float32),
    )


def _specs(job: Job, mesh: Mesh) -> Specs:
    return parameter_specs(job.state.params, mesh.shape[MODEL])


def _by_autodiff(
    objective: Objective, params: handgrad.Params, *minibatch: Any
) -> tuple[jax.Array, handgrad.Params]:
    """As `value_and_gradient`, of the same minibatch in the same dtype."""

    def loss(params: handgrad.Params) -> jax.Array:
        x, arguments = minibatch
        return handgrad.loss(*cast((params, x), objective.dtype), **arguments)

    return by_autodiff(loss)(params)
