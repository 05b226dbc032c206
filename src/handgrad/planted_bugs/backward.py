"""A small multilayer perceptron whose backward pass is a set of replaceable steps.

The loss is J = sum_i w_i l_i / sum_i w_i with softmax and negative log-likelihood; the
numbers are those of the derivation (docs/derivation.md). It shares no code with
`handgrad.network`, so that one checks the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Leaves = list[Any]
"""weight 1, bias 1, ..., weight L, bias L."""


class Nonlinearity(NamedTuple):
    """h and h', the latter given d and a = h(d)."""

    function: Callable[[jax.Array], jax.Array]
    derivative: Callable[[jax.Array, jax.Array], jax.Array]


NONLINEARITIES = {
    "tanh": Nonlinearity(jnp.tanh, lambda d, a: 1 - a * a),
    "relu": Nonlinearity(jax.nn.relu, lambda d, a: (d > 0).astype(d.dtype)),
    "sigmoid": Nonlinearity(jax.nn.sigmoid, lambda d, a: a * (1 - a)),
}


@dataclass(frozen=True)
class Tape:
    """What a backward pass may use. Layers count from 1, so a[0] is x and d[0] unused.

    Attributes:
      h: the hidden non-linearity.
      weights: W_1 ... W_L at 1 ... L.
      a, d: activations a_0 ... a_{L-1} and pre-activations d_1 ... d_L.
      q: target distributions, (m, C).
      w: sample weights, (m,), all 1 where the loss has none.
    """

    h: Nonlinearity
    weights: list[Any]
    biases: list[Any]
    a: list[Any]
    d: list[Any]
    q: jax.Array
    w: jax.Array

    @property
    def layers(self) -> int:
        """L."""
        return len(self.weights) - 1

    @property
    def m(self) -> int:
        """Samples."""
        return self.q.shape[0]

    @property
    def probabilities(self) -> jax.Array:
        """F3, (m, C)."""
        return jax.nn.softmax(self.d[self.layers], axis=1)


@dataclass(frozen=True)
class Steps:
    """The steps of the backward pass; a planted bug replaces one or two of them."""

    output: Callable[[Tape], jax.Array] = lambda t: t.probabilities - t.q  # B3
    weigh: Callable[[Tape, jax.Array], jax.Array] = lambda t, e: e * t.w[:, None]
    carry: Callable[[Tape, int, jax.Array], jax.Array] = (  # B6: dl/da_k
        lambda t, k, delta: delta @ t.weights[k + 1].T
    )
    through: Callable[[Tape, int, jax.Array], jax.Array] = (  # B7: dl/dd_k
        lambda t, k, cotangent: t.h.derivative(t.d[k], t.a[k]) * cotangent
    )
    weight: Callable[[Tape, int, jax.Array], jax.Array] = (  # B4, a sum
        lambda t, k, delta: t.a[k - 1].T @ delta
    )
    bias: Callable[[Tape, int, jax.Array], jax.Array] = (  # B5, a sum
        lambda t, k, delta: jnp.sum(delta, axis=0)
    )
    total: Callable[[Tape], Any] = lambda t: jnp.sum(t.w)  # the normaliser of L2
    finish: Callable[[Tape, Leaves], Leaves] = lambda t, leaves: leaves


def record(
    h: Nonlinearity, params: Any, x: jax.Array, targets: jax.Array, w: Any = None
) -> Tape:
    """The forward pass, F1 and F2."""
    leaves = jax.tree.leaves(params)
    weights, biases = [None, *leaves[0::2]], [None, *leaves[1::2]]
    a: list[Any] = [jnp.asarray(x)]
    d: list[Any] = [None]
    for k in range(1, len(weights)):
        d.append(a[k - 1] @ weights[k] + biases[k][None, :])
        a.append(h.function(d[k]))
    q = jnp.asarray(targets)
    if q.ndim == 1:
        q = jax.nn.one_hot(q, d[-1].shape[1], dtype=d[-1].dtype)
    w = jnp.ones(len(q)) if w is None else jnp.asarray(w)
    return Tape(h, weights, biases, a[:-1], d, q.astype(a[0].dtype), w.astype(q.dtype))


def loss(
    h: Nonlinearity, params: Any, x: Any, targets: Any, w: Any = None
) -> jax.Array:
    """J, whose gradient the right steps are."""
    tape = record(h, params, x, targets, w)
    logs = jax.nn.log_softmax(tape.d[tape.layers], axis=1)
    return jnp.sum(tape.w * -jnp.sum(tape.q * logs, axis=1)) / jnp.sum(tape.w)


def backward(steps: Steps, tape: Tape) -> Leaves:
    """B3, then B6 and B7 down to layer 1, with B4 and B5 at each layer."""
    total = steps.total(tape)
    delta = steps.weigh(tape, steps.output(tape))
    from_the_top: Leaves = []
    for k in range(tape.layers, 0, -1):
        if k < tape.layers:
            delta = steps.through(tape, k, steps.carry(tape, k, delta))
        bias, weight = steps.bias(tape, k, delta), steps.weight(tape, k, delta)
        from_the_top += [bias / total, weight / total]
    leaves = from_the_top[::-1]
    return steps.finish(tape, leaves)
