"""Attention with a causal mask, and rotary embedding.

    S = q k^T / sqrt(d) + mask,   P = softmax S,   out = P v
    dv = P^T u,   dP = u v^T,   dS = P (dP - sum_j P dP),   dq = dS k / sqrt(d)
    dk = dS^T q / sqrt(d)

Rotary embedding turns pairs of features by an angle; back is by the negative angle.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.planted_bugs.functions.rule import Array, Rule, bug, changed, normal

BASE = 100.0


def _attended(q: Array, k: Array, offset: int = 0, masked: bool = True) -> Array:
    scores = q @ k.T / np.sqrt(q.shape[-1])
    seen = jnp.tril(jnp.ones(scores.shape, bool), offset)
    return jax.nn.softmax(jnp.where(seen | (not masked), scores, -1e30))


def attention(q: Array, k: Array, v: Array) -> Array:
    """(t, d) each -> (t, d)."""
    return _attended(q, k) @ v


def attention_backward(
    q: Array,
    k: Array,
    v: Array,
    u: Array,
    *,
    offset: int = 0,
    masked: bool = True,
    row_sum: float = 1,
    sum_axis: int = -1,
    turn_p: bool = True,
    turn_s: bool = True,
    scale_q: bool = True,
    scale_k: bool = True,
) -> tuple[Array, ...]:
    """The keywords: the mask of P, the term of dS and its axis, transposes, scales."""
    p = _attended(q, k, offset, masked)
    dp = u @ v.T
    ds = p * (dp - row_sum * jnp.sum(p * dp, sum_axis, keepdims=True))
    root = np.sqrt(q.shape[-1])
    dq = ds @ k / (root if scale_q else 1)
    dk = (ds.T if turn_s else ds) @ q / (root if scale_k else 1)
    return dq, dk, (p.T if turn_p else p) @ u


def _swapped(*given: Any) -> tuple[Array, ...]:
    dq, dk, dv = attention_backward(*given)
    return dk, dq, dv


def _angles(x: Array, shift: float = 0, base: float = BASE) -> tuple[Array, Array]:
    half = x.shape[-1] // 2
    turns = base ** (-np.arange(half) / half)
    angle = (np.arange(x.shape[0])[:, None] + shift) * turns
    return jnp.asarray(np.cos(angle), x.dtype), jnp.asarray(np.sin(angle), x.dtype)


def rotary(x: Array) -> Array:
    """(t, d), the first half of the features paired with the second."""
    cos, sin = _angles(x)
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def rotary_backward(
    x: Array,
    u: Array,
    *,
    back: tuple[float, float] = (1, 1),
    shift: float = 0,
    base: float = BASE,
    interleaved: bool = False,
) -> tuple[Array, ...]:
    """The keywords: the signs of the sines, the positions, the angles, the pairs."""
    cos, sin = _angles(x, shift, base)
    if interleaved:
        a, b = u[:, ::2], u[:, 1::2]
        turned = jnp.stack([a * cos + b * sin, b * cos - a * sin], -1)
        return (turned.reshape(u.shape),)
    a, b = jnp.split(u, 2, -1)
    first = a * cos + back[0] * b * sin
    return (jnp.concatenate([first, b * cos - back[1] * a * sin], -1),)


_A, _T = attention_backward, rotary_backward

ATTENTION = Rule(
    "attention",
    attention,
    _A,
    lambda rng, dtype: tuple(normal(rng, dtype, 6, 5) for _ in range(3)),
    (
        bug("q_not_scaled", _A, "scale", scale_q=False),
        bug("k_not_scaled", _A, "scale", scale_k=False),
        bug("softmax_without_sum", _A, "projection", row_sum=0),
        bug("softmax_sum_over_queries", _A, sum_axis=0),
        bug("p_not_transposed", _A, turn_p=False),
        bug("s_not_transposed", _A, turn_s=False),
        bug("mask_forgotten", _A, "weights_ignored", masked=False),
        bug("mask_off_by_one", _A, offset=1),
        bug("mask_hides_diagonal", _A, offset=-1),
        bug("q_and_k_exchanged", _swapped, "entries_swapped"),
        changed("v_zero", _A, 2, jnp.zeros_like, "zero"),
        changed("q_sign", _A, 0, jnp.negative, "sign"),
        changed("heads_reversed", _A, 2, lambda g: g[:, ::-1], "entries_swapped"),
    ),
)

ROTARY = Rule(
    "rotary embedding",
    rotary,
    _T,
    lambda rng, dtype: (normal(rng, dtype, 6, 8),),
    (
        bug("turned_forwards", _T, back=(-1, -1)),
        bug("one_sine_wrong", _T, back=(1, -1)),
        bug("not_turned", _T, base=1e30),
        bug("positions_from_one", _T, shift=1),
        bug("another_base", _T, base=10000.0),
        bug("pairs_interleaved", _T, interleaved=True),
        changed("second_half_zero", _T, 0, lambda g: g.at[:, 4:].set(0), "zero"),
        changed(
            "halves_exchanged", _T, 0, lambda g: jnp.roll(g, 4, 1), "entries_swapped"
        ),
    ),
)
