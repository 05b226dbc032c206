"""Inverted dropout by hand: the masks are data, made here and passed to `forward`.

With a mask r that is 1/(1-p) where a unit is kept and 0 where it is dropped,

    D1: a~_k = r_k * a_k          the layer above sees a~_k in F1 and B4
    D2: dl/da_k = r_k * dl/da~_k  between B6 and B7

Both are `types.drop`. E[r] = 1, so nothing is rescaled at prediction time.
Source: Srivastava et al. 2014, JMLR 15, section 10 (the inverted form).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from handgrad.network.checks import check_params
from handgrad.network.numbers import check_number, is_traced
from handgrad.network.types import Masks, Params


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
      One mask (m, n_{k-1}) per layer, with entries 0 and 1/(1-p), or None where p is
      known to be 0. A traced rate outside [0, 1) cannot be refused and gives NaN.

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
    if isinstance(hidden, Sequence):
        rates = list(hidden)
    else:
        hidden = jnp.asarray(hidden) if is_traced(hidden) else np.asarray(hidden)
        rates = list(hidden) if hidden.ndim else [hidden] * (len(params) - 1)
    if len(rates) != len(params) - 1:
        raise ValueError(
            f"`hidden` must be one rate, or one per hidden layer ({len(params) - 1}), "
            f"got {len(rates)}."
        )
    names = ["inputs", *["hidden"] * len(rates)]
    keys = jax.random.split(key, len(params))
    return tuple(
        _mask(key, name, rate, (samples, layer.weight.shape[0]), layer.weight.dtype)
        for key, name, rate, layer in zip(
            keys, names, [inputs, *rates], params, strict=True
        )
    )


def _mask(
    key: jax.Array, name: str, rate: ArrayLike, shape: tuple[int, int], dtype: jnp.dtype
) -> jax.Array | None:
    keep = 1 - check_number(name, rate, jnp.float32, at_least=0, below=1)
    if not is_traced(rate) and rate == 0:  # mutants: a rate is 0 or more
        return None
    # Not a product: XLA makes a choice of one with 0 and 1, and NaN would be gone.
    kept = jax.random.bernoulli(key, keep, shape) | jnp.isnan(keep)
    return jnp.where(kept, (1 / keep).astype(dtype), 0)
