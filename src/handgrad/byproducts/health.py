"""What is wrong with a pass, layer by layer, as arrays that can leave a jitted step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from handgrad.byproducts.pairs import pairs, wide_pairs
from handgrad.network.activations import resolve_activations
from handgrad.network.mlp import Activations
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
    delta_rms: jax.Array  # (L,) root mean square of delta_k


def health(
    trace: Trace,
    deltas: Deltas,
    *,
    activation: Activations = "relu",
    saturation: float = 0.01,
) -> Health:
    """Where the first NaN or infinity arose, and how alive each layer is.

    "First" is in the order of computation: x, d_1, a_1, ..., d_L, then delta_L down to
    delta_1; one non-finite value usually spoils all that follow. A unit that is dead
    gets no gradient from this batch. For relu the saturated values are the inactive
    ones, h' = 0.

    Args:
      trace, deltas: of one backward pass; every row counts, whatever its weight.
      activation: as in `handgrad.forward`.
      saturation: the size of h' below which a value counts as saturated.

    Returns:
      Scalars and vectors; shares and root mean squares are float32 or wider.

    Raises:
      ValueError: if trace and deltas do not fit each other.
    """
    hidden = resolve_activations(activation, len(trace.pre_activations) - 1)
    backward = [_non_finite(delta) for _, delta in pairs(trace, deltas)]
    inputs = [_non_finite(a) for a in trace.activations]
    forward = [
        _non_finite(d) + a
        for d, a in zip(trace.pre_activations, [*inputs[1:], 0], strict=True)
    ]
    stage, layer = _first(inputs[0], forward, backward)
    slopes = [
        jnp.abs(h.derivative(d, a))
        for h, d, a in zip(
            hidden, trace.pre_activations, trace.activations[1:], strict=False
        )
    ]
    wide = wide_pairs(trace, deltas)
    dtype = wide[0][0].dtype
    return Health(
        stage=stage,
        layer=layer,
        non_finite_forward=jnp.stack(forward),
        non_finite_backward=jnp.stack(backward),
        dead=_vector([jnp.mean(jnp.all(s == 0, axis=0), dtype=dtype) for s in slopes]),
        saturated=_vector([jnp.mean(s < saturation, dtype=dtype) for s in slopes]),
        activation_rms=_vector([_rms(a) for a, _ in wide]),
        delta_rms=_vector([_rms(delta) for _, delta in wide]),
    )


def _first(
    inputs: jax.Array, forward: list[jax.Array], backward: list[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Stage and layer of the first count above 0, in the order of computation."""
    layers = list(range(1, len(forward) + 1))
    counts = jnp.stack([inputs, *forward, *reversed(backward), jnp.ones_like(inputs)])
    stages = [FORWARD] * (1 + len(layers)) + [BACKWARD] * len(layers) + [NOWHERE]
    index = jnp.argmax(counts > 0)
    order = [0, *layers, *reversed(layers), 0]
    return jnp.asarray(stages, jnp.int32)[index], jnp.asarray(order, jnp.int32)[index]


def _non_finite(values: jax.Array) -> jax.Array:
    return jnp.sum(~jnp.isfinite(values), dtype=jnp.int32)


def _rms(values: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(values * values))


def _vector(scalars: list[jax.Array]) -> jax.Array:
    return jnp.stack(scalars) if scalars else jnp.zeros((0,))
