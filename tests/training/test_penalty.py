"""The L2 penalty is in the value, the slope and the function that an optimiser sees."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import handgrad
from handgrad.network import Params
from handgrad.training.engine.optimizer import make_optimizer
from handgrad.training.engine.penalty import penalty, with_penalty
from handgrad.training.settings import Optimizer

DECAY = 0.3


def problem() -> tuple[Params, Any]:
    """Parameters, and a loss of them."""
    keys = jax.random.split(jax.random.key(0), 2)
    params = handgrad.init(keys[0], (4, 3), dtype=jnp.float64)
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    x = jax.random.normal(keys[1], (12, 4), jnp.float64)
    return params, lambda params, obj_fn=None: handgrad.loss(
        params, x, jnp.arange(12) % 3
    )


def run(optimizer: Any, loss: Any, params: Params, steps: int) -> Params:
    """What an optimiser makes of a loss."""

    @jax.jit
    def step(params: Params, state: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params)
        extra = {"value": value, "grad": grads, "value_fn": loss, "obj_fn": loss}
        updates, state = optax.with_extra_args_support(optimizer).update(
            grads, state, params, **extra
        )
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params


@pytest.mark.parametrize("name", ["sgd", "lbfgs"])
def test_it_is_the_optimiser_of_the_penalised_loss(name: str) -> None:
    with jax.enable_x64(True):
        params, loss = problem()

        def penalised(params: Params, obj_fn: object = None) -> jax.Array:
            return loss(params) + DECAY / 2 * sum(
                jnp.sum(weight**2) for weight, _ in params
            )

        optimizer = getattr(optax, name)(1.0 if name == "lbfgs" else 0.1)
        chex.assert_trees_all_close(
            run(with_penalty(DECAY, optimizer), loss, params, 5),
            run(optimizer, penalised, params, 5),
            rtol=1e-8,
        )


def test_lbfgs_of_the_settings_finds_the_minimum_of_the_penalised_loss() -> None:
    """Its slope is 0 there; with the decay in the gradient alone it is not."""
    with jax.enable_x64(True):
        params, loss = problem()
        settings = Optimizer("lbfgs", 1.0, weight_decay=DECAY)
        end = run(make_optimizer(settings, 30, 0), loss, params, 30)
        slope = jax.grad(lambda params: loss(params) + penalty(DECAY, params))(end)
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(slope)) < 1e-7
