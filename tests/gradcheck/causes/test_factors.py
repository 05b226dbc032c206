"""Causes that are a factor or an addend: the sign, a scale, a penalty left in."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import (
    BIAS,
    GRID,
    WEIGHT,
    C,
    M,
    causes,
    check,
    comparison,
    distribution,
    explained,
    leaf_of,
    loss,
    mismatch_of,
    point,
    right,
    sample_weights,
    spoiled,
)

from handgrad import check_gradients
from handgrad.gradcheck.causes.factors import (
    free_scale,
    named_factors,
    named_scale,
    sign,
    weight_decay,
)

TOTAL = float(sample_weights().sum())


@pytest.mark.parametrize(
    ("change", "cause", "text"),
    [
        (lambda p, g: g + 0.01 * p, "weight_decay", "plus 0.01 times the parameter"),
        (lambda p, g: g - 0.01 * p, "weight_decay", "plus -0.01 times the parameter"),
        (lambda p, g: g + 1e-3 * jnp.sign(p), "weight_decay", "0.001 times the sign"),
        (lambda p, g: p, "unknown", "do not tell"),
    ],
)
def test_weight_decay_is_the_part_along_the_parameter(
    change: Any, cause: str, text: str
) -> None:
    def gradient(params: Any, *args: Any) -> Any:
        found = right(params, *args)
        return found | {"weight": change(params["weight"], found["weight"])}

    report = check(gradient)
    assert causes(report) == {WEIGHT: cause}
    assert text in leaf_of(report, WEIGHT).explanation


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (TOTAL, "the sum of the weights, which it is not divided by"),
        (TOTAL / M, "divided by the batch size m, not the sum of the weights"),
        (M / TOTAL, "divided by the sum of the weights, not the batch size m"),
        (1 / TOTAL, "divided by the sum of the weights once too often"),
    ],
)
def test_factor_of_the_sum_of_weights_has_a_name(factor: float, text: str) -> None:
    gradient = spoiled(weight=lambda g: g * factor, bias=lambda g: g * factor)
    report = check_gradients(loss, gradient, *point(), sample_weights())
    assert causes(report) == {BIAS: "scale", WEIGHT: "scale"}
    assert text in report.wrong[0].explanation


def test_number_of_classes_is_read_from_a_distribution() -> None:
    params, x, labels = point()
    wide = {"weight": params["weight"], "a": params["bias"]}

    def renamed(params: Any, *args: Any) -> jax.Array:
        return loss({"weight": params["weight"], "bias": params["a"]}, *args)

    report = check_gradients(
        renamed,
        lambda *args: jax.tree.map(lambda g: g / C, jax.grad(renamed)(*args)),
        wide,
        x,
        distribution(labels, x.dtype),
    )
    assert all("1/C" in leaf.explanation for leaf in report.wrong)


def test_factor_of_a_leaf_of_one_entry_shows_nothing() -> None:
    def square(w: Any) -> jax.Array:
        return w**2

    named = check_gradients(square, lambda w: -2 * w, jnp.array(3.0))
    free = check_gradients(square, lambda w: 2.6 * w, jnp.array(3.0))
    assert causes(named) == {"(params)": "sign"}
    assert causes(free) == {"(params)": "unknown"}


def test_named_factors_are_those_that_mistakes_make() -> None:
    weights = np.array([0.5, 1.0, 0.0, 1.0, 1.0])
    found = mismatch_of(np.ones((5, 3)), np.arange(5), weights, w=np.ones((2, 7)))
    factors = [factor for factor, _ in named_factors(found)]
    expected = [
        5,
        1 / 5,
        5 / 4,
        4 / 5,
        3.5,
        3.5 / 5,
        5 / 3.5,
        1 / 3.5,
        7,
        1 / 7,
        2,
        0.5,
    ]
    assert factors == pytest.approx(expected)
    assert all(name for _, name in named_factors(found))


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), [2, 0.5]),
        ((np.ones((1, 3)),), [1, 1, 2, 0.5]),  # one sample: no m - 1
        ((np.ones(3), np.zeros(3)), [3, 1 / 3, 1.5, 2 / 3, 3, 1, 1, 1 / 3, 2, 0.5]),
    ],
)
def test_named_factors_of_special_batches(
    args: tuple[np.ndarray, ...], expected: list[float]
) -> None:
    factors = [factor for factor, _ in named_factors(mismatch_of(*args, w=np.ones(())))]
    assert factors == pytest.approx(expected)


def test_sign_is_told_of_each_leaf() -> None:
    leaves = [comparison("a", -GRID, GRID), comparison("b", 2 * GRID, GRID)]
    found = explained(sign, *leaves, comparison("c", -1.0, np.array(1.0)))
    text = "The gradient has the opposite sign: minus once too often, or forgotten."
    assert found == {"a": text, "c": text}


FIVE = (np.ones((5, 2)),)
"""Arguments of a batch of five."""


def test_factor_has_a_name_where_it_fits() -> None:
    leaves = [comparison("a", 5 * GRID, GRID), comparison("b", 6 * GRID, GRID)]
    found = explained(
        named_scale, *leaves, comparison("c", 5.0, np.array(1.0)), args=FIVE
    )
    text = "5 times the gradient: the batch size m, so a sum where the loss is a mean."
    assert found == {"a": text, "c": text}


def test_batch_of_two_is_divided_by_one_as_well() -> None:
    factors = [name for _, name in named_factors(mismatch_of(np.ones((2, 1))))]
    assert "m/(m-1), divided by m-1 instead of the batch size m" in factors


@pytest.mark.parametrize(
    ("weights", "known"),
    [
        ([0.25, 0.25, 0.25], True),
        ([-0.25, -0.25, -0.25], False),
        ([0.5, 0.5, -1.0], False),
    ],
)
def test_sum_of_weights_must_be_positive(weights: list[float], known: bool) -> None:
    found = mismatch_of(np.ones((3, 2)), np.array(weights))
    names = [name for _, name in named_factors(found)]
    assert ("the sum of the weights, which it is not divided by" in names) == known


def test_weights_so_small_that_a_factor_overflows_are_passed_over() -> None:
    tiny = np.full(5, 1e-320)
    assert (
        explained(named_scale, comparison("a", 6 * GRID, GRID), args=(*FIVE, tiny))
        == {}
    )


@pytest.mark.parametrize(
    ("factor", "text"), [(3.5, "3.5"), (-2.0, "-2"), (1.0001, "1.0001")]
)
def test_free_factor_is_told_to_six_digits(factor: float, text: str) -> None:
    leaves = [comparison("a", factor * GRID, GRID), comparison("b", GRID + 1, GRID)]
    found = explained(free_scale, *leaves, comparison("c", [factor], np.ones(1)))
    text = f"{text} times the gradient, everywhere in the leaf."
    assert found == {"a": text, "c": text}


THETA = np.cos(np.arange(12.0)).reshape(4, 3)


def decayed(added: np.ndarray, theta: np.ndarray = THETA) -> dict[str, str]:
    return explained(weight_decay, comparison("w", GRID + added, GRID, parameter=theta))


@pytest.mark.parametrize("t", [0.5, -0.125])
def test_multiple_of_the_parameter_or_of_its_sign_is_told(t: float) -> None:
    assert decayed(t * THETA) == {
        "w": f"The gradient plus {t:.4g} times the parameter: weight decay that is not "
        "in the loss. Leave it to the optimiser, or add it to the loss."
    }
    assert decayed(t * np.sign(THETA)) == {
        "w": f"The gradient plus {t:.4g} times the sign of the parameter: an L1 "
        "penalty that is not in the loss."
    }
    assert decayed(t * GRID) == {}


def test_constant_is_no_penalty_where_all_signs_are_alike() -> None:
    assert decayed(np.full((4, 3), 0.5), 2 + THETA) == {}
    assert decayed(np.full((4, 3), 0.5), -2 + THETA) == {}
    zero_too = np.where(THETA > 0, THETA, 0)
    assert "sign" in decayed(0.5 * np.sign(zero_too), zero_too)["w"]


def test_factor_of_a_complex_leaf_may_be_complex() -> None:
    """And what is added is a real multiple."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(8) + 1j * rng.standard_normal(8)
    for factor in (1j, 1.5, 2 - 1j):
        leaf = comparison("z", factor * truth, truth)
        (text,) = explained(free_scale, leaf).values()
        assert complex(text.split()[0]) == pytest.approx(factor)
    turned = comparison("z", (1 + 1j) * truth, truth, parameter=truth)
    assert explained(weight_decay, turned) == {}
