"""What is wrong with a pass, layer by layer, as arrays that can leave a jitted step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from handgrad.byproducts.pairs import unscale, wide_pairs
from handgrad.network.mean import divide, per_sample
from handgrad.network.numbers import check_number
from handgrad.network.types import Deltas, Trace

NOWHERE, FORWARD, BACKWARD = 0, 1, 2


class Health(NamedTuple):
    """One entry per layer k = 1 ... L, or per hidden layer k = 1 ... L-1."""

    stage: jax.Array  # of the first non-finite value: NOWHERE, FORWARD or BACKWARD
    layer: jax.Array  # of the first non-finite value: k; 0 for x, or if there is none
    non_finite_forward: jax.Array  # (L,) how many entries of d_k and a_k
    non_finite_backward: jax.Array  # (L,) how many entries of delta_k
    dead: jax.Array  # (L-1,) share of the units where h' is 0 for every sample
    saturated: jax.Array  # (L-1,) share of the m n_k values where |h'| < saturation
    activation_rms: jax.Array  # (L,) root mean square of a_{k-1}, dropout applied
    delta_rms: jax.Array  # (L,) root mean square of dl_i/dd_k


def health(trace: Trace, deltas: Deltas, *, saturation: ArrayLike = 0.01) -> Health:
    """Where the first NaN or infinity arose, and how alive each layer is.

    "First" is in the order of computation: x, d_1, a_1, ..., d_L, then delta_L down to
    delta_1; one non-finite value usually spoils all that follow. A unit that is dead
    gets no gradient from this batch. For relu the saturated values are the inactive
    ones, h' = 0.

    Args:
      trace, deltas: of one backward pass. A sample of weight 0 is padding and counts
        nowhere; all others count alike.
      saturation: the size of h' below which a value counts as saturated, at least 0.

    Returns:
      Scalars and vectors; shares and root mean squares are float32 or wider, and 0
      where no sample counts.

    Raises:
      ValueError, TypeError: if trace and deltas do not fit each other.
    """
    wide = wide_pairs(trace, deltas)
    dtype = wide[0][0].dtype
    counts = _counts(trace, deltas)
    threshold = check_number("saturation", saturation, dtype, at_least=0)

    unscaled = [unscale(delta, deltas) for _, delta in wide]
    backward = _vector([_non_finite(delta, counts) for _, delta in wide])
    inputs = _vector([_non_finite(a, counts) for a in trace.activations])
    outputs = jnp.append(inputs[1:], 0)
    forward = _vector([_non_finite(d, counts) for d in trace.pre_activations]) + outputs
    stage, layer = _first(inputs[0], forward, backward)
    slopes = [jnp.abs(one.h.derivative(one.d, one.a)) for one in trace.hidden_layers]
    small = [(s < threshold.astype(s.dtype)).astype(dtype) for s in slopes]
    return Health(
        stage=stage,
        layer=layer,
        non_finite_forward=forward,
        non_finite_backward=backward,
        dead=_vector([_unused(slope, counts, dtype) for slope in slopes]),
        saturated=_vector([_mean(holds, counts) for holds in small]),
        activation_rms=_vector([jnp.sqrt(_mean(a * a, counts)) for a, _ in wide]),
        delta_rms=_vector([jnp.sqrt(_mean(d * d, counts)) for d in unscaled]),
    )


def _first(
    inputs: jax.Array, forward: jax.Array, backward: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Stage and layer of the first count above 0, in the order of computation."""
    layers = list(range(1, len(forward) + 1))
    counts = jnp.concatenate(
        [inputs[None], forward, backward[::-1], jnp.ones(1, jnp.int32)]
    )
    stages = [FORWARD] * (1 + len(layers)) + [BACKWARD] * len(layers) + [NOWHERE]
    index = jnp.argmax(counts > 0)
    order = [0, *layers, *reversed(layers), 0]
    return jnp.asarray(stages, jnp.int32)[index], jnp.asarray(order, jnp.int32)[index]


def _counts(trace: Trace, deltas: Deltas) -> jax.Array:
    """Whether a sample is one, (m,), and no padding."""
    if deltas.weights is None:
        return jnp.ones(trace.logits.shape[0], bool)
    return deltas.weights.astype(bool)


def _non_finite(values: jax.Array, counts: jax.Array) -> jax.Array:
    """How many entries of the samples that count are NaN or infinite, of each layer."""
    found = per_sample(counts, values) & ~jnp.isfinite(values)
    return jnp.sum(found, axis=(-2, -1), dtype=jnp.int32)


def _mean(values: jax.Array, counts: jax.Array) -> jax.Array:
    """The mean over the samples that count, and all units, of each layer."""
    total = jnp.sum(jnp.where(per_sample(counts, values), values, 0), axis=(-2, -1))
    return divide(total, jnp.sum(counts, dtype=values.dtype) * values.shape[-1])


def _unused(slopes: jax.Array, counts: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """The share of units whose h' is 0 for all samples that count, of each layer."""
    unused = jnp.all(~per_sample(counts, slopes) | (slopes == 0), axis=-2)
    return jnp.mean(unused, axis=-1, dtype=dtype)


def _vector(of_layers: list[jax.Array]) -> jax.Array:
    """One number per layer; a stack has K of them."""
    if not of_layers:
        return jnp.zeros((0,))
    return jnp.concatenate([jnp.atleast_1d(numbers) for numbers in of_layers])
