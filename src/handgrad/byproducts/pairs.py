"""The pair (a_{k-1}, delta_k) of every layer, and how sample weights enter it.

Row i of delta_k is w_i dl_i/dd_k. A contraction that is linear in the deltas is
weighted already; one that is quadratic holds w_i^2 and is divided by w_i once.
"""

import jax
from jax.typing import ArrayLike

from handgrad.network.checks import check_deltas, check_weights
from handgrad.network.mean import divide, normaliser
from handgrad.network.types import Deltas, Trace, accumulation_dtype

Pairs = list[tuple[jax.Array, jax.Array]]
"""(a_{k-1}, delta_k), k = 1 ... L, dropout applied: (m, n_{k-1}) and (m, n_k)."""


def pairs(trace: Trace, deltas: Deltas) -> Pairs:
    """The pairs as they came.

    Raises:
      ValueError: if the deltas do not have the shapes of the pre-activations.
    """
    check_deltas(trace, deltas)
    return list(zip(trace.layer_inputs, deltas, strict=True))


def wide_pairs(trace: Trace, deltas: Deltas) -> Pairs:
    """The pairs in float32 or wider: squares of half precision under- and overflow."""
    dtype = accumulation_dtype(trace.logits.dtype)
    return [(a.astype(dtype), delta.astype(dtype)) for a, delta in pairs(trace, deltas)]


def stacked_pairs(trace: Trace, deltas: Deltas) -> Pairs:
    """`wide_pairs` with deltas (S, m, n_k): S passes, S = 1 for an ordinary one.

    Raises:
      ValueError: if the deltas do not have the shapes of the pre-activations, with or
        without one leading axis.
    """
    if all(delta.ndim == 2 for delta in deltas):
        deltas = tuple(delta[None] for delta in deltas)
    passes = deltas[0].shape[0] if deltas else 0
    expected = [(passes, *d.shape) for d in trace.pre_activations]
    if [delta.shape for delta in deltas] != expected:
        raise ValueError(
            "`deltas` must have the shapes of `trace.pre_activations`, "
            f"{[shape[1:] for shape in expected]}, or of `exact_deltas`, one more axis "
            f"in front, got {[delta.shape for delta in deltas]}."
        )
    dtype = accumulation_dtype(trace.logits.dtype)
    return [
        (a.astype(dtype), delta.astype(dtype))
        for a, delta in zip(trace.layer_inputs, deltas, strict=True)
    ]


def total_weight(trace: Trace, weights: ArrayLike | None) -> jax.Array:
    """sum_i w_i, or m: the normaliser of L2, scalar, float32 or wider."""
    samples, dtype = trace.logits.shape[0], accumulation_dtype(trace.logits.dtype)
    return normaliser(check_weights(weights, samples), samples, dtype)


def unweight(values: jax.Array, weights: ArrayLike | None) -> jax.Array:
    """x_i / w_i, and 0 where w_i = 0, for values (..., m, n): w_i x_i made x_i."""
    weights = check_weights(weights, values.shape[-2])
    if weights is None:
        return values
    column = weights.astype(values.dtype).reshape(*(1,) * (values.ndim - 2), -1, 1)
    return divide(values, column)
