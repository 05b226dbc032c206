"""Bugs of state and precision: stale values, and sums in a narrow dtype."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from handgrad.planted_bugs.backward import Leaves, Steps, Tape, backward, record
from handgrad.planted_bugs.bug import Bug, both, weights
from handgrad.planted_bugs.change import Value, after, before, first, previous, put


def narrow_sum(*, dtype: jnp.dtype, **bug: Any) -> Bug:
    """B4 with factors and sum in ``dtype``."""

    def weight(t: Tape, k: int, delta: Value) -> Value:
        total = t.a[k - 1].T.astype(dtype) @ delta.astype(dtype)
        return total.astype(delta.dtype)

    change = put(weight=weight)
    return Bug(
        equation="B4", cause="low_precision", change=change, spoils=weights(), **bug
    )


def rounded(*, dtype: jnp.dtype, **bug: Any) -> Bug:
    """The finished gradient rounded to ``dtype``."""

    def finish(t: Tape, leaves: Leaves) -> Leaves:
        return [g.astype(dtype).astype(g.dtype) for g in leaves]

    change = after("finish", finish)
    return Bug(equation="B4 and B5", cause="low_precision", change=change, **bug)


def elsewhere(
    *, point: Callable[[Tape], tuple[list[Value], Value]], layer: int = 0, **bug: Any
) -> Bug:
    """The gradient at another point, of all layers or of one."""

    def change(right: Steps) -> Steps:
        def finish(t: Tape, leaves: Leaves) -> Leaves:
            params, x = point(t)
            stale = backward(right, record(t.h, params, x, t.q, t.w))
            if not layer:
                return stale
            mine = slice(2 * layer - 2, 2 * layer)
            return [*leaves[: mine.start], *stale[mine], *leaves[mine.stop :]]

        return replace(right, finish=finish)

    return Bug(equation="B4 and B5", cause="stale", change=change, **bug)


def _now(t: Tape) -> list[Value]:
    pairs = zip(t.weights[1:], t.biases[1:], strict=True)
    return [leaf for pair in pairs for leaf in pair]


def _then(t: Tape) -> list[Value]:
    return [before(leaf) for leaf in _now(t)]


def _momentum(t: Tape, leaves: Leaves) -> Leaves:
    then = backward(Steps(), record(t.h, _then(t), t.a[0], t.q, t.w))
    return [g + 0.9 * old for g, old in zip(leaves, then, strict=True)]


STALE_ERRORS = (
    narrow_sum(
        name="bfloat16_sum", says="summed in bfloat16", dtype=jnp.bfloat16, needs="wide"
    ),
    rounded(
        name="bfloat16_result",
        says="rounded to bfloat16",
        dtype=jnp.bfloat16,
        needs="wide",
    ),
    rounded(
        name="float16_result",
        says="rounded to float16",
        dtype=jnp.float16,
        needs="wide",
    ),
    narrow_sum(
        name="float32_sum", says="summed in float32", dtype=jnp.float32, needs="float64"
    ),
    elsewhere(
        name="stale_params",
        says="the parameters before the last step",
        point=lambda t: (_then(t), t.a[0]),
    ),
    elsewhere(
        name="stale_batch",
        says="the previous batch",
        point=lambda t: (_now(t), previous(t.a[0])),
    ),
    elsewhere(
        name="stale_first_layer",
        says="layer 1 at the parameters before the last step",
        point=lambda t: (_then(t), t.a[0]),
        layer=1,
        spoils=both(first),
    ),
    Bug(
        name="momentum",
        equation="B4 and B5",
        cause="unknown",
        says="0.9 of the last gradient added",
        change=after("finish", _momentum),
    ),
)
