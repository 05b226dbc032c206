"""F3, L1 and B3 where only a chunk of the classes is known at a time: K1 to K4.

A row of logits d is summed up by its largest M, z = sum_c e^(d_c - M), the mass of the
targets t = sum_c q_c and their score A = sum_c q_c (d_c - M). Two chunks merge into the
summary of both, so chunks of any size come to the summary of the row: the log-sum-exp
ln sum_c e^d_c = M + ln z is online. Of L1 and B3 nothing else is needed.

Everything is float32 or wider. Targets of a chunk are the columns of q that belong to
it, (m, c), or labels counted from its first class, (m,): those outside 0 ... c-1 are
classes of other chunks.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from handgrad.network.softmax_nll import entry, is_class
from handgrad.network.types import accumulation_dtype


class Summary(NamedTuple):
    """Of the classes of one chunk, or of several: each (m,)."""

    largest: jax.Array  # M, -inf where all these classes cannot be
    total: jax.Array  # z
    mass: jax.Array  # t
    score: jax.Array  # A
    best: jax.Array | None  # the first class whose logit is M, if it was asked for


def summary(
    logits: jax.Array, targets: jax.Array, start: jax.Array | None = None
) -> Summary:
    """K1: M = max_c d_c, z = sum_c e^(d_c - M), t = sum_c q_c, A = sum_c q_c (d_c - M).

    Args:
      logits: d of the classes of a chunk, (m, c).
      targets: of the chunk, (m,) or (m, c).
      start: the number of its first class, to know which class is best; else None.

    Returns:
      The summary of the chunk. A class at -inf adds 0 to A where its q is 0.
    """
    wide = logits.astype(accumulation_dtype(logits.dtype))
    largest = jax.lax.stop_gradient(jnp.max(wide, axis=1))  # it cancels
    shifted = wide - _base(largest)[:, None]
    total = jnp.sum(jnp.exp(shifted), axis=1)
    best = None
    if start is not None:
        best = start + jnp.argmax(wide, axis=1).astype(jnp.int32)
    if targets.ndim == 1:  # mutants: it is 1 or 2
        here = (targets >= 0) & (targets < wide.shape[1])
        label = jnp.where(here, targets, 0)  # mutants: any class, not looked at
        score = jnp.where(here, entry(shifted, label), 0)
        return Summary(largest, total, here.astype(wide.dtype), score, best)
    q = targets.astype(wide.dtype)
    # mutants: q is a distribution, and any finite number does there
    log = jnp.where((q == 0) & jnp.isneginf(shifted), 0, shifted)
    return Summary(largest, total, jnp.sum(q, axis=1), jnp.sum(q * log, axis=1), best)


def merge(one: Summary, other: Summary) -> Summary:
    """K2: M = max(M1, M2), z = sum_j z_j e^(M_j - M), A = sum_j A_j + t_j (M_j - M).

    Args:
      one: of some classes.
      other: of other classes, higher ones where the best is asked for.

    Returns:
      The summary of both.
    """
    largest = jnp.maximum(one.largest, other.largest)
    base = _base(largest)

    def total(part: Summary) -> jax.Array:
        return part.total * jnp.exp(part.largest - base)

    def score(part: Summary) -> jax.Array:
        return part.score + part.mass * (_base(part.largest) - base)

    best = None
    # mutants: both or neither
    if one.best is not None and other.best is not None:
        higher = ~(other.largest <= one.largest) & ~jnp.isnan(one.largest)
        best = jnp.where(higher, other.best, one.best)
    return Summary(
        largest,
        total(one) + total(other),
        one.mass + other.mass,
        score(one) + score(other),
        best,
    )


def summary_losses(row: Summary) -> jax.Array:
    """K3: l = -sum_c q_c ln a_L,c = t ln z - A.

    Args:
      row: of all classes.

    Returns:
      l, (m,), in nats.
    """
    return row.mass * jnp.log(row.total) - row.score


def chunk_delta(logits: jax.Array, targets: jax.Array, row: Summary) -> jax.Array:
    """K4: dl/dd_c = t e^(d_c - M) / z - q_c, which is B3 for the classes of a chunk.

    Args:
      logits, targets: of the chunk, as in `summary`.
      row: of all classes.

    Returns:
      t a_L,c - q_c, (m, c).
    """
    wide = logits.astype(accumulation_dtype(logits.dtype))
    exponential = jnp.exp(wide - _base(row.largest)[:, None])
    if targets.ndim == 2:  # mutants: it is 1 or 2
        size = row.mass / row.total
        return size[:, None] * exponential - targets.astype(wide.dtype)
    probabilities = exponential * (1 / row.total)[:, None]
    return jnp.where(is_class(wide, targets), probabilities - 1, probabilities)


def _base(largest: jax.Array) -> jax.Array:
    """What to subtract: M, and 0 for -inf, which less itself would be NaN."""
    return jnp.where(jnp.isneginf(largest), 0, largest)  # mutants: a finite number
