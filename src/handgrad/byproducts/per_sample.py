"""Gradients of single samples: formed, measured, and clipped without being formed.

Sample i's gradient of layer k is the outer product a_{k-1} delta_k^T (B4) and delta_k
(B5), so its norm is a product of two norms, and any sum_i c_i g_i is one contraction
with the deltas scaled by c_i.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from handgrad.byproducts.pairs import unscale, wide_pairs
from handgrad.network.mean import divide, per_sample
from handgrad.network.mlp import gradients
from handgrad.network.numbers import check_number
from handgrad.network.samples import of_layers, row_squares
from handgrad.network.types import Deltas, Layer, Params, Trace


def per_sample_gradients(trace: Trace, deltas: Deltas) -> Params:
    """g_i = dl_i/dparams of every sample, formed: B4 and B5 without the sum.

    The one by-product that needs m times the memory of the parameters.

    Args:
      trace, deltas: of one backward pass; see `handgrad.byproducts`.

    Returns:
      Layers with weight (m, n_in, n_out) and bias (m, n_out), or (m, K, n, n) and
      (m, K, n) of a stack, in the parameters' dtype.

    Raises:
      ValueError, TypeError: if trace and deltas do not fit each other.
    """
    dtype = trace.logits.dtype
    layers = []
    for a, scaled in wide_pairs(trace, deltas):
        delta = unscale(scaled, deltas).astype(dtype)
        formed = Layer(a.astype(dtype)[..., None] * delta[..., None, :], delta)
        layers.append(jax.tree.map(_samples_first, formed) if a.ndim == 3 else formed)
    return tuple(layers)


def _samples_first(values: jax.Array) -> jax.Array:
    """(K, m, ...) of a stack -> (m, K, ...)."""
    return jnp.moveaxis(values, 1, 0)


def per_sample_norms(
    trace: Trace, deltas: Deltas, *, per_layer: bool = False
) -> jax.Array:
    """|g_i|: per layer |g_i,k|^2 = (|a_{k-1}|^2 + 1) |delta_k|^2, the 1 for the bias.

    Args:
      trace, deltas: of one backward pass; see `handgrad.byproducts`.
      per_layer: whether to give one norm per layer instead of one for them all.

    Returns:
      The Euclidean norm of dl_i/dparams, (m,), or of dl_i/d(W_k, b_k), (m, L), float32
      or wider. In float32, s_i |dl_i/dd_k| below 1e-19 counts as 0.

    Raises:
      ValueError, TypeError: if trace and deltas do not fit each other.

    Source: Goodfellow 2015, "Efficient per-example gradient computations".
    """
    norms = layer_norms(trace, deltas)
    return norms if per_layer else joint_norm(norms)


def layer_norms(trace: Trace, deltas: Deltas) -> jax.Array:
    """|g_i,k| of every sample and layer, (m, L)."""
    norms = [
        jnp.sqrt((row_squares(a) + 1) * row_squares(delta))
        for a, delta in wide_pairs(trace, deltas)
    ]
    return jnp.abs(unscale(of_layers(norms), deltas))


def joint_norm(norms: jax.Array) -> jax.Array:
    """|g_i| from the norms of its layers, (m, L) -> (m,)."""
    return jnp.sqrt(row_squares(norms))


def clipped_gradient(
    trace: Trace,
    deltas: Deltas,
    *,
    clip_norm: ArrayLike,
    per_layer: bool = False,
    automatic: bool = False,
    gamma: ArrayLike = 0.01,
    divide_by: ArrayLike | None = None,
) -> Params:
    """sum_i w_i c_i g_i / sum_i w_i, every g_i scaled to a norm of at most clip_norm.

        c_i = min(1, C / |g_i|)       clipping
        c_i = C / (|g_i| + gamma)     automatic clipping

    Per layer, each of the L layers has its own norm and c_i, and C / sqrt(L) for C: the
    whole is at most C again.

    Args:
      trace, deltas: of one backward pass; see `handgrad.byproducts`.
      clip_norm: C, at least 0, the largest norm of one sample's contribution; infinity
        clips nothing, and gives `gradients`. In automatic clipping C is finite.
      per_layer: whether to clip each layer by itself.
      automatic: whether to normalise instead of clip.
      gamma: above 0; what keeps small gradients small in automatic clipping.
      divide_by: above 0; what to divide the sum by instead of sum_i w_i; 1 gives it.

    Returns:
      Layers in the structure, shapes and dtypes of the parameters; NaN where a traced
      argument is outside its bounds.

    Raises:
      ValueError: if trace and deltas do not fit each other, or an argument is outside
        its bounds.

    Source: Abadi et al. 2016, algorithm 1 (clipping); McMahan et al. 2018 (per
    layer); Bu et al. 2022, "Automatic clipping", AUTO-S (there C is absorbed in
    the learning rate).
    """
    norms = per_sample_norms(trace, deltas, per_layer=per_layer)
    return clip_by(
        norms,
        trace,
        deltas,
        clip_norm=clip_norm,
        automatic=automatic,
        gamma=gamma,
        divide_by=divide_by,
    )


def clip_by(
    norms: jax.Array,
    trace: Trace,
    deltas: Deltas,
    *,
    clip_norm: ArrayLike,
    automatic: bool = False,
    gamma: ArrayLike = 0.01,
    divide_by: ArrayLike | None = None,
) -> Params:
    """`clipped_gradient` by norms already known: (m,), or (m, L) to clip per layer."""
    factors = _factors(norms, clip_norm, automatic=automatic, gamma=gamma)
    if divide_by is not None:
        divisor = check_number("divide_by", divide_by, norms.dtype, above=0)
        factors = factors * (deltas.total / divisor)
    lift = deltas.loss_scale
    if (
        lift is not None
    ):  # float16 holds factors of at most 1: their size leaves with it
        largest = jnp.max(jnp.abs(factors), initial=0)
        factors, lift = divide(factors, largest), divide(lift, largest)
    clipped = tuple(
        (delta.astype(own.dtype) * own).astype(delta.dtype)
        for delta, own in zip(deltas.layers, _by_layer(factors, deltas), strict=True)
    )
    return gradients(trace, replace(deltas, layers=clipped, loss_scale=lift))


def _by_layer(factors: jax.Array, deltas: Deltas) -> list[jax.Array]:
    """What multiplies the deltas of each layer, (m, 1) or (K, m, 1): from factors (m,)
    for all of them, or (m, L)."""
    if factors.ndim == 1:
        return [per_sample(factors, delta) for delta in deltas.layers]
    found, first = [], 0
    for delta in deltas.layers:
        count = 1 if delta.ndim == 2 else delta.shape[0]
        own = factors.T[first : first + count]
        found.append((own[0] if delta.ndim == 2 else own)[..., None])
        first += count
    return found


def _factors(
    norms: jax.Array, clip_norm: ArrayLike, *, automatic: bool, gamma: ArrayLike
) -> jax.Array:
    """c_i, in the shape of the norms."""
    most = {"at_most": float(jnp.finfo(norms.dtype).max)} if automatic else {}
    bound = check_number("clip_norm", clip_norm, norms.dtype, at_least=0, **most)
    if norms.ndim == 2:
        bound = bound / jnp.sqrt(jnp.asarray(norms.shape[1], norms.dtype))
    if automatic:
        return bound / (norms + check_number("gamma", gamma, norms.dtype, above=0))
    within = norms <= bound
    return jnp.where(within, 1, bound / jnp.where(within, 1, norms))
