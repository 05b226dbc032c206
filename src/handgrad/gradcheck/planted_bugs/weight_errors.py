"""Bugs in the weights of a layer: B4."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp

from handgrad.gradcheck.planted_bugs.backward import Leaves, Steps, Tape
from handgrad.gradcheck.planted_bugs.bug import (
    Bug,
    both,
    first_layer,
    last_layer,
    weights,
)

Change = Callable[[Steps], Steps]
Value = jax.Array


def _b4(change: Callable[[Tape, int, Value], Value]) -> Change:
    """Change the sum of B4, given the right one."""
    return lambda s: replace(
        s, weight=lambda t, k, delta: change(t, k, s.weight(t, k, delta))
    )


def _end(change: Callable[[Tape, Leaves], Leaves]) -> Change:
    """Change the finished gradient."""
    return lambda s: replace(s, finish=change)


def _first(change: Callable[[Value], Value]) -> Callable[[Tape, int, Value], Value]:
    return lambda t, k, g: change(g) if k == 1 else g


def _last(change: Callable[[Value], Value]) -> Callable[[Tape, int, Value], Value]:
    return lambda t, k, g: change(g) if k == t.layers else g


def _decay(strength: float) -> Change:
    def change(t: Tape, leaves: Leaves) -> Leaves:
        both_kinds = [p for k in range(1, t.layers + 1) for p in (t.weights[k], None)]
        pairs = zip(leaves, both_kinds, strict=True)
        return [g if p is None else g + strength * p for g, p in pairs]

    return _end(change)


def _lasso(t: Tape, leaves: Leaves) -> Leaves:
    return [
        g if i % 2 else g + 1e-3 * jnp.sign(t.weights[1 + i // 2])
        for i, g in enumerate(leaves)
    ]


def _pre_activation(s: Steps) -> Steps:
    def weight(t: Tape, k: int, delta: Value) -> Value:
        return (t.d[k - 1] if k > 1 else t.a[0]).T @ delta

    return replace(s, weight=weight)


def _reshaped(t: Tape, k: int, g: Value) -> Value:
    return g.T.reshape(g.shape) if k == 1 else g


def _not_first_weight(k: int, kind: str, layers: int) -> bool:
    return kind == "weight" and k > 1


FIRST_WEIGHT = both(first_layer, weights)
LAST_WEIGHT = both(last_layer, weights)

WEIGHT_ERRORS = (
    Bug(
        "b4_transposed",
        "B4",
        "transposed",
        weights,
        "delta^T a",
        _b4(lambda t, k, g: g.T),
    ),
    Bug(
        "b4_sign",
        "B4",
        "sign",
        FIRST_WEIGHT,
        "minus at layer 1",
        _b4(_first(lambda g: -g)),
    ),
    Bug(
        "b4_zero",
        "B4",
        "zero",
        FIRST_WEIGHT,
        "forgotten at layer 1",
        _b4(_first(lambda g: 0 * g)),
    ),
    Bug(
        "b4_zero_row",
        "B4",
        "zero",
        FIRST_WEIGHT,
        "nothing for the first input",
        _b4(_first(lambda g: g.at[0].set(0))),
    ),
    Bug(
        "b4_zero_column",
        "B4",
        "zero",
        LAST_WEIGHT,
        "nothing for the last class",
        _b4(_last(lambda g: g.at[:, -1].set(0))),
    ),
    Bug(
        "b4_one_entry",
        "B4",
        "one_entry",
        FIRST_WEIGHT,
        "one entry half as large again",
        _b4(_first(lambda g: g.at[1, 2].multiply(1.5))),
    ),
    Bug(
        "b4_rows_rolled",
        "B4",
        "entries_swapped",
        FIRST_WEIGHT,
        "the rows one further",
        _b4(_first(lambda g: jnp.roll(g, 1, axis=0))),
    ),
    Bug(
        "b4_columns_reversed",
        "B4",
        "entries_swapped",
        LAST_WEIGHT,
        "the classes in reverse",
        _b4(_last(lambda g: g[:, ::-1])),
    ),
    Bug(
        "b4_two_rows",
        "B4",
        "entries_swapped",
        LAST_WEIGHT,
        "two rows exchanged",
        _b4(_last(lambda g: g.at[jnp.array([0, 1])].set(g[jnp.array([1, 0])]))),
    ),
    Bug(
        "b4_reshaped",
        "B4",
        "entries_swapped",
        FIRST_WEIGHT,
        "a reshape in the place of a transpose",
        _b4(_reshaped),
    ),
    Bug(
        "b4_pre_activation",
        "B4",
        "unknown",
        _not_first_weight,
        "d_{k-1} for a_{k-1}",
        _pre_activation,
    ),
    Bug(
        "b4_not_divided",
        "B4",
        "scale",
        weights,
        "a sum where a mean must be",
        _b4(lambda t, k, g: g * t.m),
    ),
    Bug(
        "b4_twice_last",
        "B4",
        "scale",
        LAST_WEIGHT,
        "added twice in the last layer",
        _b4(_last(lambda g: 2 * g)),
    ),
    Bug(
        "b4_weight_decay_1e-2",
        "B4",
        "weight_decay",
        weights,
        "0.01 W added",
        _decay(1e-2),
    ),
    Bug(
        "b4_weight_decay_1e-4",
        "B4",
        "weight_decay",
        weights,
        "0.0001 W added",
        _decay(1e-4),
    ),
    Bug("b4_lasso", "B4", "weight_decay", weights, "0.001 sign(W) added", _end(_lasso)),
    Bug(
        "b4_nan",
        "B4",
        "nonfinite",
        FIRST_WEIGHT,
        "one entry is NaN",
        _b4(_first(lambda g: g.at[0, 1].set(jnp.nan))),
    ),
)
