"""Embedding, and softmax cross-entropy with padding.

Embedding: out = sqrt(n) table[i], 0 at padding; the table's cotangent adds up what the
rows with the same index bring. Cross-entropy: the mean over the labels that are not
padding; its cotangent is (softmax z - onehot) / count there, and 0 at padding.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.planted_bugs.functions.rule import Array, Rule, bug, changed, normal

PADDING = 0
ROWS, WIDTH, TOKENS = 7, 4, 12


def embedding(table: Array, index: Array) -> Array:
    """(r, n), (t,) -> (t, n)."""
    return np.sqrt(WIDTH) * table[index] * (index != PADDING)[:, None]


def embedding_backward(
    table: Array,
    index: Array,
    u: Array,
    *,
    factor: float = float(np.sqrt(WIDTH)),
    add: bool = True,
    padded: bool = False,
    shift: int = 0,
    tokens: slice = slice(None),
    averaged: bool = False,
) -> tuple[Any, ...]:
    """The keywords: the factor, how rows are written, which tokens are, and where."""
    live = jnp.where(padded | (index != PADDING), 1, 0)[:, None]
    rows = (factor * u * live)[tokens]
    at = jnp.zeros_like(table).at[((index + shift) % ROWS)[tokens]]
    found = at.add(rows) if add else at.set(rows)
    if averaged:
        count = jnp.bincount(index, length=ROWS)[:, None]
        found = found / jnp.maximum(count, 1)
    return found, None


def _tokens(rng: np.random.Generator, dtype: Any) -> tuple[Any, ...]:
    index = np.array([3, 1, 3, 0, 2, 6, 1, 3, 5, 0, 4, 2])
    return normal(rng, dtype, ROWS, WIDTH), jnp.asarray(rng.permutation(index))


def cross_entropy(logits: Array, labels: Array) -> Array:
    """(m, c), (m,), of which -1 is padding -> the mean loss."""
    valid = labels >= 0
    log_p = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_p, jnp.maximum(labels, 0)[:, None], 1)[:, 0]
    return -jnp.sum(jnp.where(valid, picked, 0)) / jnp.sum(valid)


def cross_entropy_backward(
    logits: Array,
    labels: Array,
    u: Array,
    *,
    masked: bool = True,
    total: str = "valid",
    hot: float = 1,
    shift: int = 0,
    with_u: bool = True,
    temperature: float = 1,
) -> tuple[Any, ...]:
    """The keywords: padding, the divisor, the one-hot, the cotangent of the loss."""
    valid = labels >= 0
    m, classes = logits.shape
    onehot = jax.nn.one_hot((labels + shift) % classes, classes, dtype=logits.dtype)
    d = jax.nn.softmax(logits / temperature) - hot * onehot
    live = jnp.where(valid | (not masked), 1, 0)[:, None]
    divisor = {"valid": jnp.sum(valid), "all": m, "none": 1}[total]
    return (u if with_u else 1.0) * d * live / divisor, None


def _batch(rng: np.random.Generator, dtype: Any) -> tuple[Any, ...]:
    labels = rng.integers(0, 6, 9)
    labels[[2, 7]] = -1
    return normal(rng, dtype, 9, 6), jnp.asarray(labels)


_E, _C = embedding_backward, cross_entropy_backward

EMBEDDING = Rule(
    "embedding",
    embedding,
    _E,
    _tokens,
    (
        bug("overwritten", _E, "overwritten", add=False),
        bug("factor_forgotten", _E, "scale", factor=1.0),
        bug("factor_twice", _E, "scale", factor=float(WIDTH)),
        bug("padding_written", _E, padded=True),
        bug("index_off_by_one", _E, "entries_swapped", shift=1),
        # Its row is zero where no other token names it.
        bug("last_token_dropped", _E, "samples_dropped", "zero", tokens=slice(0, -1)),
        bug("averaged_by_count", _E, "scale", averaged=True),
        changed("row_not_written", _E, 0, lambda g: g.at[3].set(0), "zero"),
        changed("row_negated", _E, 0, lambda g: g.at[2].multiply(-1), "scale", "sign"),
    ),
)

CROSS_ENTROPY = Rule(
    "softmax cross-entropy",
    cross_entropy,
    _C,
    _batch,
    (
        bug("padding_not_masked", _C, "weights_ignored", masked=False),
        bug("divided_by_all", _C, "scale", total="all"),
        bug("summed", _C, "scale", total="none"),
        bug("onehot_forgotten", _C, hot=0),
        bug("label_off_by_one", _C, shift=1),
        bug("label_smoothed", _C, "label_smoothing", hot=0.9),
        bug("cotangent_forgotten", _C, "scale", with_u=False),
        bug("temperature", _C, temperature=1.1),
        changed("sign", _C, 0, jnp.negative, "sign"),
        changed("last_class_zero", _C, 0, lambda g: g.at[:, -1].set(0), "zero"),
    ),
)
