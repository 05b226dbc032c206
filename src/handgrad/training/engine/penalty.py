"""An L2 penalty on the weights, in all that an optimiser sees of the objective."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from handgrad.network import Layer, Params


def penalty(decay: Any, params: Params) -> jax.Array:
    """decay / 2 times the sum of the squared weights; biases are spared. Scalar."""
    return decay / 2 * sum(jnp.sum(layer.weight**2) for layer in params)


def with_penalty(
    decay: Any, optimizer: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    """An optimiser of J plus the penalty, from one of J.

    A line search compares values and slopes: were the penalty in the gradient alone,
    it would search along a direction that belongs to another function.

    Args:
      decay: of `penalty`; may be traced.
      optimizer: takes gradients, and whatever it asks for of value=, grad=, value_fn=
        and obj_fn=.

    Returns:
      The same, which takes those of J.
    """
    inner = optax.with_extra_args_support(optimizer)

    def update(
        updates: Any, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Any, Any]:
        slope = tuple(
            Layer(decay * layer.weight, jnp.zeros_like(layer.bias)) for layer in params
        )
        for name in extra.keys() & {"value_fn", "obj_fn"}:
            extra[name] = _penalised(decay, extra[name])
        if "value" in extra:
            extra["value"] = extra["value"] + penalty(decay, params)
        if "grad" in extra:
            extra["grad"] = jax.tree.map(jnp.add, extra["grad"], slope)
        updates = jax.tree.map(jnp.add, updates, slope)
        return inner.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(inner.init, update)


def _penalised(
    decay: Any, function: Callable[..., jax.Array]
) -> Callable[..., jax.Array]:
    # A line search hands on the obj_fn that it does not know.
    def penalised(params: Params, obj_fn: object = None) -> jax.Array:
        del obj_fn
        return function(params) + penalty(decay, params)

    return penalised
