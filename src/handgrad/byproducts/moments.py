"""How the gradients of single samples spread around their mean, parameter by parameter.

(g_i)^2 of a weight is a^2 delta^2, elementwise: the second moment is B4 of the squared
pair. All are in the structure of the parameters, float32 or wider.
"""

import jax
import jax.numpy as jnp

from handgrad.byproducts.pairs import pairs_of_passes, unscale, wide_pairs
from handgrad.network.affine import affine_backward_bias, affine_backward_weight
from handgrad.network.placement import place_like
from handgrad.network.types import Deltas, Layer, Params, Trace


def mean_gradient(trace: Trace, deltas: Deltas) -> Params:
    """`gradients` in float32 or wider, to be squared and subtracted; in
    `jax.shard_map`, that of this shard."""
    return _contracted(trace, wide_pairs(trace, deltas))


def second_moment(trace: Trace, deltas: Deltas) -> Params:
    """sum_i w_i g_i^2 / sum_i w_i, elementwise; not centred.

    The diagonal of the Fisher matrix, too, which is sum_i w_i g_i g_i^T / sum_i w_i: of
    the empirical one with the deltas of `handgrad.deltas`, of a Monte Carlo estimate of
    the true one with `sampled_deltas`, and of the true one with `exact_deltas`, which
    is `ggn_diagonal`.

    Args:
      trace, deltas: of one backward pass; see `handgrad.byproducts`. Deltas with a
        leading axis, of `exact_deltas`, are summed over it.

    Returns:
      Layers in the structure and shapes of the parameters, float32 or wider.

    Raises:
      ValueError, TypeError: if trace and deltas do not fit each other.

    Source: Dangel et al. 2020, "BackPACK" (second moment); Kunstner et al. 2019,
    "Limitations of the empirical Fisher".
    """
    squares = [
        (a * a, jnp.sum(delta * unscale(delta, deltas), axis=0))
        for a, delta in pairs_of_passes(trace, deltas)
    ]
    return _contracted(trace, squares)


def variance(trace: Trace, deltas: Deltas) -> Params:
    """Var = sum_i w_i (g_i - gbar)^2 / sum_i w_i, elementwise, gbar the gradient.

    The variance of this batch; times m / (m - 1) it estimates that of the population.
    It is computed as second moment minus gbar^2, so its error is that of the second
    moment, and it is never negative.

    Args:
      trace, deltas: of one backward pass; see `handgrad.byproducts`.

    Returns:
      Layers in the structure and shapes of the parameters, float32 or wider.

    Raises:
      ValueError, TypeError: if trace and deltas do not fit each other.

    Source: Dangel et al. 2020, "BackPACK" (variance).
    """
    return centred(second_moment(trace, deltas), mean_gradient(trace, deltas))


def gradient_snr(trace: Trace, deltas: Deltas) -> Params:
    """r = gbar^2 / Var, elementwise: how much of a parameter's gradient is signal.

    Args:
      trace, deltas: of one backward pass; see `handgrad.byproducts`.

    Returns:
      Layers in the structure and shapes of the parameters, float32 or wider; 0 where
      the gradient is 0, and infinite where it is not and all samples agree.

    Raises:
      ValueError, TypeError: if trace and deltas do not fit each other.

    Source: Liu et al. 2020, "Understanding why neural networks generalize well through
    GSNR of parameters".
    """
    mean = mean_gradient(trace, deltas)
    return signal_to_noise(mean, centred(second_moment(trace, deltas), mean))


def centred(moment: Params, mean: Params) -> Params:
    """E[g^2] - E[g]^2, not below 0."""
    return jax.tree.map(lambda m, g: jnp.maximum(m - g * g, 0), moment, mean)


def signal_to_noise(mean: Params, variance: Params) -> Params:
    """g^2 / Var, and 0 where g is 0."""

    def ratio(g: jax.Array, var: jax.Array) -> jax.Array:
        silent = g == 0
        return jnp.where(silent, 0, g * g / jnp.where(silent, 1, var))

    return jax.tree.map(ratio, mean, variance)


def _contracted(trace: Trace, pairs: list[tuple[jax.Array, jax.Array]]) -> Params:
    """B4 and B5 of these pairs, laid out like the parameters."""
    return tuple(
        Layer(
            affine_backward_weight(a, delta, weight.sharding),
            place_like(affine_backward_bias(delta), bias),
        )
        for (a, delta), (weight, bias) in zip(pairs, trace.placements, strict=True)
    )
