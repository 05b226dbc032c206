"""Gradients of single samples: formed, measured, and clipped without being formed.

Sample i's gradient of layer k is the outer product a_{k-1} delta_k^T (B4) and delta_k
(B5), so its norm is a product of two norms, and any sum_i c_i g_i is one contraction
with the deltas scaled by c_i.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from handgrad.byproducts.pairs import pairs, total_weight, unweight, wide_pairs
from handgrad.network.affine import bias_gradient, weight_gradient
from handgrad.network.types import Deltas, Layer, Params, Trace


def per_sample_gradients(
    trace: Trace, deltas: Deltas, *, weights: ArrayLike | None = None
) -> Params:
    """g_i = dl_i/dparams of every sample, formed: B4 and B5 without the sum.

    The one by-product that needs m times the memory of the parameters.

    Args:
      trace, deltas, weights: of one backward pass; see `handgrad.byproducts`.

    Returns:
      Layers with weight (m, n_in, n_out) and bias (m, n_out), in the parameters' dtype.

    Raises:
      ValueError: if trace, deltas and weights do not fit each other.
    """
    return tuple(
        Layer(a[:, :, None] * delta[:, None, :], delta)
        for a, weighted in pairs(trace, deltas)
        for delta in [unweight(weighted, weights)]
    )


def per_sample_norms(
    trace: Trace,
    deltas: Deltas,
    *,
    per_layer: bool = False,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """|g_i|: per layer |g_i,k|^2 = (|a_{k-1}|^2 + 1) |delta_k|^2, the 1 for the bias.

    Args:
      trace, deltas, weights: of one backward pass; see `handgrad.byproducts`.
      per_layer: whether to give one norm per layer instead of one for them all.

    Returns:
      The Euclidean norm of dl_i/dparams, (m,), or of dl_i/d(W_k, b_k), (m, L), float32
      or wider.

    Raises:
      ValueError: if trace, deltas and weights do not fit each other.

    Source: Goodfellow 2015, "Efficient per-example gradient computations".
    """
    squares = squared_norms(trace, deltas, weights)
    return jnp.sqrt(squares if per_layer else squares.sum(axis=1))


def squared_norms(trace: Trace, deltas: Deltas, weights: ArrayLike | None) -> jax.Array:
    """|g_i,k|^2 of every sample and layer, (m, L)."""
    layers = [
        (_row_squares(a) + 1) * _row_squares(unweight(delta, weights))
        for a, delta in wide_pairs(trace, deltas)
    ]
    return jnp.stack(layers, axis=1)


def clipped_gradient(
    trace: Trace,
    deltas: Deltas,
    *,
    clip_norm: ArrayLike,
    per_layer: bool = False,
    automatic: bool = False,
    gamma: float = 0.01,
    divide_by: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Params:
    """sum_i w_i c_i g_i / sum_i w_i, every g_i scaled to a norm of at most clip_norm.

        c_i = min(1, C / |g_i|)       clipping
        c_i = C / (|g_i| + gamma)     automatic clipping

    Per layer, each of the L layers has its own norm and c_i, and C / sqrt(L) for C: the
    whole is at most C again.

    Args:
      trace, deltas, weights: of one backward pass; see `handgrad.byproducts`.
      clip_norm: C > 0, the largest norm of one sample's contribution; infinity clips
        nothing, and gives `gradients`.
      per_layer: whether to clip each layer by itself.
      automatic: whether to normalise instead of clip.
      gamma: what keeps small gradients small in automatic clipping.
      divide_by: what to divide the sum by instead of sum_i w_i; 1 gives the sum.

    Returns:
      Layers in the structure, shapes and dtypes of the parameters.

    Raises:
      ValueError: if trace, deltas and weights do not fit each other.

    Source: Abadi et al. 2016, algorithm 1 (clipping); McMahan et al. 2018 (per
    layer); Bu et al. 2022, "Automatic clipping", AUTO-S (there C is absorbed in
    the learning rate).
    """
    norms = per_sample_norms(trace, deltas, per_layer=per_layer, weights=weights)
    return clip_by(
        norms,
        trace,
        deltas,
        clip_norm=clip_norm,
        automatic=automatic,
        gamma=gamma,
        divide_by=divide_by,
        weights=weights,
    )


def clip_by(
    norms: jax.Array,
    trace: Trace,
    deltas: Deltas,
    *,
    clip_norm: ArrayLike,
    automatic: bool = False,
    gamma: float = 0.01,
    divide_by: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Params:
    """`clipped_gradient` by norms already known: (m,), or (m, L) to clip per layer."""
    clip_norm = jnp.asarray(clip_norm, norms.dtype)
    if norms.ndim == 2:
        clip_norm = clip_norm / jnp.sqrt(jnp.asarray(norms.shape[1], norms.dtype))
    if automatic:
        factors = clip_norm / (norms + gamma)
    else:
        factors = 1 / jnp.maximum(norms / clip_norm, 1)
    factors = factors.reshape(norms.shape[0], -1)  # (m, 1) or (m, L)
    total = total_weight(trace, weights) if divide_by is None else divide_by
    total = jnp.asarray(total, norms.dtype)
    layers = []
    for k, (a, delta) in enumerate(pairs(trace, deltas)):
        column = factors[:, k] if norms.ndim == 2 else factors[:, 0]
        clipped = delta * column[:, None].astype(delta.dtype)
        layers.append(
            Layer(weight_gradient(a, clipped, total), bias_gradient(clipped, total))
        )
    return tuple(layers)


def _row_squares(values: jax.Array) -> jax.Array:
    """sum_j x_ij^2, (m, n) -> (m,)."""
    return jnp.sum(values * values, axis=1)
