"""Causes told from candidate and truth alone: form, zeros, factors, single entries."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from gradcheck.cases import (
    BIAS,
    WEIGHT,
    C,
    M,
    causes,
    check,
    distribution,
    leaf_of,
    loss,
    point,
    right,
    sample_weights,
    spoiled,
)

from handgrad import check_gradients

TOTAL = float(sample_weights().sum())


@pytest.mark.parametrize(
    ("change", "cause", "said"),
    [
        (lambda g: -g, "sign", "opposite sign"),
        (lambda g: 0 * g, "zero", "The leaf is zero"),
        (lambda g: g.at[2].set(0), "zero", "row 2 of 6 zero"),
        (lambda g: g.at[jnp.array([1, 4])].set(0), "zero", "rows 1, 4 of 6 zero"),
        (lambda g: g.at[:, 3].set(0), "zero", "column 3 of 4 zero"),
        (lambda g: g.T, "transposed", "shape (4, 6) where (6, 4) must be"),
        (lambda g: M * g, "scale", "16 times the gradient: the batch size m"),
        (lambda g: g / M, "scale", "0.0625 times the gradient: 1/m"),
        (lambda g: g * M / (M - 1), "scale", "1.06667 times the gradient: m/(m-1)"),
        (lambda g: g * (M - 1) / M, "scale", "0.9375 times the gradient: (m-1)/m"),
        (lambda g: C * g, "scale", "4 times the gradient: the number of classes"),
        (lambda g: g / C, "scale", "0.25 times the gradient: 1/C"),
        (lambda g: 2 * g, "scale", "2 times the gradient: a factor 2"),
        (lambda g: g / 2, "scale", "0.5 times the gradient: a factor 1/2"),
        (lambda g: 1.01 * g, "scale", "1.01 times the gradient, everywhere"),
        (lambda g: -3 * g, "scale", "-3 times the gradient, everywhere"),
        (lambda g: g.at[2, 1].add(0.01), "one_entry", "Only entry [2, 1] is wrong"),
        (lambda g: g.at[5, 3].set(jnp.nan), "nonfinite", "the first at [5, 3]"),
        (lambda g: g.at[0, 0].set(-jnp.inf), "nonfinite", "1 of 24 entries is not"),
        (lambda g: 1 + g, "unknown", "The numbers do not tell the cause"),
        (lambda g: g.at[2].multiply(g[1]), "unknown", "lies in row 2"),
        (lambda g: g.at[:, 1].add(0.1), "unknown", "lies in column 1"),
    ],
)
def test_cause_of_a_wrong_weight(change: Any, cause: str, said: str) -> None:
    report = check(spoiled(weight=change))
    assert causes(report) == {WEIGHT: cause}
    assert said in leaf_of(report, WEIGHT).explanation


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda g: -g, "sign"),
        (lambda g: 0 * g, "zero"),
        (lambda g: g.T, "transposed"),
        (lambda g: M * g, "scale"),
        (lambda g: g.at[2, 1].add(1), "one_entry"),
        (lambda g: 1 + g, "unknown"),
    ],
)
def test_cause_is_told_in_every_dtype(change: Any, cause: str, dtype: str) -> None:
    with jax.enable_x64(dtype == "float64"):
        report = check(spoiled(weight=change), jnp.dtype(dtype))
    assert causes(report) == {WEIGHT: cause}


@pytest.mark.parametrize(
    ("change", "cause", "said"),
    [
        (lambda p, g: g + 0.01 * p, "weight_decay", "plus 0.01 times the parameter"),
        (lambda p, g: g - 0.01 * p, "weight_decay", "plus -0.01 times the parameter"),
        (lambda p, g: g + 1e-3 * jnp.sign(p), "weight_decay", "0.001 times the sign"),
        (lambda p, g: p, "unknown", "do not tell"),
    ],
)
def test_weight_decay_is_the_part_along_the_parameter(
    change: Any, cause: str, said: str
) -> None:
    def gradient(params: Any, *args: Any) -> Any:
        found = right(params, *args)
        return found | {"weight": change(params["weight"], found["weight"])}

    report = check(gradient)
    assert causes(report) == {WEIGHT: cause}
    assert said in leaf_of(report, WEIGHT).explanation


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (TOTAL, "the sum of the weights, which it is not divided by"),
        (TOTAL / M, "divided by the batch size m, not the sum of the weights"),
        (M / TOTAL, "divided by the sum of the weights, not the batch size m"),
        (1 / TOTAL, "divided by the sum of the weights once too often"),
    ],
)
def test_factor_of_the_sum_of_weights_has_a_name(factor: float, said: str) -> None:
    gradient = spoiled(weight=lambda g: g * factor, bias=lambda g: g * factor)
    report = check_gradients(loss, gradient, *point(), sample_weights())
    assert causes(report) == {BIAS: "scale", WEIGHT: "scale"}
    assert said in report.wrong[0].explanation


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


def test_every_leaf_has_its_own_cause() -> None:
    report = check(spoiled(weight=lambda g: -g, bias=lambda g: 0 * g))
    assert causes(report) == {BIAS: "zero", WEIGHT: "sign"}


def test_one_cause_that_explains_all_leaves_is_preferred() -> None:
    """-1 and 2 are two causes for one leaf each; a free factor has one for both."""
    report = check(spoiled(weight=lambda g: 1.5 * g, bias=lambda g: 1.5 * g))
    assert {leaf.explanation for leaf in report.wrong} == {
        "1.5 times the gradient, everywhere in the leaf."
    }


def test_factor_of_a_leaf_of_one_entry_proves_nothing() -> None:
    def square(w: Any) -> jax.Array:
        return w**2

    named = check_gradients(square, lambda w: -2 * w, jnp.array(3.0))
    free = check_gradients(square, lambda w: 2.6 * w, jnp.array(3.0))
    assert causes(named) == {"(params)": "sign"}
    assert causes(free) == {"(params)": "unknown"}


def test_where_the_error_enters_is_noted() -> None:
    params = {"1": jnp.arange(1.0, 6), "2": jnp.arange(2.0, 7), "3": jnp.ones(5)}

    def product(p: Any) -> jax.Array:
        return jnp.sum(p["1"] * p["2"] * p["3"])

    def gradient(p: Any) -> Any:
        found = jax.grad(product)(p)
        return found | {"1": -found["1"], "2": -found["2"]}

    report = check_gradients(product, gradient, params)
    assert "goes from ['3'] to ['2']" in report.notes[0]
