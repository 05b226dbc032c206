"""Bugs in what is done with samples: weights and masks, and samples left out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from handgrad.planted_bugs.backward import Steps, Tape
from handgrad.planted_bugs.bug import Bug, biases, weights
from handgrad.planted_bugs.change import Value, Where, after, first, last, put


def ignored(*, equation: str = "L2", **bug: Any) -> Bug:
    """Sample weights, or a mask, not applied."""
    return Bug(equation=equation, cause="weights_ignored", **bug)


def counted(
    *,
    which: Callable[[int], Value],
    total: Callable[[Tape], Any] | None = None,
    **bug: Any,
) -> Bug:
    """Sample i counted omega_i times in every sum; omega = which(m)."""

    def weigh(t: Tape, e: Value) -> Value:
        return e * which(t.m).astype(e.dtype)[:, None]

    def change(right: Steps) -> Steps:
        return replace(after("weigh", weigh)(right), total=total or right.total)

    return Bug(equation="L2", cause="samples_dropped", change=change, **bug)


def skipped(*, step: str, at: Where, **bug: Any) -> Bug:
    """The last sample left out of the weights, or the biases, of one layer."""

    def change(right: Steps) -> Steps:
        whole = getattr(right, step)

        def sum_of(t: Tape, k: int, delta: Value) -> Value:
            return whole(t, k, delta.at[-1].set(0) if at(k, t.layers) else delta)

        return replace(right, **{step: sum_of})

    return Bug(cause="samples_dropped", change=change, **bug)


def _but(index: int, count: float) -> Callable[[int], Value]:
    return lambda m: jnp.ones(m).at[index].set(count)


def _half(m: int) -> Value:
    return jnp.arange(m) < (m + 1) // 2


UNWEIGHTED = put(weigh=lambda t, e: e, total=lambda t: t.m)
ONLY_DIVIDED = put(weigh=lambda t, e: e)


def _unweighted_bias(t: Tape, k: int, delta: Value) -> Value:
    """The biases sum deltas from which the weights were divided out again."""
    w = t.w[:, None]
    return jnp.sum(jnp.where(w > 0, delta / jnp.where(w > 0, w, 1), 0), axis=0)


def _squeezed(t: Tape, e: Value) -> Value:
    """A squeeze that takes a batch of one for a batch of its features."""
    return e * (t.q.shape[1] if t.m == 1 else 1)


SAMPLE_ERRORS = (
    ignored(
        name="weights_ignored",
        says="no weights anywhere",
        change=UNWEIGHTED,
        needs="weights",
    ),
    ignored(
        name="weights_only_divided",
        says="weights in the normaliser alone",
        change=ONLY_DIVIDED,
        needs="weights",
    ),
    ignored(
        name="weights_ignored_bias",
        equation="B5",
        says="no weights in the biases",
        change=put(bias=_unweighted_bias),
        spoils=biases(),
        needs="weights",
    ),
    Bug(
        name="weights_twice",
        equation="L2",
        cause="unknown",
        says="the weights applied twice",
        change=put(weigh=lambda t, e: e * (t.w * t.w)[:, None]),
        needs="weights",
    ),
    ignored(
        name="mask_ignored",
        says="padding counted as samples",
        change=UNWEIGHTED,
        needs="mask",
    ),
    ignored(
        name="mask_only_divided",
        says="the mask in the normaliser alone",
        change=ONLY_DIVIDED,
        needs="mask",
    ),
    counted(name="sample_first_dropped", says="sample 0 left out", which=_but(0, 0)),
    counted(
        name="sample_last_dropped", says="the last sample left out", which=_but(-1, 0)
    ),
    counted(
        name="sample_dropped_renormalised",
        says="the last sample left out, and divided by m - 1",
        which=_but(-1, 0),
        total=lambda t: t.m - 1,
    ),
    counted(name="sample_twice", says="sample 3 counted twice", which=_but(3, 2)),
    counted(name="samples_second_half", says="the second half left out", which=_half),
    skipped(
        name="sample_dropped_weight",
        equation="B4",
        says="the last sample left out of the first weight",
        step="weight",
        at=first,
        spoils=weights(first),
    ),
    skipped(
        name="sample_dropped_bias",
        equation="B5",
        says="the last sample left out of the last bias",
        step="bias",
        at=last,
        spoils=biases(last),
    ),
    Bug(
        name="single_sample",
        equation="B3",
        cause="scale",
        says="C times too large for a batch of one",
        change=after("output", _squeezed),
        needs="single",
    ),
)
