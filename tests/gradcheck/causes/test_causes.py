"""The cause of a spoiled gradient, as a report names it: from the numbers alone."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from gradcheck.cases import BIAS, WEIGHT, C, M, causes, check, leaf_of, spoiled

from handgrad import check_gradients


@pytest.mark.parametrize(
    ("change", "cause", "text"),
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
def test_cause_of_a_wrong_weight(change: Any, cause: str, text: str) -> None:
    report = check(spoiled(weight=change))
    assert causes(report) == {WEIGHT: cause}
    assert text in leaf_of(report, WEIGHT).explanation


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


def test_every_leaf_has_its_own_cause() -> None:
    report = check(spoiled(weight=lambda g: -g, bias=lambda g: 0 * g))
    assert causes(report) == {BIAS: "zero", WEIGHT: "sign"}


def test_one_cause_that_explains_all_leaves_is_preferred() -> None:
    """-1 and 2 are two causes for one leaf each; a free factor has one for both."""
    report = check(spoiled(weight=lambda g: 1.5 * g, bias=lambda g: 1.5 * g))
    assert {leaf.explanation for leaf in report.wrong} == {
        "1.5 times the gradient, everywhere in the leaf."
    }


def test_where_the_error_enters_is_noted() -> None:
    params = {"1": jnp.arange(1.0, 6), "2": jnp.arange(2.0, 7), "3": jnp.ones(5)}

    def product(p: Any) -> jax.Array:
        return jnp.sum(p["1"] * p["2"] * p["3"])

    def gradient(p: Any) -> Any:
        found = jax.grad(product)(p)
        return found | {"1": -found["1"], "2": -found["2"]}

    report = check_gradients(product, gradient, params)
    assert "goes from ['3'] to ['2']" in report.notes[0]
