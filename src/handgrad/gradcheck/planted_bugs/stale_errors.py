"""Bugs of state and precision: stale values, and sums in a narrow dtype."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp

from handgrad.gradcheck.planted_bugs.backward import (
    Leaves,
    Steps,
    Tape,
    backward,
    record,
)
from handgrad.gradcheck.planted_bugs.bug import (
    Bug,
    everything,
    first_layer,
    weights,
)

Change = Callable[[Steps], Steps]
Value = jax.Array


def _rounded_sum(dtype: jnp.dtype) -> Change:
    """B4 with factors and sum in ``dtype``."""

    def weight(t: Tape, k: int, delta: Value) -> Value:
        narrow = t.a[k - 1].T.astype(dtype) @ delta.astype(dtype)
        return narrow.astype(delta.dtype)

    return lambda s: replace(s, weight=weight)


def _rounded(dtype: jnp.dtype) -> Change:
    def finish(t: Tape, leaves: Leaves) -> Leaves:
        return [g.astype(dtype).astype(g.dtype) for g in leaves]

    return lambda s: replace(s, finish=finish)


def before(leaf: Value) -> Value:
    """A parameter before its last step, as the bugs and the settings have it."""
    return (0.9 * leaf + 0.05 * jnp.flip(leaf)).astype(leaf.dtype)


def previous(x: Value) -> Value:
    """The previous batch: other inputs with the same targets."""
    return jnp.flip(x, axis=1)


def _elsewhere(
    point: Callable[[Tape], tuple[list[Value], Value]], layer: int = 0
) -> Change:
    """Return the gradient at another point, of all layers or of one."""

    def change(s: Steps) -> Steps:
        def finish(t: Tape, leaves: Leaves) -> Leaves:
            params, x = point(t)
            stale = backward(s, record(t.h, params, x, t.q, t.w))
            if not layer:
                return stale
            mine = slice(2 * layer - 2, 2 * layer)
            return [*leaves[: mine.start], *stale[mine], *leaves[mine.stop :]]

        return replace(s, finish=finish)

    return change


def _now(t: Tape) -> list[Value]:
    pairs = zip(t.weights[1:], t.biases[1:], strict=True)
    return [leaf for pair in pairs for leaf in pair]


def _then(t: Tape) -> list[Value]:
    return [before(leaf) for leaf in _now(t)]


def _momentum(t: Tape, leaves: Leaves) -> Leaves:
    then = backward(Steps(), record(t.h, _then(t), t.a[0], t.q, t.w))
    return [g + 0.9 * old for g, old in zip(leaves, then, strict=True)]


_LOW, _E = "low_precision", everything

STALE_ERRORS = (
    Bug(
        "bfloat16_sum",
        "B4",
        _LOW,
        weights,
        "summed in bfloat16",
        _rounded_sum(jnp.bfloat16),
        "wide",
    ),
    Bug(
        "bfloat16_result",
        "B4 and B5",
        _LOW,
        _E,
        "rounded to bfloat16",
        _rounded(jnp.bfloat16),
        "wide",
    ),
    Bug(
        "float16_result",
        "B4 and B5",
        _LOW,
        _E,
        "rounded to float16",
        _rounded(jnp.float16),
        "wide",
    ),
    Bug(
        "float32_sum",
        "B4",
        _LOW,
        weights,
        "summed in float32",
        _rounded_sum(jnp.float32),
        "float64",
    ),
    Bug(
        "stale_params",
        "B4 and B5",
        "stale",
        _E,
        "the parameters before the last step",
        _elsewhere(lambda t: (_then(t), t.a[0])),
    ),
    Bug(
        "stale_batch",
        "B4 and B5",
        "stale",
        _E,
        "the previous batch",
        _elsewhere(lambda t: (_now(t), previous(t.a[0]))),
    ),
    Bug(
        "stale_first_layer",
        "B4 and B5",
        "stale",
        first_layer,
        "layer 1 at the parameters before the last step",
        _elsewhere(lambda t: (_then(t), t.a[0]), layer=1),
    ),
    Bug(
        "momentum",
        "B4 and B5",
        "unknown",
        _E,
        "0.9 of the last gradient added",
        lambda s: replace(s, finish=_momentum),
    ),
)
