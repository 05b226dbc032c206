"""The gradient noise scale: how large a batch is worth its cost."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from handgrad.byproducts.moments import mean_gradient
from handgrad.byproducts.per_sample import per_sample_norms
from handgrad.network.mean import divide
from handgrad.network.types import Deltas, Params, Trace


class NoiseScale(NamedTuple):
    """Estimates of |G|^2 and tr(Sigma), G the gradient of the population.

    Without bias for independent samples, each of weight 1 or 0.

    Both are noisy, and their ratio is biased: average each over steps (a `tree.map` of
    this tuple will do), and only then take the ratio.
    """

    squared_norm: jax.Array  # |G|^2, scalar; below 0 where noise hides it
    variance: jax.Array  # tr(Sigma) of one sample's gradient, scalar

    @property
    def critical_batch_size(self) -> jax.Array:
        """B_simple = tr(Sigma) / |G|^2, in samples; infinite if |G|^2 is not positive.

        Below it, a batch twice as large halves the steps; above it, it is wasted. NaN
        where the estimates are.
        """
        hidden = self.squared_norm <= 0
        return jnp.where(
            hidden, jnp.inf, self.variance / jnp.where(hidden, 1, self.squared_norm)
        )


def noise_scale(trace: Trace, deltas: Deltas) -> NoiseScale:
    """The noise scale from one batch: its m samples against their mean.

    E |g_i|^2 = |G|^2 + tr(Sigma) and E |gbar|^2 = |G|^2 + tr(Sigma) / m, so

        |G|^2     = (m |gbar|^2 - mean_i |g_i|^2) / (m - 1)
        tr(Sigma) = (mean_i |g_i|^2 - |gbar|^2) m / (m - 1)

    With weights, m is (sum w)^2 / sum w^2: the number of samples if w is a mask.

    Args:
      trace, deltas: of one backward pass over at least two samples.

    Returns:
      The two estimates, and `critical_batch_size`; NaN if fewer than two samples count,
      or one counts for all that float32 can tell.

    Raises:
      ValueError, TypeError: if trace and deltas do not fit each other.

    Source: McCandlish et al. 2018, "An empirical model of large-batch training",
    equation 2.9 (the scale) and A.2, A.3 (the estimates, with B_small = 1, B_big = m).
    """
    norms = per_sample_norms(trace, deltas)
    return noise_from(norms, mean_gradient(trace, deltas), deltas)


def noise_from(norms: jax.Array, mean: Params, deltas: Deltas) -> NoiseScale:
    """`noise_scale` from |g_i|, (m,), and the mean gradient, already known."""
    of_one = jnp.sum(deltas.scale * norms * norms)
    of_mean = sum(
        (jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(mean)), jnp.zeros_like(of_one)
    )
    samples = _effective_samples(deltas)
    # Nearer to 1 than this, samples - 1 is mostly rounding.
    several = samples > 1 + jnp.sqrt(jnp.finfo(samples.dtype).eps)
    others = jnp.where(several, samples - 1, jnp.nan)
    return NoiseScale(
        squared_norm=(samples * of_mean - of_one) / others,
        variance=(of_one - of_mean) * samples / others,
    )


def _effective_samples(deltas: Deltas) -> jax.Array:
    """m, or (sum w)^2 / sum w^2, exact for masks: the largest w counts as 1."""
    if deltas.weights is None:
        return deltas.total
    w = divide(deltas.scale, jnp.max(jnp.abs(deltas.scale), initial=0))
    return jnp.square(jnp.sum(w)) / jnp.sum(w * w)
