"""Why a loss is no longer finite: the first bad value, and what would prevent it."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import handgrad
from handgrad.byproducts import health
from handgrad.byproducts.health import BACKWARD, NOWHERE
from handgrad.training.data import scale
from handgrad.training.engine.fit import sources
from handgrad.training.engine.objective import cast, loss_arguments
from handgrad.training.engine.order import steps_of
from handgrad.training.engine.prepare import Run
from handgrad.training.engine.programs import QUICKLY, Programs
from handgrad.training.engine.step import Block, Epoch, State, Step, minibatch


def why_not_finite(run: Run, programs: Programs, state: State, last: int) -> str:
    """Take the steps again, one by one, up to the first value that is not finite.

    Args:
      run, programs: of `prepare` and `compile_programs`.
      state: the last good one; it is consumed.
      last: the step at which the loss was found not to be finite.

    Returns:
      A sentence that names the step, the layer and the direction, and a remedy.
    """
    per_epoch = steps_of(run.samples, run.batch_size)
    done = int(state.step)
    while done < last:
        for source, end in sources(run, programs, 1 + done // per_epoch, done):
            while done < min(end, last):
                before = _copied(state)
                state = programs.chunk(state, run.key, source, np.int32(1))
                done += 1
                if not bool(finite(state)):
                    return _in_words(run, before, source, done)
    return "Every step is finite; the loss over the samples that are scored is not."


def _in_words(run: Run, state: State, source: Epoch | Block, step: int) -> str:
    first = jax.jit(partial(_first, run.step), compiler_options=QUICKLY)
    stage, layer = map(int, first(state, source))
    if stage == NOWHERE:
        return (
            f"In step {step} loss and gradient are finite, and the update is not: "
            "look at `optimizer.arguments` and `optimizer.schedule`."
        )
    values = "errors (backward)" if stage == BACKWARD else "values (forward)"
    where = f"the {values} of layer {layer}" if layer else "the features"
    return (
        f"In step {step} the first values that are not finite are {where}: lower "
        "`optimizer.learning_rate`, or bound the steps with `optimizer.clip_norm`."
    )


def _first(step: Step, state: State, source: Epoch | Block) -> tuple[Any, Any]:
    """The stage and the layer of the first bad value, without dropout."""
    x, y, weights = minibatch(source, state.step, step.layout)
    objective = step.objective._replace(chunk=None)  # of all that is computed
    params, x = cast((state.params, scale(step.scaling, x)), objective.dtype)
    arguments = loss_arguments(objective, params, y, weights=weights)
    trace = handgrad.forward(params, x, activation=objective.activation)
    deltas = handgrad.deltas(
        params, trace, arguments["targets"], weights=arguments["weights"]
    )
    found = health(trace, deltas)
    return found.stage, found.layer


@jax.jit
def finite(state: State) -> jax.Array:
    """Whether every parameter is, and the loss of the epoch so far."""
    leaves = [state.sums.loss, *jax.tree.leaves(state.params)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


@jax.jit
def _copied(state: State) -> State:
    return jax.tree.map(jnp.copy, state)
