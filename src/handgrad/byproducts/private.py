"""Differentially private SGD on top of the clipped sum.

    poisson_batch(key, ...)                      -> indices and weights, of static shape
    private_gradient(key, trace, deltas, ...)    -> a gradient that any optimiser takes
    `handgrad.byproducts.budget`                 -> what it costs in epsilon

The noise is drawn in floating point, so it is Gaussian up to rounding only; whoever
needs more than research should read Mironov 2012, "On significance of the least
significant bits for differential privacy".
"""

import math
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from handgrad.byproducts.pairs import wide_pairs
from handgrad.byproducts.per_sample import clipped_gradient
from handgrad.network.numbers import check_number, is_zero
from handgrad.network.placement import placement
from handgrad.network.types import Deltas, Params, Trace, accumulation_dtype


class PoissonBatch(NamedTuple):
    """A batch of random size, padded to a fixed one by rows of weight 0."""

    indices: jax.Array  # (capacity,) int32, into the data; 0 where padded
    weights: jax.Array  # (capacity,) float32, 1, and 0 where padded: pass as `weights`
    dropped: jax.Array  # scalar int32, drawn but beyond the capacity: must be 0


def poisson_batch(
    key: jax.Array, samples: int, rate: ArrayLike, capacity: int
) -> PoissonBatch:
    """Every one of ``samples`` is in the batch with probability ``rate``, by itself.

    The sampling that the accountant assumes. Its amplification by sampling does not
    hold for batches of fixed size, nor if samples are dropped.

    Args:
      key: a PRNG key, consumed here.
      samples: n, the size of the data set.
      rate: q, in [0, 1]; the expected batch size is q n.
      capacity: the fixed number of rows; see `poisson_capacity`.

    Returns:
      Indices into the data and weights, and how many samples found no room.

    Raises:
      ValueError: for a rate outside [0, 1], or a capacity outside 1 ... n.

    Source: Abadi et al. 2016 (lots); Mironov et al. 2019 (Poisson).
    """
    keep = check_number("rate", rate, jnp.float32, at_least=0, at_most=1)
    if not 1 <= capacity <= samples:
        raise ValueError(
            f"`capacity` must be in 1 ... {samples}, the number of samples, "
            f"got {capacity}."
        )
    drawn = jax.random.bernoulli(key, keep, (samples,))
    (indices,) = jnp.nonzero(drawn, size=capacity, fill_value=0)
    count = jnp.sum(drawn, dtype=jnp.int32)
    rows = jnp.arange(capacity, dtype=jnp.int32)
    return PoissonBatch(
        indices.astype(jnp.int32),
        (rows < count).astype(jnp.float32),
        jnp.maximum(count - capacity, 0),
    )


def poisson_capacity(samples: int, rate: float, *, tail: float = 1e-12) -> int:
    """Rows enough that one batch overflows with a probability of at most ``tail``.

    Bernstein's inequality: P(X >= q n + t) <= exp(-t^2 / (2 (q (1-q) n + t / 3))).
    With a tail of 0 there is room for all n samples.

    Args:
      samples: n, the size of the data set.
      rate: q of `poisson_batch`, in [0, 1].
      tail: the probability, in [0, 1].

    Returns:
      Rows, from 1 to n.

    Raises:
      ValueError: for a rate or a tail outside [0, 1].

    Example:
      >>> poisson_capacity(60_000, 0.01)
      791
    """
    check_number("rate", rate, jnp.float32, at_least=0, at_most=1)
    check_number("tail", tail, jnp.float32, at_least=0, at_most=1)
    if tail == 0:
        return samples
    s = -math.log(tail)
    margin = s / 3 + math.sqrt(s * s / 9 + 2 * s * rate * (1 - rate) * samples)
    return min(samples, max(1, math.ceil(rate * samples + margin)))


def private_gradient(
    key: jax.Array,
    trace: Trace,
    deltas: Deltas,
    *,
    clip_norm: ArrayLike,
    noise_multiplier: ArrayLike,
    expected_batch_size: ArrayLike,
    per_layer: bool = False,
    automatic: bool = False,
    gamma: ArrayLike = 0.01,
) -> Params:
    """(sum_i w_i c_i g_i + sigma C N(0, I)) / (q n): the gradient of DP-SGD.

    The noise is scaled to the sum, whose sensitivity to one sample is C, and only then
    both are divided; not by the size of this batch, which is private, but by what is
    expected of it. With sigma = 0, C infinite and q n = m it is `gradients`. Clipping,
    sum and noise are in float32 or wider, whatever the parameters are.

    Args:
      key: a PRNG key, consumed here.
      trace, deltas: of one backward pass, whose weights were 0 or 1 for each sample, as
        `poisson_batch` gives them. Larger ones would break the guarantee.
      clip_norm, per_layer, automatic, gamma: as in `clipped_gradient`; clip_norm is C.
      noise_multiplier: sigma, at least 0, the noise's standard deviation over C. With
        noise, C is finite.
      expected_batch_size: q n, in samples, above 0.

    Returns:
      Layers in the structure, shapes and dtypes of the parameters; NaN where a traced
      argument is outside its bounds.

    Raises:
      ValueError: if trace and deltas do not fit each other, or an argument is outside
        its bounds.

    Source: Abadi et al. 2016, "Deep learning with differential privacy", algorithm 1.
    """
    dtype = trace.logits.dtype
    wide = accumulation_dtype(dtype)
    sigma = check_number(
        "noise_multiplier", noise_multiplier, wide, at_least=0, at_most=_most(wide)
    )
    size = check_number("expected_batch_size", expected_batch_size, wide, above=0)
    total = clipped_gradient(
        *_widened(trace, deltas, wide),
        clip_norm=clip_norm,
        per_layer=per_layer,
        automatic=automatic,
        gamma=gamma,
        divide_by=1,
    )
    # Without noise C may be infinite, and 0 times infinity is not 0.
    most = {} if is_zero(noise_multiplier) else {"at_most": _most(wide)}
    bound = check_number("clip_norm", clip_norm, wide, at_least=0, **most)
    scale = jnp.where(sigma == 0, 0, sigma * bound)
    leaves, structure = jax.tree.flatten(total)
    noisy = [
        ((leaf + scale * _normal(k, leaf)) / size).astype(dtype)
        for leaf, k in zip(leaves, jax.random.split(key, len(leaves)), strict=True)
    ]
    return jax.tree.unflatten(structure, noisy)


def _widened(trace: Trace, deltas: Deltas, dtype: jnp.dtype) -> tuple[Trace, Deltas]:
    """Both in ``dtype``, and the deltas free of the power of two that float16 needs."""
    layers = tuple(delta for _, delta in wide_pairs(trace, deltas))
    trace = jax.tree.map(lambda leaf: leaf.astype(dtype), trace)
    return trace, replace(deltas, layers=layers, loss_scale=None)


def _normal(key: jax.Array, like: jax.Array) -> jax.Array:
    """N(0, I), laid out on a mesh as ``like`` is."""
    sharding = placement(like).sharding
    return jax.random.normal(key, like.shape, like.dtype, out_sharding=sharding)


def _most(dtype: jnp.dtype) -> float:
    return float(jnp.finfo(dtype).max)
