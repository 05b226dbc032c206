"""The pair (a_{k-1}, delta_k) of every layer, as the by-products need it.

Row i of delta_k is s_i dl_i/dd_k. A contraction that is linear in the deltas is
weighted already; one that is quadratic holds s_i^2 and is divided by s_i once, and what
speaks of single samples is divided by it altogether.
"""

import jax
import jax.numpy as jnp

from handgrad.network.checks import check_deltas
from handgrad.network.mean import divide, per_sample
from handgrad.network.samples import pairs
from handgrad.network.types import Deltas, Trace, accumulation_dtype

Pairs = list[tuple[jax.Array, jax.Array]]
"""(a_{k-1}, delta_k), k = 1 ... L, dropout applied: (m, n_{k-1}) and (m, n_k), or
(K, m, n) both, of a stack."""


def wide_pairs(trace: Trace, deltas: Deltas) -> Pairs:
    """The pairs in float32 or wider, free of the power of two that float16 needs.

    Squares of half precision under- and overflow.

    Raises:
      ValueError, TypeError: if the deltas do not fit the trace.
    """
    check_deltas(trace, deltas)
    return _widened(trace, deltas)


def pairs_of_passes(trace: Trace, deltas: Deltas) -> Pairs:
    """`wide_pairs` with deltas (S, m, n_k), or (S, K, m, n): S passes, S = 1 for an
    ordinary one.

    Raises:
      ValueError, TypeError: if the deltas do not fit the trace, with or without one
        leading axis.
    """
    check_deltas(trace, deltas, passes=True)
    return [
        (a, delta[None] if delta.ndim == a.ndim else delta)
        for a, delta in _widened(trace, deltas)
    ]


def unscale(values: jax.Array, deltas: Deltas) -> jax.Array:
    """x_i / s_i, and 0 where s_i = 0, for values (m,) or (..., m, n)."""
    inverse = divide(jnp.ones_like(deltas.total), deltas.scale)
    return values * per_sample(inverse, values)


def _widened(trace: Trace, deltas: Deltas) -> Pairs:
    dtype = accumulation_dtype(trace.logits.dtype)
    lift = deltas.loss_scale
    return [
        (
            a.astype(dtype),
            delta.astype(dtype) if lift is None else delta.astype(dtype) / lift,
        )
        for a, delta in pairs(trace, deltas)
    ]
