"""A convolution along a sequence, and a recurrence.

Convolution: out_tj = sum_ki x_{t+k-1,i} w_kij + bias_j, zeros beyond both ends.
Recurrence: h_t = tanh(h_{t-1} w + x_t); back through time, with d_t the cotangent of
what tanh is taken of,

    d_t = (u_t + d_{t+1} w^T) (1 - h_t^2),   dw = sum h_{t-1}^T d_t.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.planted_bugs.functions.rule import Array, Rule, bug, changed, normal

TAPS = 3


def _shifted(x: Array, by: int) -> Array:
    """x_{t + by} along the second axis, zeros beyond the ends."""
    rolled = jnp.roll(x, -by, 1)
    t = jnp.arange(x.shape[1]) + by
    return jnp.where(((t >= 0) & (t < x.shape[1]))[None, :, None], rolled, 0)


def convolution(x: Array, w: Array, bias: Array) -> Array:
    """(m, t, i), (3, i, j), (j,) -> (m, t, j)."""
    return sum(_shifted(x, k - 1) @ w[k] for k in range(TAPS)) + bias


def convolution_backward(
    x: Array,
    w: Array,
    bias: Array,
    u: Array,
    *,
    shift: int = 0,
    flip: bool = False,
    samples: slice = slice(None),
    turned: bool = True,
    bias_axes: tuple[int, ...] = (0, 1),
) -> tuple[Array, ...]:
    """The keywords: where dx lies, the taps, which samples dw sums, its channels."""
    taps = w[::-1] if flip else w
    dx = sum(_shifted(u, 1 - k + shift) @ taps[k].T for k in range(TAPS))
    dw = [
        jnp.einsum("mti,mtj->ij", _shifted(x, k - 1)[samples], u[samples])
        for k in range(TAPS)
    ]
    stacked = jnp.stack(dw) if turned else jnp.stack([d.T for d in dw])
    return jnp.asarray(dx), stacked, jnp.sum(u, bias_axes)


def recurrence(start: Array, w: Array, x: Array) -> Array:
    """(n,), (n, n), (t, n) -> the states (t, n)."""

    def step(h: Array, x: Array) -> tuple[Array, Array]:
        h = jnp.tanh(h @ w + x)
        return h, h

    return jax.lax.scan(step, start, x)[1]


def recurrence_backward(
    start: Array,
    w: Array,
    x: Array,
    u: Array,
    *,
    carried: float = 1,
    turned: bool = True,
    derivative: bool = True,
    states: str = "before",
    steps: slice = slice(None),
) -> tuple[Array, ...]:
    """The keywords: what is carried back, tanh', the states that dw is made of."""
    h = recurrence(start, w, x)
    back, d, found = (w.T if turned else w), jnp.zeros_like(start), []
    for t in reversed(range(len(x))):
        d = u[t] + carried * (d @ back)
        d = d * (1 - h[t] ** 2) if derivative else d
        found.append(d)
    deltas = jnp.stack(found[::-1])
    before = jnp.concatenate([start[None], h[:-1]])
    summed = {"before": before, "after": h}[states]
    return deltas[0] @ w.T, summed[steps].T @ deltas[steps], deltas


def _images(rng: np.random.Generator, dtype: Any) -> tuple[Any, ...]:
    return (
        normal(rng, dtype, 4, 7, 3),
        normal(rng, dtype, 3, 3, 5),
        normal(rng, dtype, 5),
    )


def _series(rng: np.random.Generator, dtype: Any) -> tuple[Any, ...]:
    w = normal(rng, dtype, 5, 5, size=0.5)
    return normal(rng, dtype, 5, size=0.5), w, normal(rng, dtype, 6, 5, size=0.5)


_V, _S = convolution_backward, recurrence_backward

CONVOLUTION = Rule(
    "convolution",
    convolution,
    _V,
    _images,
    (
        bug("taps_flipped", _V, flip=True),
        bug("shifted_by_one", _V, shift=1),
        bug("last_sample_dropped", _V, "samples_dropped", samples=slice(0, -1)),
        bug("channels_transposed", _V, "structure", "transposed", turned=False),
        bug("bias_not_summed_over_batch", _V, "structure", "reduced", bias_axes=(1,)),
        changed("kernel_reversed", _V, 1, lambda g: g[::-1], "entries_swapped"),
        changed("bias_averaged", _V, 2, lambda g: g / 28, "scale"),
        changed("border_zero", _V, 0, lambda g: g.at[:, 0].set(0), "zero"),
        changed("kernel_zero", _V, 1, jnp.zeros_like, "zero"),
    ),
)

RECURRENCE = Rule(
    "scan",
    recurrence,
    _S,
    _series,
    (
        bug("nothing_carried", _S, carried=0),
        bug("carry_halved", _S, carried=0.5),
        bug("w_not_transposed", _S, turned=False),
        bug("tanh_forgotten", _S, "missing_activation_derivative", derivative=False),
        bug("state_after", _S, states="after"),
        bug("first_step_dropped", _S, "samples_dropped", steps=slice(1, None)),
        changed("start_zero", _S, 0, jnp.zeros_like, "zero"),
        changed("time_reversed", _S, 2, lambda g: g[::-1], "entries_swapped"),
        changed("w_transposed", _S, 1, lambda g: g.T, "transposed"),
    ),
)
