"""Bugs in the weights of a layer: B4."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp

from handgrad.planted_bugs.backward import Leaves, Tape
from handgrad.planted_bugs.bug import Bug, summed, weights
from handgrad.planted_bugs.change import Value, after, first, last, put

b4 = partial(summed, "weight", equation="B4")


def penalty(*, slope: Callable[[Value], Value], **bug: Any) -> Bug:
    """The gradient of a penalty on the weights added, which the loss does not have."""

    def added(t: Tape, leaves: Leaves) -> Leaves:
        penalised = list(leaves)
        for k in range(1, t.layers + 1):
            penalised[2 * k - 2] = leaves[2 * k - 2] + slope(t.weights[k])
        return penalised

    change = after("finish", added)
    return Bug(
        equation="B4", cause="weight_decay", change=change, spoils=weights(), **bug
    )


def _of_pre_activation(t: Tape, k: int, delta: Value) -> Value:
    return (t.d[k - 1] if k > 1 else t.a[0]).T @ delta


WEIGHT_ERRORS = (
    b4(
        name="b4_transposed",
        cause="transposed",
        says="delta^T a",
        wrong=lambda t, g: g.T,
    ),
    b4(
        name="b4_sign",
        cause="sign",
        says="minus at layer 1",
        wrong=lambda t, g: -g,
        at=first,
    ),
    b4(
        name="b4_zero",
        cause="zero",
        says="forgotten at layer 1",
        wrong=lambda t, g: 0 * g,
        at=first,
    ),
    b4(
        name="b4_zero_row",
        cause="zero",
        says="nothing for the first input",
        wrong=lambda t, g: g.at[0].set(0),
        at=first,
    ),
    b4(
        name="b4_zero_column",
        cause="zero",
        says="nothing for the last class",
        wrong=lambda t, g: g.at[:, -1].set(0),
        at=last,
    ),
    b4(
        name="b4_one_entry",
        cause="one_entry",
        says="one entry half as large again",
        wrong=lambda t, g: g.at[1, 2].multiply(1.5),
        at=first,
    ),
    b4(
        name="b4_rows_rolled",
        cause="entries_swapped",
        says="the rows one further",
        wrong=lambda t, g: jnp.roll(g, 1, axis=0),
        at=first,
    ),
    b4(
        name="b4_columns_reversed",
        cause="entries_swapped",
        says="the classes in reverse",
        wrong=lambda t, g: g[:, ::-1],
        at=last,
    ),
    b4(
        name="b4_two_rows",
        cause="entries_swapped",
        says="two rows exchanged",
        wrong=lambda t, g: g.at[jnp.array([0, 1])].set(g[jnp.array([1, 0])]),
        at=last,
    ),
    b4(
        name="b4_reshaped",
        cause="entries_swapped",
        says="a reshape in the place of a transpose",
        wrong=lambda t, g: g.T.reshape(g.shape),
        at=first,
    ),
    Bug(
        name="b4_pre_activation",
        equation="B4",
        cause="unknown",
        says="d_{k-1} for a_{k-1}",
        change=put(weight=_of_pre_activation),
        spoils=weights(lambda k, layers: k > 1),
    ),
    b4(
        name="b4_not_divided",
        cause="scale",
        says="a sum where a mean must be",
        wrong=lambda t, g: g * t.m,
    ),
    b4(
        name="b4_twice_last",
        cause="scale",
        says="added twice in the last layer",
        wrong=lambda t, g: 2 * g,
        at=last,
    ),
    penalty(name="b4_weight_decay_1e-2", says="0.01 W added", slope=lambda w: 0.01 * w),
    penalty(
        name="b4_weight_decay_1e-4", says="0.0001 W added", slope=lambda w: 0.0001 * w
    ),
    penalty(
        name="b4_lasso", says="0.001 sign(W) added", slope=lambda w: 0.001 * jnp.sign(w)
    ),
    b4(
        name="b4_nan",
        cause="nonfinite",
        says="one entry is NaN",
        wrong=lambda t, g: g.at[0, 1].set(jnp.nan),
        at=first,
    ),
)
