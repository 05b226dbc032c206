"""Layer norm and RMS norm.

    y = (x - mean x) r,   r = 1 / sqrt(var x + eps),   out = y gain + bias
    dx = r (d - mean d - y mean(d y)),   d = u gain,   dgain = sum u y,   dbias = sum u

RMS norm has no mean to take off: y = x r, r = 1 / sqrt(mean x^2 + eps).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from handgrad.planted_bugs.functions.rule import Array, Rule, bug, changed, normal

EPS = 1e-2


def _mean(x: Array) -> Array:
    return jnp.mean(x, -1, keepdims=True)


def _normed(x: Array, centred: bool = True, eps: float = EPS) -> tuple[Array, Array]:
    c = x - _mean(x) if centred else x
    r = 1 / jnp.sqrt(_mean(c * c) + eps)
    return c * r, r


def layer_norm(x: Array, gain: Array, bias: Array) -> Array:
    """(m, n), (n,), (n,) -> (m, n)."""
    return _normed(x)[0] * gain + bias


def layer_norm_backward(
    x: Array,
    gain: Array,
    bias: Array,
    u: Array,
    *,
    mean: float = 1,
    along: float = 1,
    with_gain: bool = True,
    with_r: bool = True,
    eps: float = EPS,
    of_gain: str = "y",
    rows: slice = slice(None),
) -> tuple[Array, ...]:
    """The keywords: two terms of dx, its factors, what dgain sums, over which rows."""
    y, r = _normed(x, eps=eps)
    d = u * gain if with_gain else u
    dx = d - mean * _mean(d) - along * y * _mean(d * y)
    summed = {"y": u * y, "x": u * x, "1": u}[of_gain]
    dgain = jnp.sum(summed[rows], 0)
    return (r * dx if with_r else dx), dgain, jnp.sum(u[rows], 0)


def rms_norm(x: Array, gain: Array) -> Array:
    """(m, n), (n,) -> (m, n)."""
    return _normed(x, centred=False)[0] * gain


def rms_norm_backward(
    x: Array,
    gain: Array,
    u: Array,
    *,
    along: float = 1,
    with_gain: bool = True,
    power: int = 1,
    axis: int | tuple[int, ...] = 0,
) -> tuple[Array, ...]:
    """The keywords: the term of dx, its factors, the axis that dgain is summed over."""
    y, r = _normed(x, centred=False)
    d = u * gain if with_gain else u
    return r**power * (d - along * y * _mean(d * y)), jnp.sum(u * y, axis)


def _primals(rng: np.random.Generator, dtype: Any) -> tuple[Any, ...]:
    x = normal(rng, dtype, 8, 12) + normal(rng, dtype, 8, 1)
    return x, 1 + normal(rng, dtype, 12, size=0.3), normal(rng, dtype, 12)


_L, _R = layer_norm_backward, rms_norm_backward

LAYER_NORM = Rule(
    "layer norm",
    layer_norm,
    _L,
    _primals,
    (
        bug("mean_forgotten", _L, "projection", mean=0),
        bug("projection_forgotten", _L, "projection", along=0),
        bug("both_forgotten", _L, "projection", mean=0, along=0),
        bug("projection_added", _L, "projection", along=-1),
        bug("unbiased_variance", _L, "projection", along=12 / 11),
        bug("gain_forgotten", _L, with_gain=False),
        bug("std_forgotten", _L, "scale", with_r=False),
        bug("eps_forgotten", _L, eps=0),
        bug("gain_from_x", _L, of_gain="x"),
        bug("gain_without_y", _L, "entries_swapped", of_gain="1"),
        bug("last_row_dropped", _L, "samples_dropped", rows=slice(0, -1)),
        changed("gain_averaged", _L, 1, lambda g: g / 8, "scale"),
        changed("bias_zero", _L, 2, jnp.zeros_like, "zero"),
    ),
)

RMS_NORM = Rule(
    "RMS norm",
    rms_norm,
    _R,
    lambda rng, dtype: _primals(rng, dtype)[:2],
    (
        bug("projection_forgotten", _R, "projection", along=0),
        bug("projection_summed", _R, "projection", along=12),
        bug("projection_halved", _R, "projection", along=0.5),
        bug("gain_forgotten", _R, with_gain=False),
        bug("r_squared", _R, "scale", power=2),
        bug("gain_summed_over_features", _R, "structure", "reduced", axis=1),
        bug("gain_not_summed", _R, "structure", "reduced", axis=()),
        changed("last_row_zero", _R, 0, lambda g: g.at[-1].set(0), "zero"),
        changed("sign", _R, 0, jnp.negative, "sign"),
    ),
)
