"""Bugs in the error carried back through the hidden layers: B6 and B7."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp

from handgrad.gradcheck.planted_bugs.backward import Steps, Tape
from handgrad.gradcheck.planted_bugs.bug import (
    Bug,
    below_top,
    biases,
    both,
    first_layer,
)
from handgrad.gradcheck.planted_bugs.stale_errors import before

Delta = jax.Array


def _b6(change: Callable[[Tape, int, Delta], Delta]) -> Callable[[Steps], Steps]:
    """Change dl/da_k, given the right one."""
    return lambda s: replace(
        s, carry=lambda t, k, delta: change(t, k, s.carry(t, k, delta))
    )


def _b7(
    derivative: Callable[[Tape, int], Delta],
    where: Callable[[Tape, int], bool] | None = None,
) -> Callable[[Steps], Steps]:
    """Put something else in the place of h'(d_k), in the layers ``where`` says."""

    def change(s: Steps) -> Steps:
        def through(t: Tape, k: int, cotangent: Delta) -> Delta:
            if where is not None and not where(t, k):
                return s.through(t, k, cotangent)
            return derivative(t, k).astype(cotangent.dtype) * cotangent

        return replace(s, through=through)

    return change


def _carry_untransposed(s: Steps) -> Steps:
    def carry(t: Tape, k: int, delta: Delta) -> Delta:
        w = t.weights[k + 1]
        return delta @ (w if w.shape[0] == w.shape[1] else w.T)

    return replace(s, carry=carry)


def _carry_stale(s: Steps) -> Steps:
    return replace(s, carry=lambda t, k, delta: delta @ before(t.weights[k + 1]).T)


def _prime(t: Tape, k: int) -> Delta:
    return t.h.derivative(t.d[k], t.a[k])


def _hidden_from_3rd(k: int, kind: str, layers: int) -> bool:
    return k < layers - 1


HIDDEN_ERRORS = (
    Bug(
        "b6_sign",
        "B6",
        "sign",
        first_layer,
        "minus at layer 1",
        _b6(lambda t, k, c: -c if k == 1 else c),
    ),
    Bug(
        "b6_twice",
        "B6",
        "scale",
        below_top,
        "carried back twice",
        _b6(lambda t, k, c: 2 * c),
    ),
    Bug(
        "b6_mean",
        "B6",
        "scale",
        below_top,
        "divided by m in every layer",
        _b6(lambda t, k, c: c / t.m),
    ),
    Bug(
        "b6_0.9",
        "B6",
        "scale",
        first_layer,
        "times 0.9 at layer 1",
        _b6(lambda t, k, c: 0.9 * c if k == 1 else c),
    ),
    Bug(
        "b6_detached",
        "B6",
        "zero",
        below_top,
        "nothing carried back",
        _b6(lambda t, k, c: 0 * c),
    ),
    Bug(
        "b6_detached_first",
        "B6",
        "zero",
        first_layer,
        "nothing carried back to layer 1",
        _b6(lambda t, k, c: 0 * c if k == 1 else c),
    ),
    Bug(
        "b6_untransposed",
        "B6",
        "transposed",
        _hidden_from_3rd,
        "W in the place of its transpose where it is square",
        _carry_untransposed,
        needs="square",
    ),
    Bug(
        "b6_stale_weight",
        "B6",
        "stale",
        below_top,
        "the weights before the last step carry the error back",
        _carry_stale,
    ),
    Bug(
        "b6_units_reversed",
        "B6",
        "unknown",
        below_top,
        "the units in reverse order",
        _b6(lambda t, k, c: c[:, ::-1]),
    ),
    Bug(
        "b7_missing",
        "B7",
        "missing_activation_derivative",
        below_top,
        "h'(d_k) left out in every hidden layer",
        _b7(lambda t, k: jnp.ones_like(t.d[k])),
    ),
    Bug(
        "b7_missing_first",
        "B7",
        "missing_activation_derivative",
        first_layer,
        "h'(d_1) left out",
        _b7(lambda t, k: jnp.ones_like(t.d[k]), lambda t, k: k == 1),
    ),
    Bug(
        "b7_missing_last",
        "B7",
        "missing_activation_derivative",
        below_top,
        "h' left out in the last hidden layer",
        _b7(lambda t, k: jnp.ones_like(t.d[k]), lambda t, k: k == t.layers - 1),
    ),
    Bug(
        "b7_squared",
        "B7",
        "wrong_activation_derivative",
        below_top,
        "h' applied twice",
        _b7(lambda t, k: _prime(t, k) ** 2, lambda t, k: True),
        harmless=("relu",),
    ),
    Bug(
        "b7_at_activation",
        "B7",
        "wrong_activation_derivative",
        below_top,
        "h' at a_k, not at d_k",
        _b7(lambda t, k: t.h.derivative(t.a[k], t.h.function(t.a[k]))),
        harmless=("relu",),
    ),
    Bug(
        "b7_value",
        "B7",
        "wrong_activation_derivative",
        below_top,
        "h for h'",
        _b7(lambda t, k: t.a[k]),
    ),
    Bug(
        "b7_sigmoid",
        "B7",
        "wrong_activation_derivative",
        below_top,
        "a (1 - a) of the sigmoid, whatever h is",
        _b7(lambda t, k: t.a[k] * (1 - t.a[k])),
        harmless=("sigmoid",),
    ),
    Bug(
        "b7_one_minus",
        "B7",
        "wrong_activation_derivative",
        below_top,
        "1 - a, the square forgotten",
        _b7(lambda t, k: 1 - t.a[k]),
    ),
    Bug(
        "b7_unit_index",
        "B7",
        "wrong_activation_derivative",
        below_top,
        "h' of the next unit",
        _b7(lambda t, k: jnp.roll(_prime(t, k), 1, axis=1)),
    ),
    Bug(
        "b7_sample_index",
        "B7",
        "wrong_activation_derivative",
        below_top,
        "h' of the next sample",
        _b7(lambda t, k: jnp.roll(_prime(t, k), 1, axis=0)),
    ),
    Bug(
        "b7_at_kink",
        "B7",
        "kink",
        both(below_top, biases),
        "relu'(0) = 1",
        _b7(lambda t, k: t.d[k] >= 0),
        needs="kink",
    ),
)
