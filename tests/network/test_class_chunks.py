"""K1 to K4: a row of logits of which a chunk of the classes is known at a time."""

import functools
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import EQUATION, assert_close, numbers
from hypothesis import given
from hypothesis import strategies as st

from handgrad.network.class_chunks import (
    Summary,
    chunk_delta,
    merge,
    summary,
    summary_losses,
)
from handgrad.network.softmax_nll import negative_log_likelihood, output_delta, softmax

SAMPLES, CLASSES = 4, 9
KINDS = ("labels", "soft")
cuts = st.sets(st.integers(1, CLASSES - 1)).map(lambda c: (0, *sorted(c), CLASSES))
logits_of_any_size = st.builds(
    lambda d, size: d * size, numbers(SAMPLES, CLASSES), st.sampled_from([1.0, 1e4])
)


def targets_of(kind: str, seed: int = 0) -> jax.Array:
    """Labels, or rows of which one is 0 and one sums to more than 1."""
    random = np.random.default_rng(seed)
    if kind == "labels":
        return jnp.asarray(random.integers(CLASSES, size=SAMPLES), jnp.int32)
    q = random.uniform(size=(SAMPLES, CLASSES)) * (random.uniform(size=CLASSES) < 0.7)
    return jnp.asarray(q).at[0].set(0)


def part(targets: jax.Array, start: int, end: int) -> jax.Array:
    """The targets of the classes of a chunk."""
    return targets - start if targets.ndim == 1 else targets[:, start:end]


@functools.partial(jax.jit, static_argnums=2)
def merged(d: jax.Array, targets: jax.Array, bounds: tuple[int, ...]) -> Summary:
    """The summary of all classes, chunk by chunk."""
    return functools.reduce(
        merge,
        (
            summary(d[:, a:b], part(targets, a, b), jnp.int32(a))
            for a, b in pairwise(bounds)
        ),
    )


@functools.partial(jax.jit, static_argnums=2)
def deltas(d: jax.Array, targets: jax.Array, bounds: tuple[int, ...]) -> jax.Array:
    """K4, chunk by chunk."""
    row = merged(d, targets, bounds)
    return jnp.concatenate(
        [chunk_delta(d[:, a:b], part(targets, a, b), row) for a, b in pairwise(bounds)],
        axis=1,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_K1_is_the_largest_the_log_sum_exp_and_the_score(kind: str) -> None:
    d = jnp.asarray(np.random.default_rng(1).normal(size=(SAMPLES, CLASSES)))
    targets = targets_of(kind)
    q = (
        jax.nn.one_hot(targets, CLASSES, dtype="float64")
        if kind == "labels"
        else targets
    )
    row = summary(d, targets, jnp.int32(5))
    assert_close(row.largest, d.max(axis=1), 0.0)
    log_sum = jax.scipy.special.logsumexp(d, axis=1)
    assert_close(row.largest + jnp.log(row.total), log_sum, EQUATION)
    assert_close(row.mass, q.sum(axis=1), EQUATION)
    score = (q * (d - d.max(axis=1)[:, None])).sum(axis=1)
    assert_close(row.score, score, EQUATION)
    assert row.best is not None
    assert row.best.tolist() == (5 + d.argmax(axis=1)).tolist()


def test_K1_knows_nothing_of_labels_in_other_chunks() -> None:
    row = summary(jnp.ones((3, 2)), jnp.array([-1, 2, 77]))
    assert row.mass.tolist() == row.score.tolist() == [0, 0, 0]
    assert row.best is None


@given(logits_of_any_size, cuts, st.sampled_from(KINDS))
def test_K2_of_chunks_of_any_size_is_K1_of_the_whole(
    d: np.ndarray, bounds: tuple[int, ...], kind: str
) -> None:
    targets = targets_of(kind)
    expected = jax.jit(summary)(d, targets, jnp.int32(0))
    assert_close(merged(d, targets, bounds), expected, EQUATION)


@given(cuts, st.sets(st.integers(0, CLASSES - 1), max_size=CLASSES - 1))
def test_K2_of_classes_that_cannot_be_is_K1_of_the_others(
    bounds: tuple[int, ...], impossible: set[int]
) -> None:
    """Chunks of nothing but -inf, in front and behind, count as nothing."""
    left = sorted(set(range(CLASSES)) - impossible)
    d = np.random.default_rng(2).normal(size=(SAMPLES, CLASSES))
    q = np.array(targets_of("soft"))
    expected = summary(jnp.asarray(d[:, left]), jnp.asarray(q[:, left]))
    d[:, list(impossible)], q[:, list(impossible)] = -np.inf, 0
    came = merged(d, jnp.asarray(q), bounds)
    assert np.isin(came.best, left).all()
    assert_close(came._replace(best=None), expected, EQUATION)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_K2_lets_no_value_that_is_not_finite_pass(kind: str, bad: float) -> None:
    d, targets = jnp.ones((SAMPLES, CLASSES)).at[1, 4].set(bad), targets_of(kind)
    for bounds in ((0, 9), (0, 3, 6, 9), (0, 5, 9)):
        row = merged(d, targets, bounds)
        assert np.isnan(summary_losses(row)).tolist() == [False, True, False, False]
        if np.isnan(bad):
            assert row.best is not None
            assert row.best.tolist() == jnp.argmax(d, axis=1).tolist()


@given(logits_of_any_size, cuts, st.sampled_from(KINDS))
def test_K3_is_L1(d: np.ndarray, bounds: tuple[int, ...], kind: str) -> None:
    targets = targets_of(kind)
    came = summary_losses(merged(d, targets, bounds))
    expected = jax.jit(negative_log_likelihood)(d, targets)
    assert_close(came, expected, EQUATION)


def test_K3_of_a_target_that_cannot_be_is_infinite() -> None:
    d = jnp.zeros((2, CLASSES)).at[0, 3].set(-jnp.inf)
    row = merged(d, jnp.array([3, 4]), (0, 3, 6, 9))
    assert summary_losses(row)[0] == jnp.inf
    row = merged(d, jnp.eye(CLASSES)[jnp.array([3, 4])], (0, 4, 9))
    assert summary_losses(row)[0] == jnp.inf


@given(logits_of_any_size, cuts, st.sampled_from(KINDS))
def test_K4_is_B3(d: np.ndarray, bounds: tuple[int, ...], kind: str) -> None:
    targets = targets_of(kind)
    expected = jax.jit(lambda d, q: output_delta(softmax(d), q))(d, targets)
    assert_close(deltas(d, targets, bounds), expected, EQUATION)


@pytest.mark.parametrize("kind", KINDS)
def test_K4_is_the_gradient_of_K3(kind: str) -> None:
    d = jnp.asarray(np.random.default_rng(3).normal(size=(SAMPLES, CLASSES)))
    targets, bounds = targets_of(kind), (0, 2, 3, 7, 9)

    def total(d: Any) -> jax.Array:
        return jnp.sum(summary_losses(merged(d, targets, bounds)))

    assert_close(deltas(d, targets, bounds), jax.grad(total)(d), EQUATION)
