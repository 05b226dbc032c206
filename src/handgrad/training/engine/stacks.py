"""Whether equal hidden layers can be trained as stacks (`model.stack_above`).

An optimiser sees a stack as one array. Where it treats numbers one by one that is no
difference; where it looks at an array as a whole (its norm, its rows and columns, the
noise that it draws for it) the layers would be trained in another way.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import handgrad
from handgrad.network.types import is_stack
from handgrad.training.data import Scaling
from handgrad.training.engine.objective import Objective
from handgrad.training.engine.optimizer import make_optimizer
from handgrad.training.engine.step import State, Step, first_state, take_step
from handgrad.training.errors import TrainingError
from handgrad.training.settings import Schedule, Settings

_STEPS, _RATE, _OFF = 5, 0.05, 1e-3
"""Steps of the trial, their learning rate, and how far two ends may be apart, of the
way that was gone: rounding makes 1e-5 of it."""


def check_stacks(settings: Settings, params: Callable[[], handgrad.Params]) -> None:
    """Refuse an optimiser that would make another network of the stacks.

    It is one whose state is not that of the layers put together, or that trains a small
    network in another way in a few steps.

    Args:
      settings: of the run.
      params: gives the first parameters, or their shapes.

    Raises:
      TrainingError: for such an optimiser, where there is a stack.
    """
    if not settings.model.stack_above or not any(map(is_stack, shapes := params())):
        return
    optimizer = replace(
        settings.optimizer, learning_rate=_RATE, schedule=Schedule(), accumulate=1
    )
    trial = replace(settings, optimizer=optimizer)
    if not (_keeps_as_much(trial, shapes) and _ends_alike(trial)):
        raise TrainingError(
            f"`model.stack_above` must be 0 with {settings.optimizer.name}, which does "
            f"not train a stack as it trains its layers, got "
            f"{settings.model.stack_above}. Optimisers that treat numbers one by one, "
            "such as adamw, do."
        )


def _keeps_as_much(settings: Settings, params: handgrad.Params) -> bool:
    """Whether the state of stacks has as many numbers as that of their layers."""
    init = make_optimizer(settings.optimizer, _STEPS, settings.seed).init

    def size(params: handgrad.Params) -> int:
        leaves = jax.tree.leaves(jax.eval_shape(init, params))
        return sum(leaf.size for leaf in leaves)

    return size(params) == size(jax.eval_shape(handgrad.unstack_layers, params))


def _ends_alike(settings: Settings) -> bool:
    """Train a small network for a few steps, its layers in a stack and apart."""
    layers = handgrad.init(jax.random.key(1), (3, *[4] * 6, 2), activation="tanh")
    step = Step(
        Objective("tanh", (1.0, 1.0)),
        make_optimizer(settings.optimizer, _STEPS, settings.seed),
        Scaling(jnp.zeros(3), jnp.ones(3)),
        decay=0,
    )
    with jax.default_matmul_precision("highest"):
        apart = _trained(step, layers)
        together = _trained(step, handgrad.stack_layers(layers, above=1))
    way = max(np.max(np.abs(a - b)) for a, b in zip(apart, _flat(layers), strict=True))
    off = max(np.max(np.abs(a - b)) for a, b in zip(apart, together, strict=True))
    return bool(off <= _OFF * way)


def _trained(step: Step, params: handgrad.Params) -> list[np.ndarray]:
    """The parameters after the steps, layers apart."""
    x = jax.random.normal(jax.random.key(2), (8, 3))
    y, weights = jnp.arange(8, dtype=jnp.int32) % 2, jnp.ones(8)
    key = jax.random.key(0)

    @jax.jit
    def steps(state: State) -> handgrad.Params:
        taken = partial(take_step, step, key=key, x=x, y=y, weights=weights)
        return jax.lax.fori_loop(0, _STEPS, lambda _, state: taken(state), state).params

    return _flat(steps(first_state(step, params)))


def _flat(params: handgrad.Params) -> list[np.ndarray]:
    layers = handgrad.unstack_layers(jax.device_get(params))
    return list(map(np.asarray, jax.tree.leaves(layers)))
