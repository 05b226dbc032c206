"""Bugs in the error carried back through the hidden layers: B6 and B7."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from handgrad.planted_bugs.backward import Steps, Tape
from handgrad.planted_bugs.bug import Bug, Spoils, biases, both
from handgrad.planted_bugs.change import (
    Value,
    Where,
    after,
    before,
    below_last,
    first,
    put,
)

BELOW_LAST = both(below_last)


def b6(
    *, wrong: Callable[[Tape, Value], Value], at: Where = below_last, **bug: Any
) -> Bug:
    """dl/da_k changed in some layers: given the tape and the right one."""
    return Bug(equation="B6", change=after("carry", wrong, at), spoils=both(at), **bug)


def b7(
    *,
    derivative: Callable[[Tape, int], Value],
    at: Where = below_last,
    spoils: Spoils = BELOW_LAST,
    **bug: Any,
) -> Bug:
    """Something else in the place of h'(d_k), in some layers."""

    def change(right: Steps) -> Steps:
        def through(t: Tape, k: int, cotangent: Value) -> Value:
            if not at(k, t.layers):
                return right.through(t, k, cotangent)
            return derivative(t, k).astype(cotangent.dtype) * cotangent

        return replace(right, through=through)

    return Bug(equation="B7", change=change, spoils=spoils, **bug)


def _untransposed(t: Tape, k: int, delta: Value) -> Value:
    w = t.weights[k + 1]
    return delta @ (w if w.shape[0] == w.shape[1] else w.T)


def _stale(t: Tape, k: int, delta: Value) -> Value:
    return delta @ before(t.weights[k + 1]).T


def _one(t: Tape, k: int) -> Value:
    return jnp.ones_like(t.d[k])


def _prime(t: Tape, k: int) -> Value:
    return t.h.derivative(t.d[k], t.a[k])


MISSING, WRONG = "missing_activation_derivative", "wrong_activation_derivative"

HIDDEN_ERRORS = (
    b6(
        name="b6_sign",
        cause="sign",
        says="minus at layer 1",
        wrong=lambda t, c: -c,
        at=first,
    ),
    b6(
        name="b6_twice",
        cause="scale",
        says="carried back twice",
        wrong=lambda t, c: 2 * c,
    ),
    b6(
        name="b6_mean",
        cause="scale",
        says="divided by m in every layer",
        wrong=lambda t, c: c / t.m,
    ),
    b6(
        name="b6_0.9",
        cause="scale",
        says="times 0.9 at layer 1",
        wrong=lambda t, c: 0.9 * c,
        at=first,
    ),
    b6(
        name="b6_detached",
        cause="zero",
        says="nothing carried back",
        wrong=lambda t, c: 0 * c,
    ),
    b6(
        name="b6_detached_first",
        cause="zero",
        says="nothing carried back to layer 1",
        wrong=lambda t, c: 0 * c,
        at=first,
    ),
    Bug(
        name="b6_untransposed",
        equation="B6",
        cause="transposed",
        says="W in the place of its transpose where it is square",
        change=put(carry=_untransposed),
        spoils=both(lambda k, layers: k < layers - 1),
        needs="square",
    ),
    Bug(
        name="b6_stale_weight",
        equation="B6",
        cause="stale",
        says="the weights before the last step carry the error back",
        change=put(carry=_stale),
        spoils=both(below_last),
    ),
    b6(
        name="b6_units_reversed",
        cause="unknown",
        says="the units in reverse order",
        wrong=lambda t, c: c[:, ::-1],
    ),
    b7(
        name="b7_missing",
        cause=MISSING,
        says="h'(d_k) left out in every hidden layer",
        derivative=_one,
    ),
    b7(
        name="b7_missing_first",
        cause=MISSING,
        says="h'(d_1) left out",
        derivative=_one,
        at=first,
        spoils=both(first),
    ),
    b7(
        name="b7_missing_last",
        cause=MISSING,
        says="h' left out in the last hidden layer",
        derivative=_one,
        at=lambda k, layers: k == layers - 1,
    ),
    b7(
        name="b7_squared",
        cause=WRONG,
        says="h' applied twice",
        derivative=lambda t, k: _prime(t, k) ** 2,
        harmless=("relu",),
    ),
    b7(
        name="b7_at_activation",
        cause=WRONG,
        says="h' at a_k, not at d_k",
        derivative=lambda t, k: t.h.derivative(t.a[k], t.h.function(t.a[k])),
        harmless=("relu",),
    ),
    b7(name="b7_value", cause=WRONG, says="h for h'", derivative=lambda t, k: t.a[k]),
    b7(
        name="b7_sigmoid",
        cause=WRONG,
        says="a (1 - a) of the sigmoid, whatever h is",
        derivative=lambda t, k: t.a[k] * (1 - t.a[k]),
        harmless=("sigmoid",),
    ),
    b7(
        name="b7_one_minus",
        cause=WRONG,
        says="1 - a, the square forgotten",
        derivative=lambda t, k: 1 - t.a[k],
    ),
    b7(
        name="b7_unit_index",
        cause=WRONG,
        says="h' of the next unit",
        derivative=lambda t, k: jnp.roll(_prime(t, k), 1, axis=1),
    ),
    b7(
        name="b7_sample_index",
        cause=WRONG,
        says="h' of the next sample",
        derivative=lambda t, k: jnp.roll(_prime(t, k), 1, axis=0),
    ),
    b7(
        name="b7_at_kink",
        cause="kink",
        says="relu'(0) = 1",
        derivative=lambda t, k: t.d[k] >= 0,
        spoils=biases(below_last),
        needs="kink",
    ),
)
