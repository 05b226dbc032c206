"""How good a network is on a part: plain negative log-likelihood and hits."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import handgrad
from handgrad.network.chunked import forward_below, scores_in_chunks
from handgrad.network.mlp import loss_of_logits
from handgrad.network.softmax_nll import mean_loss
from handgrad.training.data import Scaling, scale
from handgrad.training.engine.layout import Layout, spread
from handgrad.training.engine.objective import Objective, cast

ROWS = 1024
"""Samples whose activations are in memory at once."""


class Score(NamedTuple):
    """Over a part, without dropout, smoothing or class weights."""

    loss: Any  # mean of l_i, in nats
    accuracy: Any  # share of the samples that are classified right


class Samples(NamedTuple):
    """Features, labels and, where samples weigh differently, weights, on the device."""

    x: Any  # (m, n_0), not scaled
    y: Any  # (m,)
    weights: Any = None  # (m,)


def evaluate(
    objective: Objective,
    scaling: Scaling,
    params: handgrad.Params,
    part: Samples,
    layout: Layout | None = None,
) -> Score:
    """The score of a network, `ROWS` samples at a time on each device.

    Args:
      objective: of training; gives activation and dtype.
      scaling: of the features.
      params: the network.
      part: of at least one sample.
      layout: on a mesh, whose devices along `data` share the samples.

    Returns:
      Scalars, float32.
    """
    samples, narrow = len(part.y), cast(params, objective.dtype)
    rows, share = _rows_at_once(samples, layout)

    def add(i: jax.Array, sums: jax.Array) -> jax.Array:
        start = jnp.minimum(i * rows, samples - rows)  # the last block reaches back
        x, y = part[:2]
        if share is None or rows < samples:  # else they are all, each where it belongs
            x, y = (jax.lax.dynamic_slice_in_dim(a, start, rows) for a in (x, y))
        weights = (start + jnp.arange(rows) >= i * rows).astype(jnp.float32)
        if part.weights is not None:
            own = jax.lax.dynamic_slice_in_dim(part.weights, start, rows)
            weights = weights * own
        x = scale(scaling, spread(x, share)).astype(objective.dtype)
        loss, predictions = _of_rows(objective, narrow, x, y, weights)
        hits, weight = jnp.sum(weights * (predictions == y)), jnp.sum(weights)
        return sums + jnp.stack([loss * weight, hits, weight])

    blocks = -(-samples // rows)
    loss, hits, weight = jax.lax.fori_loop(0, blocks, add, jnp.zeros(3))
    return Score(loss / weight, hits / weight)


def _of_rows(
    objective: Objective,
    params: handgrad.Params,
    x: jax.Array,
    y: jax.Array,
    weights: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """J, and the class that is predicted for each of the rows."""
    activation, chunk = objective.activation, objective.chunk
    if chunk is not None:
        network = forward_below(params, x, y, activation=activation, chunk=chunk)
        losses, predictions = scores_in_chunks(network)
        return mean_loss(losses, weights), predictions
    logits = handgrad.forward(params, x, activation=activation).logits
    return loss_of_logits(logits, y, weights), jnp.argmax(logits, axis=1)


def _rows_at_once(samples: int, layout: Layout | None) -> tuple[int, Any]:
    """How many, and how they lie; samples that are fewer than devices lie on all."""
    if layout is None:
        return min(ROWS, samples), None
    rows = min(ROWS * layout.shares, samples) // layout.shares * layout.shares
    return (rows, layout.rows) if rows else (samples, layout.whole)
