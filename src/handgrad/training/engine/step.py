"""One step, and a chunk of steps as one program."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

import handgrad
from handgrad.network.types import accumulation_dtype
from handgrad.training.data import Scaling, scale
from handgrad.training.engine.layout import Layout, spread
from handgrad.training.engine.numbers import off
from handgrad.training.engine.objective import (
    Objective,
    drops,
    loss_arguments,
    loss_by_hand,
    value_and_gradient,
)
from handgrad.training.engine.order import Draw


class Sums(NamedTuple):
    """Of the objective, over the steps of an epoch so far."""

    loss: jax.Array  # sum_i w_i l_i, in nats
    weight: jax.Array  # sum_i w_i


class State(NamedTuple):
    """All that the next step depends on besides the data, and nothing else."""

    params: handgrad.Params
    opt_state: optax.OptState
    average: handgrad.Params | None  # of the parameters, where it is asked for
    step: jax.Array  # int32: steps done
    sums: Sums


class Epoch(NamedTuple):
    """The minibatches of an epoch as rows of samples that lie on the device."""

    x: jax.Array  # (m, n_0), in the dtype of the file
    y: jax.Array  # (m,), int32
    weights: jax.Array | None  # (m,), of the samples; None for all 1
    order: jax.Array  # (S, B), int32: which samples
    present: jax.Array  # (S, B), float32: 1 for a sample, 0 for padding
    first: Any  # int32: steps done before the epoch


class Block(NamedTuple):
    """K minibatches, as they come from a stream: arrays, or shapes of them."""

    x: Any  # (K, B, n_0)
    y: Any  # (K, B)
    present: Any  # (K, B)
    first: Any  # int32: steps done before the block


Gradient = Callable[
    [Objective, handgrad.Params, jax.Array, dict[str, Any]],
    tuple[jax.Array, handgrad.Params],
]
"""(objective, params, x, arguments) -> J and its gradient, as `value_and_gradient`."""


class Step(NamedTuple):
    """What a step is made of, beside the state and the minibatch."""

    objective: Objective
    optimizer: optax.GradientTransformationExtraArgs
    scaling: Scaling
    decay: Any  # of the moving average; 0 for none
    gradient: Gradient = value_and_gradient
    layout: Layout | None = None  # on a mesh


def first_state(step: Step, params: handgrad.Params) -> State:
    """The state before the first step, of leaves that are of no weak type, as the chunk
    returns them."""
    zero = jnp.zeros((), accumulation_dtype(params[0].weight.dtype))
    average = None if off(step.decay) else params
    opt_state = step.optimizer.init(params)
    state = State(params, opt_state, average, jnp.int32(0), Sums(zero, zero))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype), state)


Chunk = Callable[[State, jax.Array, Epoch | Block, Any], State]


def make_chunk(step: Step) -> Chunk:
    """The program of the loop, to be compiled once with its state donated.

    Args:
      step: what every step is made of.

    Returns:
      (state, key, source, count) -> state, ``count`` steps later. ``key`` is the run's;
      the number of the step is folded into it. How the steps are cut into chunks
      leaves the result the same to the last bit.
    """

    def chunk(
        state: State, key: jax.Array, source: Epoch | Block, count: jax.Array
    ) -> State:
        def body(_: jax.Array, state: State) -> State:
            taken = minibatch(source, state.step, step.layout)
            return take_step(step, state, key, *taken)

        return jax.lax.fori_loop(0, count, body, state)

    return chunk


def minibatch(
    source: Epoch | Block, step: jax.Array, layout: Layout | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Features (B, n_0), labels (B,) and weights (B,) of a step, 0 where padded."""
    place = step - source.first
    if isinstance(source, Block):
        return source.x[place], source.y[place], source.present[place]
    rows = spread(source.order[place], layout and layout.whole)
    weights = source.present[place]
    if source.weights is not None:
        weights = weights * source.weights[rows]
    return source.x[rows], source.y[rows], weights


def take_step(
    step: Step,
    state: State,
    key: jax.Array,
    x: jax.Array,
    y: jax.Array,
    weights: jax.Array,
) -> State:
    """One update by one minibatch."""
    lies = step.layout
    state = spread(state, lies and lies.state)
    if lies:  # labels and weights are small, and known to all
        x, y, weights = spread((x, y, weights), (lies.rows, lies.whole, lies.whole))
    key = jax.random.fold_in(jax.random.fold_in(key, Draw.MASKS), state.step)
    arguments = loss_arguments(
        step.objective,
        state.params,
        y,
        weights=weights,
        key=key if drops(step.objective) else None,
    )
    x = scale(step.scaling, x)
    value, grads = step.gradient(step.objective, state.params, x, arguments)
    if lies:  # summed over the samples, then each device's share of them
        grads = spread(spread(grads, lies.state.params), lies.grads)

    # L-BFGS differentiates the objective itself, and hands it an obj_fn as well.
    def value_fn(params: handgrad.Params, obj_fn: object = None) -> jax.Array:
        del obj_fn
        return loss_by_hand(step.objective, params, x, arguments)

    params, opt_state = _updated(step, state, value, grads, value_fn)
    weight = jnp.sum(spread(arguments["weights"], lies and lies.whole))
    after = State(
        params,
        opt_state,
        _average(step.decay, state, params),
        state.step + 1,
        Sums(state.sums.loss + value * weight, state.sums.weight + weight),
    )
    return spread(after, lies and lies.state)


def _updated(
    step: Step,
    state: State,
    value: jax.Array,
    grads: handgrad.Params,
    value_fn: Callable[..., jax.Array],
) -> tuple[handgrad.Params, optax.OptState]:
    """What the optimiser makes of a gradient; it may look at the objective besides."""
    updates, opt_state = step.optimizer.update(
        grads,
        state.opt_state,
        state.params,
        value=value,
        grad=grads,
        value_fn=value_fn,
        obj_fn=value_fn,
    )
    params = optax.apply_updates(state.params, updates)
    return cast(handgrad.Params, params), opt_state


def _average(
    decay: Any, state: State, params: handgrad.Params
) -> handgrad.Params | None:
    """The moving average, in which the first steps weigh less and less than decay says:
    the initial parameters are soon forgotten."""
    if state.average is None:
        return None
    step = state.step.astype(jnp.float32)
    kept = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(
        lambda old, new: kept * old + (1 - kept) * new, state.average, params
    )
