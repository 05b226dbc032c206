"""Causes told from candidate and truth alone: form, zeros, factors, single entries."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import (
    BIAS,
    WEIGHT,
    C,
    M,
    case,
    causes,
    check,
    distribution,
    evidence,
    leaf_of,
    loss,
    point,
    right,
    sample_weights,
    spoiled,
)

from handgrad import check_gradients
from handgrad.gradcheck.claims import Case
from handgrad.gradcheck.from_numbers import (
    class_counts,
    listed,
    may_weigh,
    named_factors,
    nonfinite,
    weight_sums,
    where_wrong,
)

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


def case_of(*args: Any, **leaves: np.ndarray) -> Case:
    """Leaves that are right, at a point with these arguments."""
    return case(*(evidence(n, g, g) for n, g in leaves.items()), args=args)


def test_named_factors_are_those_that_mistakes_make() -> None:
    weights = np.array([0.5, 1.0, 0.0, 1.0, 1.0])
    found = case_of(np.ones((5, 3)), np.arange(5), weights, w=np.ones((2, 7)))
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
    factors = [factor for factor, _ in named_factors(case_of(*args, w=np.ones(())))]
    assert factors == pytest.approx(expected)


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (np.array([0.5, 2.0]), True),
        (np.array([True, False]), True),
        (np.array([0, 1, 1]), True),
        (np.array([0, 1, 2]), False),
        (np.array([1 + 1j]), False),
    ],
)
def test_what_may_be_weights(leaf: Any, expected: bool) -> None:
    assert may_weigh(leaf) is expected


def test_sums_of_weights_are_those_of_vectors_as_long_as_the_batch() -> None:
    args = (np.ones((4, 2)), np.array([1, 0, 1, 1]), np.arange(4), np.ones(3), 0.5)
    assert weight_sums(case_of(*args, w=np.ones(2))) == [3.0]


def test_number_of_classes_is_that_of_the_last_leaf_or_a_distribution() -> None:
    inputs, labels = np.ones((4, 9)), np.arange(4)
    two = {"v": np.ones((9, 6)), "w": np.ones((6, 5))}
    assert class_counts(case_of(inputs, labels, **two)) == [5]
    assert class_counts(case_of(inputs, np.ones((4, 3)), **two)) == [3, 5]
    assert class_counts(
        case_of(inputs, np.ones((3, 3)), np.ones((4, 2, 2)), **two)
    ) == [5]
    assert class_counts(case_of(inputs, np.ones((4, 1)), w=np.ones((9, 1)))) == []
    assert class_counts(case_of(inputs, w=np.ones(()))) == []


def test_list_of_lines_is_cut_after_eight() -> None:
    assert listed("row", np.array([3])) == "row 3"
    assert listed("row", np.array([3, 4])) == "rows 3, 4"
    assert listed("row", np.arange(8)) == "rows 0, 1, 2, 3, 4, 5, 6, 7"
    assert listed("row", np.arange(10)) == "rows 0, 1, 2, 3, 4, 5, 6, 7 and 2 more"


@pytest.mark.parametrize(
    ("off", "said"),
    [
        ([(2, 1)], "All that is wrong lies in row 2."),
        ([(2, 1), (3, 0)], "All that is wrong lies in rows 2, 3."),
        ([(0, 1), (1, 1), (2, 1)], "All that is wrong lies in column 1."),
        ([(0, 0), (1, 1), (2, 2)], ""),
    ],
)
def test_where_a_matrix_is_wrong(off: list[tuple[int, int]], said: str) -> None:
    truth = np.ones((4, 3))
    candidate = truth.copy()
    for index in off:
        candidate[index] += 1.5
    candidate[3, 2] += 1.0  # at the floor, and so not wrong
    candidate[off[-1]] += 1
    leaf = evidence("w", candidate, truth, floor=1.0)
    expected = f"The largest difference is at {list(off[-1])}. {said}".rstrip()
    assert where_wrong(leaf) == expected


def test_where_a_vector_is_wrong_is_one_entry() -> None:
    leaf = evidence("w", [1, 2, 1], np.ones(3))
    assert where_wrong(leaf) == "The largest difference is at [1]."


def test_entries_that_are_not_finite_are_counted_in_every_leaf() -> None:
    two, four = np.ones(2), np.ones((2, 2))
    leaves = [evidence("a", [1, np.nan], two), evidence("b", 2 * two, two)]
    (claim,) = nonfinite(case(*leaves, evidence("c", np.inf * four, four)))
    assert list(claim.explanations) == ["a", "c"]
    assert claim.explanations["a"].startswith("1 of 2 entries is not finite, the first")
    assert "at [1]; the first such leaf is a. " in claim.explanations["a"]
    assert "4 of 4 entries are not finite" in claim.explanations["c"]
    assert "at [0, 0]; the first such leaf is a. " in claim.explanations["c"]
