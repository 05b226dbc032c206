"""Samples left out or counted twice are told, and which they are."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import M, Params

from handgrad import check_gradients

WIDE = 40


def loss(params: Params, x: Any, y: Any, w: Any = None) -> jax.Array:
    """Least squares through tanh, with enough entries to count 16 samples by."""
    w = jnp.ones(len(x), x.dtype) if w is None else w
    errors = (jnp.tanh(x @ params["weight"] + params["bias"][None, :]) - y) ** 2
    return jnp.sum(w * jnp.sum(errors, axis=1)) / jnp.sum(w)


def point(dtype: Any = jnp.float32) -> tuple[Params, jax.Array, jax.Array]:
    random = np.random.default_rng(0)
    params = {
        "bias": jnp.asarray(random.standard_normal(WIDE), dtype),
        "weight": jnp.asarray(random.standard_normal((6, WIDE)), dtype),
    }
    x = jnp.asarray(random.standard_normal((M, 6)), dtype)
    return params, x, jnp.asarray(random.standard_normal((M, WIDE)), dtype)


def counted(counts: Any, *, divided_by: float | None = None) -> Any:
    """The gradient that counts sample i ``counts[i]`` times."""

    def gradient(params: Params, x: Any, y: Any, w: Any = None) -> Params:
        w = jnp.ones(len(x), x.dtype) if w is None else w
        omega = w * jnp.asarray(counts, x.dtype)
        found = jax.grad(loss)(params, x, y, omega)
        factor = omega.sum() / (w.sum() if divided_by is None else divided_by)
        return jax.tree.map(lambda g: (g * factor).astype(x.dtype), found)

    return gradient


def counts(changed: dict[int, float]) -> np.ndarray:
    often = np.ones(M)
    for index, count in changed.items():
        often[index] = count
    return often


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({0: 0}, "Of the 16 samples, sample 0 left out."),
        ({15: 0}, "sample 15 left out"),
        ({3: 2}, "sample 3 counted twice"),
        ({2: 0, 7: 0}, "samples 2, 7 left out"),
        ({2: 0, 7: 2}, "sample 2 left out and sample 7 counted twice"),
        (dict.fromkeys(range(8, 16), 0), "samples 8, 9, 10, 11, 12, 13, 14, 15 left"),
    ],
)
def test_samples_are_counted(changed: dict[int, float], said: str) -> None:
    report = check_gradients(loss, counted(counts(changed)), *point())
    assert {leaf.cause for leaf in report.wrong} == {"samples_dropped"}
    assert len(report.wrong) == 2
    assert said in report.wrong[0].explanation


def test_mean_over_the_samples_that_are_left() -> None:
    gradient = counted(counts({4: 0}), divided_by=M - 1)
    report = check_gradients(loss, gradient, *point())
    assert {leaf.cause for leaf in report.wrong} == {"samples_dropped"}
    assert "sample 4 left out, and all else multiplied by 1.066" in str(report)


def test_sample_left_out_of_a_weighted_mean() -> None:
    w = jnp.asarray(np.random.default_rng(2).uniform(0.5, 2, M), jnp.float32)
    report = check_gradients(loss, counted(counts({5: 0})), *point(), w)
    assert {leaf.cause for leaf in report.wrong} == {"samples_dropped"}
    assert "sample 5 left out" in report.wrong[0].explanation


def test_sample_left_out_in_float64() -> None:
    with jax.enable_x64(True):
        report = check_gradients(loss, counted(counts({9: 0})), *point(jnp.float64))
    assert "sample 9 left out" in report.wrong[0].explanation


def test_fraction_of_a_sample_is_no_count() -> None:
    report = check_gradients(loss, counted(counts({1: 0.5})), *point())
    assert {leaf.cause for leaf in report.wrong} == {"unknown"}


def test_loss_that_takes_no_single_sample_is_passed_over() -> None:
    def fixed(params: Params, x: Any, y: Any) -> jax.Array:
        return loss(params, x.reshape(M, -1), y)

    def wrong(*args: Any) -> Params:
        return jax.tree.map(lambda g: g + 1, jax.grad(loss)(*args))

    report = check_gradients(fixed, wrong, *point())
    assert {leaf.cause for leaf in report.wrong} == {"unknown"}
