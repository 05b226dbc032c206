"""Bugs in the error at the output: B3, and B1 through B2."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp

from handgrad.gradcheck.planted_bugs.backward import Steps, Tape
from handgrad.gradcheck.planted_bugs.bug import Bug, everything

Delta = jax.Array


def _b3(change: Callable[[Tape, Delta], Delta]) -> Callable[[Steps], Steps]:
    """Change dl/dd_L, given the right one."""
    return lambda s: replace(s, output=lambda t: change(t, s.output(t)))


def _smoothed(epsilon: float) -> Callable[[Steps], Steps]:
    return _b3(lambda t, e: e + epsilon * (t.q - 1 / t.q.shape[1]))


def _textbook(t: Tape) -> Delta:
    """B1 through B2 as written: 0/0 where a probability underflows."""
    p = t.probabilities
    cotangent = -t.q / p
    return p * (cotangent - jnp.sum(cotangent * p, axis=1, keepdims=True))


def _not_last_bias(k: int, kind: str, layers: int) -> bool:
    return k < layers or kind == "weight"


OUTPUT_ERRORS = (
    Bug("b3_sign", "B3", "sign", everything, "e(y) - a_L", _b3(lambda t, e: -e)),
    Bug(
        "b3_only_target",
        "B3",
        "unknown",
        everything,
        "-e(y), without a_L",
        _b3(lambda t, e: -t.q),
    ),
    Bug(
        "b3_only_output",
        "B3",
        "unknown",
        everything,
        "a_L, without e(y)",
        _b3(lambda t, e: t.probabilities),
    ),
    Bug(
        "b3_twice",
        "B3",
        "scale",
        everything,
        "2 (a_L - e(y)), as of a squared error",
        _b3(lambda t, e: 2 * e),
    ),
    Bug(
        "b3_classes",
        "B3",
        "scale",
        everything,
        "a mean over the classes for a sum",
        _b3(lambda t, e: e / t.q.shape[1]),
    ),
    Bug(
        "b3_1.1",
        "B3",
        "scale",
        everything,
        "a_L - e(y) times 1.1",
        _b3(lambda t, e: 1.1 * e),
    ),
    Bug(
        "b3_1.001",
        "B3",
        "scale",
        everything,
        "a_L - e(y) times 1.001",
        _b3(lambda t, e: 1.001 * e),
    ),
    Bug(
        "b3_softmax_prime",
        "B3",
        "wrong_activation_derivative",
        everything,
        "a (1 - a) of a sigmoid multiplied in, though a_L - e(y) is complete",
        _b3(lambda t, e: e * t.probabilities * (1 - t.probabilities)),
    ),
    Bug(
        "b3_smoothing_0.1",
        "B3",
        "label_smoothing",
        everything,
        "targets smoothed by 0.1 in the gradient alone",
        _smoothed(0.1),
    ),
    Bug(
        "b3_smoothing_0.01",
        "B3",
        "label_smoothing",
        everything,
        "targets smoothed by 0.01 in the gradient alone",
        _smoothed(0.01),
    ),
    Bug(
        "b3_smoothing_ignored",
        "B3",
        "label_smoothing",
        everything,
        "the likeliest class in the place of the distribution",
        _b3(
            lambda t, e: (
                t.probabilities
                - jax.nn.one_hot(jnp.argmax(t.q, axis=1), t.q.shape[1], dtype=e.dtype)
            )
        ),
        needs="soft",
    ),
    Bug(
        "b3_class_index",
        "B3",
        "unknown",
        everything,
        "the class index off by one",
        _b3(lambda t, e: t.probabilities - jnp.roll(t.q, 1, axis=1)),
    ),
    Bug(
        "b3_sample_index",
        "B3",
        "unknown",
        _not_last_bias,
        "the target of the next sample",
        _b3(lambda t, e: t.probabilities - jnp.roll(t.q, 1, axis=0)),
    ),
    Bug(
        "b3_textbook",
        "B3",
        "nonfinite",
        everything,
        "B1 through B2, which divides by a probability that underflows",
        lambda s: replace(s, output=_textbook),
        needs="saturated",
    ),
)
