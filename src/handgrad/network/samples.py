"""What each sample counts, on its way in and on its way out.

In: padding is made finite, and s_i is put to the error at the output, with the power
of two that float16 needs. Out: the pairs that all contractions share, and sums over
samples made gradients. Between the two nothing knows of weights.
"""

from collections.abc import Iterable
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from handgrad.network.checks import check_targets, check_weights
from handgrad.network.mean import (
    loss_scale,
    sample_scale,
    silence,
    total_weight,
)
from handgrad.network.placement import Placement, place_like, sum_over_shards
from handgrad.network.types import Deltas, Layer, Params, Trace, accumulation_dtype


def check_samples(
    logits: jax.Array, targets: ArrayLike, weights: ArrayLike | None
) -> tuple[jax.Array, jax.Array | None]:
    """Targets and weights as arrays that fit logits (m, C); padding is made finite."""
    samples, classes = logits.shape
    targets = check_targets(targets, classes, samples)
    weights = check_weights(weights, samples)
    # mutants: it is 1 or 2, and labels are finite
    return (silence(targets, weights) if targets.ndim == 2 else targets), weights


def sample_factors(
    trace: Trace, weights: ArrayLike | None, row_sums: jax.Array | None = None
) -> tuple[Deltas, jax.Array]:
    """What multiplies the error of each sample at the output: the one place for L2.

    Args:
      trace: of a forward pass.
      weights: w, (m,), or None for all 1.
      row_sums: t_i, (m,), kept for the R-operator; None for all 1.

    Returns:
      Deltas without layers, for `with_output`, and loss_scale s_i, (m,) or scalar,
      float32 or wider.
    """
    logits = trace.logits
    return factors_of(logits.shape[0], logits.dtype, weights, row_sums)


def factors_of(
    samples: int,
    dtype: jnp.dtype,
    weights: ArrayLike | None,
    row_sums: jax.Array | None = None,
) -> tuple[Deltas, jax.Array]:
    """`sample_factors` of so many samples, in a network of this dtype."""
    wide = accumulation_dtype(dtype)
    weights = check_weights(weights, samples)
    scale = sample_scale(weights, samples, wide)
    lift = loss_scale(scale, dtype)
    total = total_weight(weights, samples, wide)
    known = Deltas((), weights, total, row_sums, lift)
    return known, scale if lift is None else scale * lift


def with_output(known: Deltas, delta: jax.Array, dtype: jnp.dtype) -> Deltas:
    """The deltas of the last layer alone, in the dtype of the parameters.

    Args:
      known: of `sample_factors`.
      delta: delta_L of every sample times its factor, (m, C), or (S, m, C) for S
        passes, float32 or wider.
      dtype: that of the parameters.
    """
    return replace(known, layers=(silence(delta, known.weights).astype(dtype),))


def pairs(trace: Trace, deltas: Deltas) -> list[tuple[jax.Array, jax.Array]]:
    """The pair (a_{k-1}, delta_k) of every layer, dropout applied.

    Every gradient and by-product is a contraction of these pairs. Samples of weight 0
    are finite in both, whatever the trace holds there.

    Returns:
      (m, n_{k-1}) and (m, n_k) for k = 1 ... L; deltas as they come.
    """
    return [
        (silence(inputs, deltas.weights), delta)
        for inputs, delta in zip(trace.layer_inputs, deltas.layers, strict=True)
    ]


def of_layers(columns: Iterable[jax.Array]) -> jax.Array:
    """What each layer says of every sample, (m,), or (K, m) of a stack: (m, L)."""
    return jnp.concatenate([jnp.atleast_2d(rows) for rows in columns]).T


def row_squares(rows: jax.Array) -> jax.Array:
    """sum_j x_ij^2, (..., n) -> (...,)."""
    return jnp.sum(rows * rows, axis=-1)


def as_gradient(sums: Params, trace: Trace, deltas: Deltas) -> Params:
    """Sums over samples, in float32 or wider, as the gradient of the parameters."""
    dtype = trace.logits.dtype
    return tuple(
        settled(layer, where, deltas, dtype)
        for layer, where in zip(sums, trace.placements, strict=True)
    )


def settled(
    sums: Layer, places: tuple[Placement, Placement], known: Deltas, dtype: jnp.dtype
) -> Layer:
    """The sums of a layer, in float32 or wider, as the gradient of its parameters.

    The power of two that float16 needed leaves, and each sum goes where its parameter
    lies, in its dtype.
    """

    def settle(total: jax.Array, where: Placement) -> jax.Array:
        if known.loss_scale is not None:
            total = total / known.loss_scale
        return sum_over_shards(place_like(total, where), where).astype(dtype)

    return Layer(*map(settle, sums, places))
