"""What a call leaves to the next `partial_fit` beside the parameters: the state of the
optimiser, as numpy arrays that pickle."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import handgrad
from handgrad.training.engine.step import State


class Left(NamedTuple):
    """Of the last step."""

    opt_state: Any
    params: handgrad.Params | None  # those trained, where others predict


@dataclass(frozen=True)
class _Key:
    """The data of a PRNG key."""

    data: np.ndarray


def leave(state: State, *, others_predict: bool) -> Left:
    """Copies of what the next call needs.

    Args:
      state: the last one.
      others_predict: whether the parameters that predict are not those trained, as
        under schedule-free optimisers.

    Returns:
      Numpy arrays.
    """
    opt_state = jax.tree.map(_to_host, state.opt_state)
    params = jax.tree.map(_to_host, state.params) if others_predict else None
    return Left(opt_state, params)


def take_up(state: State, left: Left | None) -> State:
    """The state with what was left, if it is of the same optimiser and shapes."""
    if left is None:
        return state
    opt_state, params = jax.tree.map(_to_device, left)
    if _shape(opt_state) != _shape(state.opt_state):
        return state
    return state._replace(
        opt_state=opt_state, params=state.params if params is None else params
    )


def _shape(tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def _to_host(leaf: Any) -> Any:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return _Key(np.array(jax.random.key_data(leaf)))
    return np.array(leaf)


def _to_device(leaf: Any) -> Any:
    """A copy: the program that it goes to writes into it."""
    if isinstance(leaf, _Key):
        return jax.random.wrap_key_data(jnp.asarray(leaf.data))
    return jax.device_put(np.array(leaf))
