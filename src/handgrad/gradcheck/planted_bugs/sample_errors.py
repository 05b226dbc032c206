"""Bugs in what is done with samples: weights and masks, and samples left out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from handgrad.gradcheck.planted_bugs.backward import Steps, Tape
from handgrad.gradcheck.planted_bugs.bug import (
    Bug,
    biases,
    both,
    everything,
    first_layer,
    last_layer,
    weights,
)

Change = Callable[[Steps], Steps]
Value = jax.Array


def _weigh(
    change: Callable[[Tape, Value], Value], total: Callable[[Tape], Any] | None = None
) -> Change:
    """Weigh the deltas otherwise, and perhaps divide by something else."""
    return lambda s: replace(s, weigh=change, total=total or s.total)


def _unweighted_bias(s: Steps) -> Steps:
    """The biases sum deltas from which the weights were divided out again."""

    def bias(t: Tape, k: int, delta: Value) -> Value:
        w = t.w[:, None]
        return jnp.sum(jnp.where(w > 0, delta / jnp.where(w > 0, w, 1), 0), axis=0)

    return replace(s, bias=bias)


def _count(
    which: Callable[[int], Value], total: Callable[[Tape], Any] | None = None
) -> Change:
    """Count sample i omega_i times in every sum; omega = which(m)."""

    def change(s: Steps) -> Steps:
        def weigh(t: Tape, e: Value) -> Value:
            return s.weigh(t, e) * which(t.m).astype(e.dtype)[:, None]

        return replace(s, weigh=weigh, total=total or s.total)

    return change


def _but(index: int, count: float) -> Callable[[int], Value]:
    return lambda m: jnp.ones(m).at[index].set(count)


def _skip_in(kind: str, layer: Callable[[Tape], int]) -> Change:
    """Leave the last sample out of one contraction of one layer."""

    def change(s: Steps) -> Steps:
        right = getattr(s, kind)

        def sum_of(t: Tape, k: int, delta: Value) -> Value:
            return right(t, k, delta.at[-1].set(0) if k == layer(t) else delta)

        return replace(s, **{kind: sum_of})

    return change


def _single(s: Steps) -> Steps:
    """A squeeze that takes a batch of one for a batch of its features."""

    def output(t: Tape) -> Value:
        e = s.output(t)
        return e * (t.q.shape[1] if t.m == 1 else 1)

    return replace(s, output=output)


def _half(m: int) -> Value:
    return jnp.arange(m) < (m + 1) // 2


_FIRST_WEIGHT, _LAST_BIAS = both(first_layer, weights), both(last_layer, biases)
_DROPPED, _IGNORED = "samples_dropped", "weights_ignored"
_E = everything

SAMPLE_ERRORS = (
    Bug(
        "weights_ignored",
        "L2",
        _IGNORED,
        _E,
        "no weights anywhere",
        _weigh(lambda t, e: e, lambda t: t.m),
        "weights",
    ),
    Bug(
        "weights_only_divided",
        "L2",
        _IGNORED,
        _E,
        "weights in the normaliser alone",
        _weigh(lambda t, e: e),
        "weights",
    ),
    Bug(
        "weights_ignored_bias",
        "B5",
        _IGNORED,
        biases,
        "no weights in the biases",
        _unweighted_bias,
        "weights",
    ),
    Bug(
        "weights_twice",
        "L2",
        "unknown",
        _E,
        "the weights applied twice",
        _weigh(lambda t, e: e * (t.w * t.w)[:, None]),
        "weights",
    ),
    Bug(
        "mask_ignored",
        "L2",
        _IGNORED,
        _E,
        "padding counted as samples",
        _weigh(lambda t, e: e, lambda t: t.m),
        "mask",
    ),
    Bug(
        "mask_only_divided",
        "L2",
        _IGNORED,
        _E,
        "the mask in the normaliser alone",
        _weigh(lambda t, e: e),
        "mask",
    ),
    Bug(
        "sample_first_dropped",
        "L2",
        _DROPPED,
        _E,
        "sample 0 left out",
        _count(_but(0, 0)),
    ),
    Bug(
        "sample_last_dropped",
        "L2",
        _DROPPED,
        _E,
        "the last sample left out",
        _count(_but(-1, 0)),
    ),
    Bug(
        "sample_dropped_renormalised",
        "L2",
        _DROPPED,
        _E,
        "the last sample left out, and divided by m - 1",
        _count(_but(-1, 0), lambda t: t.m - 1),
    ),
    Bug(
        "sample_twice", "L2", _DROPPED, _E, "sample 3 counted twice", _count(_but(3, 2))
    ),
    Bug(
        "samples_second_half",
        "L2",
        _DROPPED,
        _E,
        "the second half left out",
        _count(_half),
    ),
    Bug(
        "sample_dropped_weight",
        "B4",
        _DROPPED,
        _FIRST_WEIGHT,
        "the last sample left out of the first weight",
        _skip_in("weight", lambda t: 1),
    ),
    Bug(
        "sample_dropped_bias",
        "B5",
        _DROPPED,
        _LAST_BIAS,
        "the last sample left out of the last bias",
        _skip_in("bias", lambda t: t.layers),
    ),
    Bug(
        "single_sample",
        "B3",
        "scale",
        _E,
        "C times too large for a batch of one",
        _single,
        "single",
    ),
)
