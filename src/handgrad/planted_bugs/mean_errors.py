"""Bugs in the biases, B5, in the mean of L2, and in the order of the leaves."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp

from handgrad.planted_bugs.backward import Leaves, Tape
from handgrad.planted_bugs.bug import Bug, biases, summed, weights
from handgrad.planted_bugs.change import after, first, last, put

b5 = partial(summed, "bias", equation="B5")


def l2(*, total: Callable[[Tape], Any], **bug: Any) -> Bug:
    """Divided by something else than the sum of the weights."""
    return Bug(equation="L2", cause="scale", change=put(total=total), **bug)


def exchanged(*, leaves: tuple[int, int], **bug: Any) -> Bug:
    """Two leaves of the finished gradient exchanged; they must be of one shape."""

    i, j = leaves

    def swap(t: Tape, right: Leaves) -> Leaves:
        swapped = list(right)
        swapped[i], swapped[j] = right[j], right[i]
        return swapped

    return Bug(
        equation="B4 and B5",
        cause="entries_swapped",
        change=after("finish", swap),
        needs="square",
        **bug,
    )


def _clip(t: Tape, leaves: Leaves) -> Leaves:
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in leaves))
    return [g * 0.5 / norm for g in leaves]


MEAN_ERRORS = (
    b5(name="b5_zero", cause="zero", says="forgotten", wrong=lambda t, g: 0 * g),
    b5(
        name="b5_zero_first",
        cause="zero",
        says="forgotten at layer 1",
        wrong=lambda t, g: 0 * g,
        at=first,
    ),
    b5(
        name="b5_sign",
        cause="sign",
        says="minus in the last layer",
        wrong=lambda t, g: -g,
        at=last,
    ),
    b5(
        name="b5_mean",
        cause="scale",
        says="a mean, and divided by m again",
        wrong=lambda t, g: g / t.m,
    ),
    b5(
        name="b5_not_divided",
        cause="scale",
        says="a sum where a mean must be",
        wrong=lambda t, g: g * t.m,
    ),
    b5(
        name="b5_1.1",
        cause="scale",
        says="times 1.1 at layer 1",
        wrong=lambda t, g: 1.1 * g,
        at=first,
    ),
    b5(
        name="b5_one_entry",
        cause="one_entry",
        says="one entry half as large again",
        wrong=lambda t, g: g.at[1].multiply(1.5),
        at=first,
    ),
    b5(
        name="b5_rolled",
        cause="entries_swapped",
        says="the classes one further",
        wrong=lambda t, g: jnp.roll(g, 1),
        at=last,
    ),
    b5(
        name="b5_summed",
        cause="reduced",
        says="summed over the units as well",
        wrong=lambda t, g: jnp.broadcast_to(jnp.sum(g), g.shape),
        at=first,
    ),
    b5(
        name="b5_shape",
        cause="structure",
        says="shape (1, n), an axis kept",
        wrong=lambda t, g: g[None, :],
    ),
    b5(
        name="b5_inf",
        cause="nonfinite",
        says="one entry is infinite",
        wrong=lambda t, g: g.at[0].set(jnp.inf),
        at=last,
    ),
    l2(name="l2_sum", says="a sum where a mean must be", total=lambda t: 1),
    l2(name="l2_m_minus_1", says="divided by m - 1", total=lambda t: t.m - 1),
    l2(
        name="l2_classes",
        says="divided by m C",
        total=lambda t: jnp.sum(t.w) * t.q.shape[1],
    ),
    l2(
        name="l2_classes_only", says="divided by C, not m", total=lambda t: t.q.shape[1]
    ),
    l2(name="l2_twice", says="divided by m twice", total=lambda t: jnp.sum(t.w) * t.m),
    l2(
        name="l2_m",
        says="divided by m, not the sum of the weights",
        total=lambda t: t.m,
        needs="weights",
    ),
    Bug(
        name="l2_1.001",
        equation="L2",
        cause="scale",
        says="everything times 1.001",
        change=after("finish", lambda t, leaves: [1.001 * g for g in leaves]),
    ),
    Bug(
        name="l2_clipped",
        equation="L2",
        cause="scale",
        says="clipped to a norm of 0.5",
        change=after("finish", _clip),
    ),
    exchanged(
        name="layers_biases",
        says="the biases of layers 1 and 2 exchanged",
        leaves=(1, 3),
        spoils=biases(lambda k, layers: k in (1, 2)),
    ),
    exchanged(
        name="layers_weights",
        says="the weights of layers 2 and 3 exchanged",
        leaves=(2, 4),
        spoils=weights(lambda k, layers: k in (2, 3)),
    ),
)
