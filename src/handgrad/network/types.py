"""The pytrees of the network, and the letters used for their shapes.

Letters, here and in every docstring: ``m`` samples, ``L`` layers, ``n_k`` units in
layer k, ``C = n_L`` classes. Rows are samples. A weight has shape (n_in, n_out) and
is used as ``a @ weight + bias``; no transpose is stored.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

Masks = tuple[jax.Array | None, ...]
"""One dropout mask (m, n_{k-1}) per layer input a_{k-1}; None where nothing drops."""

Deltas = tuple[jax.Array, ...]
"""(Delta_1, ..., Delta_L): the per-sample errors dl_i/dd_k, each (m, n_k)."""


Transport = Callable[[int, jax.Array, jax.Array, jax.Array], jax.Array]
"""How the error reaches a_k: (k, delta_{k+1}, W_{k+1}, delta_L) -> (m, n_k), as B6."""


class Layer(NamedTuple):
    """The parameters of one layer, or the gradient with respect to them."""

    weight: jax.Array  # (n_in, n_out)
    bias: jax.Array  # (n_out,)


Params = tuple[Layer, ...]
"""(layer 1, ..., layer L). Gradients have this structure, these shapes and dtypes."""


class Trace(NamedTuple):
    """What the forward pass leaves for the backward pass.

    F1 needs its input again (B4), F2 its pre-activation and its value (B7), and F3 its
    logits (B3). Nothing else is kept.
    """

    activations: tuple[jax.Array, ...]  # a_0 = x, a_1 ... a_{L-1}, each (m, n_k)
    pre_activations: tuple[jax.Array, ...]  # d_1 ... d_L, each (m, n_k)
    masks: Masks  # one per layer input a_0 ... a_{L-1}

    @property
    def logits(self) -> jax.Array:
        """d_L, shape (m, C)."""
        return self.pre_activations[-1]

    @property
    def layer_inputs(self) -> tuple[jax.Array, ...]:
        """What each layer multiplied its weight with: a_{k-1}, dropout applied."""
        return tuple(map(drop, self.activations, self.masks))


def drop(value: jax.Array, mask: jax.Array | None) -> jax.Array:
    """D1 and D2: multiply by a dropout mask r_k, (m, n); None drops nothing.

    Dropout is linear and diagonal, so one product is its forward pass, applied to a_k,
    and its backward pass, applied to dl/da_k.
    """
    return value if mask is None else value * mask


def accumulation_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype of sums, softmax and loss: float32, or ``dtype`` if it is wider."""
    return dtype if jnp.finfo(dtype).bits > 32 else jnp.dtype(jnp.float32)
