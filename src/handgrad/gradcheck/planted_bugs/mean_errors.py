"""Bugs in the biases, B5, in the mean of L2, and in the order of the leaves."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp

from handgrad.gradcheck.planted_bugs.backward import Leaves, Steps, Tape
from handgrad.gradcheck.planted_bugs.bug import (
    Bug,
    biases,
    both,
    everything,
    first_layer,
    last_layer,
)

Change = Callable[[Steps], Steps]
Value = jax.Array


def _b5(change: Callable[[Tape, int, Value], Value]) -> Change:
    """Change the sum of B5, given the right one."""
    return lambda s: replace(
        s, bias=lambda t, k, delta: change(t, k, s.bias(t, k, delta))
    )


def _l2(total: Callable[[Tape], object]) -> Change:
    """Divide by something else."""
    return lambda s: replace(s, total=total)


def _end(change: Callable[[Tape, Leaves], Leaves]) -> Change:
    """Change the finished gradient."""
    return lambda s: replace(s, finish=change)


def _first(change: Callable[[Value], Value]) -> Callable[[Tape, int, Value], Value]:
    return lambda t, k, g: change(g) if k == 1 else g


def _last(change: Callable[[Value], Value]) -> Callable[[Tape, int, Value], Value]:
    return lambda t, k, g: change(g) if k == t.layers else g


def _exchange(i: int, j: int) -> Change:
    def change(t: Tape, leaves: Leaves) -> Leaves:
        swapped = list(leaves)
        swapped[i], swapped[j] = leaves[j], leaves[i]
        return swapped

    return _end(change)


def _clip(t: Tape, leaves: Leaves) -> Leaves:
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in leaves))
    return [g * 0.5 / norm for g in leaves]


def _scaled(factor: float) -> Change:
    return _end(lambda t, leaves: [g * factor for g in leaves])


def _second_third_weight(k: int, kind: str, layers: int) -> bool:
    return kind == "weight" and k in (2, 3)


def _first_second_bias(k: int, kind: str, layers: int) -> bool:
    return kind == "bias" and k in (1, 2)


FIRST_BIAS, LAST_BIAS = both(first_layer, biases), both(last_layer, biases)

MEAN_ERRORS = (
    Bug("b5_zero", "B5", "zero", biases, "forgotten", _b5(lambda t, k, g: 0 * g)),
    Bug(
        "b5_zero_first",
        "B5",
        "zero",
        FIRST_BIAS,
        "forgotten at layer 1",
        _b5(_first(lambda g: 0 * g)),
    ),
    Bug(
        "b5_sign",
        "B5",
        "sign",
        LAST_BIAS,
        "minus in the last layer",
        _b5(_last(lambda g: -g)),
    ),
    Bug(
        "b5_mean",
        "B5",
        "scale",
        biases,
        "a mean, and divided by m again",
        _b5(lambda t, k, g: g / t.m),
    ),
    Bug(
        "b5_not_divided",
        "B5",
        "scale",
        biases,
        "a sum where a mean must be",
        _b5(lambda t, k, g: g * t.m),
    ),
    Bug(
        "b5_1.1",
        "B5",
        "scale",
        FIRST_BIAS,
        "times 1.1 at layer 1",
        _b5(_first(lambda g: 1.1 * g)),
    ),
    Bug(
        "b5_one_entry",
        "B5",
        "one_entry",
        FIRST_BIAS,
        "one entry half as large again",
        _b5(_first(lambda g: g.at[1].multiply(1.5))),
    ),
    Bug(
        "b5_rolled",
        "B5",
        "entries_swapped",
        LAST_BIAS,
        "the classes one further",
        _b5(_last(lambda g: jnp.roll(g, 1))),
    ),
    Bug(
        "b5_summed",
        "B5",
        "unknown",
        FIRST_BIAS,
        "summed over the units as well",
        _b5(_first(lambda g: jnp.broadcast_to(jnp.sum(g), g.shape))),
    ),
    Bug(
        "b5_shape",
        "B5",
        "structure",
        biases,
        "shape (1, n), an axis kept",
        _b5(lambda t, k, g: g[None, :]),
    ),
    Bug(
        "b5_inf",
        "B5",
        "nonfinite",
        LAST_BIAS,
        "one entry is infinite",
        _b5(_last(lambda g: g.at[0].set(jnp.inf))),
    ),
    Bug(
        "l2_sum",
        "L2",
        "scale",
        everything,
        "a sum where a mean must be",
        _l2(lambda t: 1),
    ),
    Bug(
        "l2_m_minus_1",
        "L2",
        "scale",
        everything,
        "divided by m - 1",
        _l2(lambda t: t.m - 1),
    ),
    Bug(
        "l2_classes",
        "L2",
        "scale",
        everything,
        "divided by m C",
        _l2(lambda t: jnp.sum(t.w) * t.q.shape[1]),
    ),
    Bug(
        "l2_classes_only",
        "L2",
        "scale",
        everything,
        "divided by C, not m",
        _l2(lambda t: t.q.shape[1]),
    ),
    Bug(
        "l2_twice",
        "L2",
        "scale",
        everything,
        "divided by m twice",
        _l2(lambda t: jnp.sum(t.w) * t.m),
    ),
    Bug(
        "l2_m",
        "L2",
        "scale",
        everything,
        "divided by m, not the sum of the weights",
        _l2(lambda t: t.m),
        needs="weights",
    ),
    Bug(
        "l2_1.001", "L2", "scale", everything, "everything times 1.001", _scaled(1.001)
    ),
    Bug(
        "l2_clipped", "L2", "scale", everything, "clipped to a norm of 0.5", _end(_clip)
    ),
    Bug(
        "layers_biases",
        "B4 and B5",
        "entries_swapped",
        _first_second_bias,
        "the biases of layers 1 and 2 exchanged",
        _exchange(1, 3),
        needs="square",
    ),
    Bug(
        "layers_weights",
        "B4 and B5",
        "entries_swapped",
        _second_third_weight,
        "the weights of layers 2 and 3 exchanged",
        _exchange(2, 4),
        needs="square",
    ),
)
