"""Samples left out or counted twice are told, and which they are."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import M, Params, evidence

from handgrad import check_gradients
from handgrad.gradcheck.claims import Case
from handgrad.gradcheck.from_samples import samples_dropped
from handgrad.gradcheck.question import Question

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


ROWS = np.random.default_rng(5).integers(-99, 99, (8, 30)).astype(float)
"""Eight samples; the gradient of each is its row."""


def told(
    omega: Any, x: np.ndarray = ROWS, *, a: Any = None, loss: Any = None
) -> str | None:
    """What is said of sum_i omega_i a_i x_i, where sum_i a_i x_i is right."""
    a = np.full(len(x), 1 / len(x)) if a is None else np.asarray(a)
    leaf = evidence("['w']", (np.asarray(omega) * a) @ x, a @ x)
    mean = (lambda p, x: jnp.mean(x @ p["w"])) if loss is None else loss
    params = {"w": jnp.zeros(x.shape[1])}
    question = Question(mean, jax.grad(mean), params, (jnp.asarray(x, jnp.float32),))
    claims = list(samples_dropped(Case(question, {leaf.path: leaf}, [leaf.path])))
    assert len(claims) <= 1
    return claims[0].explanations[leaf.path] if claims else None


def omega(changed: dict[int, float], m: int = 8) -> np.ndarray:
    often = np.ones(m)
    often[list(changed)] = list(changed.values())
    return often


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({0: 0}, "sample 0 left out"),
        ({7: 2}, "sample 7 counted twice"),
        ({1: 0, 4: 0, 6: 0}, "samples 1, 4, 6 left out"),
        ({1: 0, 4: 2}, "sample 1 left out and sample 4 counted twice"),
        (dict.fromkeys(range(7), 0), "samples 0, 1, 2, 3, 4, 5, 6 left out"),
    ],
)
def test_counts_by_hand(changed: dict[int, float], said: str) -> None:
    assert told(omega(changed)) == f"Of the 8 samples, {said}."


def test_counts_times_a_factor() -> None:
    mean_of_the_rest = told(omega({3: 0}) * 8 / 7)
    assert mean_of_the_rest == (
        "Of the 8 samples, sample 3 left out, and all else multiplied by 1.14286."
    )
    assert told(3 * omega({3: 0, 5: 0})) == (
        "Of the 8 samples, samples 3, 5 left out, and all else multiplied by 3."
    )


@pytest.mark.parametrize("counts", [[1.5] * 8, [0.5] + [1] * 7, [1, 2.5] + [1] * 6])
def test_what_is_no_count(counts: list[float]) -> None:
    assert told(counts) is None


def test_too_few_entries_prove_one_sample_at_most() -> None:
    """Eight samples and 16 to spare are 24 entries."""
    assert told(omega({1: 0, 2: 0}), ROWS[:, :24]) is not None
    assert told(omega({1: 0, 2: 0}), ROWS[:, :23]) is None
    assert told(omega({1: 0}), ROWS[:, :23]) is not None


def test_batch_of_one_cannot_be_counted_and_of_two_can() -> None:
    assert told([0.0], ROWS[:1]) is None
    assert told([1, 0], ROWS[:2]) == "Of the 2 samples, sample 1 left out."


def test_sum_over_the_samples_is_counted_as_well() -> None:
    found = told(
        omega({2: 2, 6: 2}),
        ROWS,
        a=np.ones(8),
        loss=lambda p, x: jnp.sum(x @ p["w"]),
    )
    assert found == "Of the 8 samples, samples 2, 6 counted twice."


def test_equal_samples_cannot_be_told_apart() -> None:
    rows = ROWS.copy()
    rows[1] = rows[0]
    assert told(omega({0: 0, 2: 0}), rows) is None


def test_sample_without_a_gradient_counts_as_it_should() -> None:
    rows = ROWS.copy()
    rows[5] = 0
    assert told(omega({0: 0, 2: 0}), rows) == "Of the 8 samples, samples 0, 2 left out."
