"""h'' of the activations, for the R-operator; h and h' are in `activations`.

Each is given d and a = h(d), like h'. Where h' has a kink, at 0, h'' is taken from the
side of exp in elu, selu and celu, and is 0 in softsign, whose h' peaks there.
"""

import math

import jax
import jax.numpy as jnp

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def zeros(d: jax.Array, a: jax.Array) -> jax.Array:
    """Piecewise linear: no curvature anywhere."""
    return jnp.zeros_like(d)


def sigmoid(d: jax.Array, a: jax.Array) -> jax.Array:
    """a (1 - a) (1 - 2 a)."""
    return a * (1 - a) * (1 - 2 * a)


def tanh(d: jax.Array, a: jax.Array) -> jax.Array:
    """-2 a (1 - a^2)."""
    return -2 * a * (1 - a * a)


def elu(d: jax.Array, a: jax.Array) -> jax.Array:
    """exp(d) up to 0, where h' is exp(d) as well, and 0 above."""
    # mutants: 1 for 0 differs above 0, where it is not taken
    return jnp.where(d > 0, jnp.zeros_like(d), jnp.exp(jnp.minimum(d, 0)))


def selu(d: jax.Array, a: jax.Array) -> jax.Array:
    """lambda alpha exp(d) up to 0, and 0 above."""
    return SELU_SCALE * SELU_ALPHA * elu(d, a)


def softplus(d: jax.Array, a: jax.Array) -> jax.Array:
    """s (1 - s) with s = sigmoid(d)."""
    s = jax.nn.sigmoid(d)
    return s * (1 - s)


def softsign(d: jax.Array, a: jax.Array) -> jax.Array:
    """-2 sign(d) / (1 + |d|)^3."""
    reciprocal = 1 / (1 + jnp.abs(d))
    return -2 * jnp.sign(d) * reciprocal * reciprocal * reciprocal


def silu(d: jax.Array, a: jax.Array) -> jax.Array:
    """s (1 - s) (2 + d (1 - 2 s)) with s = sigmoid(d)."""
    s = jax.nn.sigmoid(d)
    return s * (1 - s) * (2 + d * (1 - 2 * s))


def mish(d: jax.Array, a: jax.Array) -> jax.Array:
    """2 t' + d t'' with t = tanh(softplus(d)), s = sigmoid(d).

    t' = (1 - t^2) s and t'' = t' (1 - s - 2 t s), which is 0 beyond d = 100; clipping
    there keeps the product with d finite in float16.
    """
    d = jnp.minimum(d, 100)  # mutants: beyond 99 the slope is 0
    t, s = jnp.tanh(jax.nn.softplus(d)), jax.nn.sigmoid(d)
    slope = (1 - t * t) * s
    return slope * (2 + d * (1 - s - 2 * t * s))


def gelu(d: jax.Array, a: jax.Array) -> jax.Array:
    """(2 - d^2) phi(d), phi the standard normal density; 0 beyond |d| = 40."""
    d = jnp.clip(d, -40, 40)  # mutants: exp(-39^2 / 2) is 0 in float64
    return (2 - d * d) * jnp.exp(-0.5 * d * d) / math.sqrt(2 * math.pi)


def gelu_tanh(d: jax.Array, a: jax.Array) -> jax.Array:
    """t' + d t'' / 2 with t = tanh u, u = sqrt(2/pi) (d + 0.044715 d^3).

    t' = (1 - t^2) u' and t'' = (1 - t^2) (u'' - 2 t u'^2); clipped as h' is.
    """
    d = jnp.clip(d, -10, 10)  # mutants: any bound from 9 on gives the same
    slope = math.sqrt(2 / math.pi)
    t = jnp.tanh(slope * (d + 0.044715 * d * d * d))
    first = slope * (1 + 3 * 0.044715 * d * d)
    second = slope * 6 * 0.044715 * d
    return (1 - t * t) * (first + 0.5 * d * (second - 2 * t * first * first))
