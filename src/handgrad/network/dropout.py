"""Inverted dropout by hand: the masks are data, made here and passed to `forward`.

With a mask r that is 1/(1-p) where a unit is kept and 0 where it is dropped,

    D1: a~_k = r_k * a_k          the layer above sees a~_k in F1 and B4
    D2: dl/da_k = r_k * dl/da~_k  between B6 and B7

Both are `types.drop`. E[r] = 1, so nothing is rescaled at prediction time.
Source: Srivastava et al. 2014, JMLR 15, section 10 (the inverted form).
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from handgrad.network.checks import check_params
from handgrad.network.numbers import check_number, is_traced, is_zero
from handgrad.network.types import Masks, Params, depth, is_stack, layers_in


def dropout_masks(
    key: jax.Array,
    params: Params,
    samples: int,
    *,
    inputs: ArrayLike = 0.0,
    hidden: ArrayLike | Sequence[ArrayLike] = 0.0,
) -> Masks:
    """Masks for one forward pass over ``samples`` rows.

    Args:
      key: a PRNG key, consumed here.
      params: the network; gives widths and dtype.
      samples: m.
      inputs: the probability that an entry of x is dropped, in [0, 1).
      hidden: the probability that a hidden unit is dropped, in [0, 1); one for all
        hidden layers or one per layer.

    Returns:
      One mask (m, n_{k-1}) per layer, or (K, m, n) per stack, with entries 0 and
      1/(1-p), or None where p is known to be 0. A traced rate outside [0, 1) cannot be
      refused and gives NaN.

    Raises:
      ValueError: for a rate outside [0, 1), or another number of rates than hidden
        layers.

    Example:
      >>> from handgrad import init
      >>> params = init(jax.random.key(0), (4, 3, 2))
      >>> masks = dropout_masks(jax.random.key(1), params, 8, hidden=0.5)
      >>> masks[0] is None, masks[1].shape
      (True, (8, 3))
    """
    check_params(params)
    count = depth(params) - 1
    if isinstance(hidden, Sequence):
        rates = list(hidden)
    else:
        hidden = jnp.asarray(hidden) if is_traced(hidden) else np.asarray(hidden)
        rates = list(hidden) if hidden.ndim else [hidden] * count
    if len(rates) != count:
        raise ValueError(
            f"`hidden` must be one rate, or one per hidden layer ({count}), "
            f"got {len(rates)}."
        )
    keys, first, masks = jax.random.split(key, count + 1), 0, []
    named = [("inputs", inputs), *(("hidden", rate) for rate in rates)]
    for layer in params:
        own = slice(first, first := first + layers_in(layer))
        shape, dtype = (samples, layer.weight.shape[-2]), layer.weight.dtype
        mask = functools.partial(_mask, shape=shape, dtype=dtype)
        keep = [_keep(*rate) for rate in named[own]]
        if all(is_zero(rate) for _, rate in named[own]):
            masks.append(None)
        elif is_stack(layer):
            each = keys[own], jnp.stack(keep)  # not vmap: see `init`
            masks.append(jax.lax.map(lambda one, mask=mask: mask(*one), each))
        else:
            masks.append(mask(keys[own][0], *keep))
    return tuple(masks)


def _keep(name: str, rate: ArrayLike) -> jax.Array:
    return 1 - check_number(name, rate, jnp.float32, at_least=0, below=1)


def _mask(
    key: jax.Array, keep: jax.Array, *, shape: tuple[int, int], dtype: jnp.dtype
) -> jax.Array:
    # Not a product: XLA makes a choice of one with 0 and 1, and NaN would be gone.
    kept = jax.random.bernoulli(key, keep, shape) | jnp.isnan(keep)
    return jnp.where(kept, (1 / keep).astype(dtype), 0)
