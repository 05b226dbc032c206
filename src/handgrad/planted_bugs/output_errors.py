"""Bugs in the error at the output: B3, and B1 through B2."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from handgrad.planted_bugs.backward import Tape
from handgrad.planted_bugs.bug import Bug
from handgrad.planted_bugs.change import Value, after


def b3(*, wrong: Callable[[Tape, Value], Value], **bug: Any) -> Bug:
    """dl/dd_L changed: given the tape and the right one."""
    return Bug(equation="B3", change=after("output", wrong), **bug)


def _smoothed(t: Tape, e: Value, epsilon: float) -> Value:
    return e + epsilon * (t.q - 1 / t.q.shape[1])


def _hardened(t: Tape, e: Value) -> Value:
    labels = jnp.argmax(t.q, axis=1)
    return t.probabilities - jax.nn.one_hot(labels, t.q.shape[1], dtype=e.dtype)


def _textbook(t: Tape, e: Value) -> Value:
    """B1 through B2 as written: 0/0 where a probability underflows."""
    p = t.probabilities
    cotangent = -t.q / p
    return p * (cotangent - jnp.sum(cotangent * p, axis=1, keepdims=True))


OUTPUT_ERRORS = (
    b3(name="b3_sign", cause="sign", says="e(y) - a_L", wrong=lambda t, e: -e),
    b3(
        name="b3_only_target",
        cause="unknown",
        says="-e(y), without a_L",
        wrong=lambda t, e: -t.q,
    ),
    b3(
        name="b3_only_output",
        cause="unknown",
        says="a_L, without e(y)",
        wrong=lambda t, e: t.probabilities,
    ),
    b3(
        name="b3_twice",
        cause="scale",
        says="2 (a_L - e(y)), as of a squared error",
        wrong=lambda t, e: 2 * e,
    ),
    b3(
        name="b3_classes",
        cause="scale",
        says="a mean over the classes for a sum",
        wrong=lambda t, e: e / t.q.shape[1],
    ),
    b3(
        name="b3_1.1",
        cause="scale",
        says="a_L - e(y) times 1.1",
        wrong=lambda t, e: 1.1 * e,
    ),
    b3(
        name="b3_1.001",
        cause="scale",
        says="a_L - e(y) times 1.001",
        wrong=lambda t, e: 1.001 * e,
    ),
    b3(
        name="b3_softmax_prime",
        cause="wrong_activation_derivative",
        says="a (1 - a) of a sigmoid multiplied in, though a_L - e(y) is complete",
        wrong=lambda t, e: e * t.probabilities * (1 - t.probabilities),
    ),
    b3(
        name="b3_smoothing_0.1",
        cause="label_smoothing",
        says="targets smoothed by 0.1 in the gradient alone",
        wrong=lambda t, e: _smoothed(t, e, 0.1),
    ),
    b3(
        name="b3_smoothing_0.01",
        cause="label_smoothing",
        says="targets smoothed by 0.01 in the gradient alone",
        wrong=lambda t, e: _smoothed(t, e, 0.01),
    ),
    b3(
        name="b3_smoothing_ignored",
        cause="label_smoothing",
        says="the likeliest class in the place of the distribution",
        wrong=_hardened,
        needs="soft",
    ),
    b3(
        name="b3_class_index",
        cause="unknown",
        says="the class index off by one",
        wrong=lambda t, e: t.probabilities - jnp.roll(t.q, 1, axis=1),
    ),
    b3(
        name="b3_sample_index",
        cause="unknown",
        says="the target of the next sample",
        wrong=lambda t, e: t.probabilities - jnp.roll(t.q, 1, axis=0),
        spoils=lambda k, kind, layers: k < layers or kind == "weight",
    ),
    b3(
        name="b3_textbook",
        cause="nonfinite",
        says="B1 through B2, which divides by a probability that underflows",
        wrong=_textbook,
        needs="saturated",
    ),
)
