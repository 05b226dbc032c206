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
    told,
)

from handgrad import check_gradients
from handgrad.gradcheck.claims import Case
from handgrad.gradcheck.from_numbers import (
    class_counts,
    free_scale,
    listed,
    may_weigh,
    named_factors,
    named_scale,
    nonfinite,
    one_entry,
    sign,
    weight_decay,
    weight_sums,
    where_wrong,
    zero,
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
    assert class_counts(case_of(inputs, labels, np.ones((9, 3)), **two)) == [5]
    assert class_counts(case_of(inputs, np.ones((4, 2)), **two)) == [2, 5]
    assert class_counts(
        case_of(inputs, np.ones((3, 3)), np.ones((4, 2, 2)), **two)
    ) == [5]
    assert class_counts(case_of(inputs, np.ones((4, 1)), w=np.ones((9, 1)))) == []
    assert class_counts(case_of(inputs, w=np.ones(()))) == []
    assert class_counts(case_of(inputs, w=np.ones((9, 0)))) == []
    assert class_counts(case_of(inputs, w=np.ones((9, 6)), z=np.ones(6))) == [6]
    assert class_counts(case_of(inputs, w=np.ones((9, 5)), z=np.ones(6))) == [6]


def test_list_of_lines_is_cut_after_eight() -> None:
    assert listed("row", np.array([3])) == "row 3"
    assert listed("row", np.array([3, 4])) == "rows 3, 4"
    assert listed("row", np.arange(8)) == "rows 0, 1, 2, 3, 4, 5, 6, 7"
    assert listed("row", np.arange(9)) == "rows 0, 1, 2, 3, 4, 5, 6, 7 and 1 more"
    assert listed("row", np.arange(18)) == "rows 0, 1, 2, 3, 4, 5, 6, 7 and 10 more"


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


def test_lines_that_are_more_than_half_of_all_say_nothing() -> None:
    truth = np.ones((6, 6))
    for rows, said in ((3, " All that is wrong lies in rows 0, 1, 2."), (4, "")):
        candidate = truth.copy()
        candidate[:rows] += 2
        leaf = evidence("w", candidate, truth)
        assert where_wrong(leaf) == f"The largest difference is at [0, 0].{said}"


def test_where_a_vector_is_wrong_is_one_entry() -> None:
    leaf = evidence("w", [1, 2, 1], np.ones(3))
    assert where_wrong(leaf) == "The largest difference is at [1]."
    cube = zeroed(np.ones((4, 4, 4)), (1, 2, 3))
    leaf = evidence("w", cube, np.ones((4, 4, 4)))
    assert where_wrong(leaf) == "The largest difference is at [1, 2, 3]."


def test_entries_that_are_not_finite_are_counted_in_every_leaf() -> None:
    two, four = np.ones(2), np.ones((2, 2))
    leaves = [evidence("a", [1, np.nan], two), evidence("b", 2 * two, two)]
    (claim,) = nonfinite(case(*leaves, evidence("c", np.inf * four, four)))
    assert list(claim.explanations) == ["a", "c"]
    assert claim.explanations["a"].startswith("1 of 2 entries is not finite, the first")
    assert "at [1]; the first such leaf is a. " in claim.explanations["a"]
    assert "4 of 4 entries are not finite" in claim.explanations["c"]
    assert "at [0, 0]; the first such leaf is a. " in claim.explanations["c"]


GRID = np.arange(1.0, 13.0).reshape(4, 3) ** 2


def zeroed(truth: np.ndarray, *where: Any) -> np.ndarray:
    found = truth.copy()
    for index in where:
        found[index] = 0
    return found


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (zeroed(GRID, 1), "row 1 of 4 zero, the rest right."),
        (zeroed(GRID, 0, 3), "rows 0, 3 of 4 zero, the rest right."),
        (zeroed(GRID, np.s_[:, 2]), "column 2 of 3 zero, the rest right."),
        (zeroed(GRID, np.s_[:3]), "rows 0, 1, 2 of 4 zero, the rest right."),
        (2 * zeroed(GRID, 1), None),
        (zeroed(GRID, np.s_[1:, 1:]), None),
        (-GRID, None),
    ],
)
def test_lines_of_zeros(candidate: np.ndarray, said: str | None) -> None:
    assert told(zero, evidence("w", candidate, GRID)) == ({"w": said} if said else {})


def test_line_that_is_rightly_zero_is_not_counted() -> None:
    truth = zeroed(GRID, 2)
    found = told(zero, evidence("w", zeroed(truth, 0), truth))
    assert found == {"w": "row 0 of 4 zero, the rest right."}


def test_leaf_of_zeros_is_claimed_once() -> None:
    said = "The leaf is zero: nothing is carried back to it, or it is forgotten."
    leaves = [evidence("a", 0 * GRID, GRID), evidence("b", -GRID, GRID)]
    (claim,) = zero(case(*leaves, evidence("c", np.zeros(3), np.ones(3))))
    assert claim.explanations == {"a": said, "c": said}
    assert told(zero, evidence("a", GRID, 0 * GRID)) == {}


def test_zeros_in_a_vector_are_no_lines_and_in_three_axes_are() -> None:
    vector, cube = np.arange(1.0, 6.0), np.arange(1.0, 25.0).reshape(2, 3, 4)
    assert told(zero, evidence("b", zeroed(vector, 1, 3), vector)) == {}
    found = told(zero, evidence("k", zeroed(cube, np.s_[:, 1]), cube))
    assert found == {"k": "column 1 of 3 zero, the rest right."}


def test_sign_is_told_of_each_leaf() -> None:
    leaves = [evidence("a", -GRID, GRID), evidence("b", 2 * GRID, GRID)]
    found = told(sign, *leaves, evidence("c", -1.0, np.array(1.0)))
    said = "The gradient has the opposite sign: minus once too often, or forgotten."
    assert found == {"a": said, "c": said}


def test_one_entry_is_told_of_two_and_not_of_one() -> None:
    found = told(
        one_entry,
        evidence("alone", [7.0], np.ones(1)),
        evidence("two", [1.0, 7.0], np.ones(2)),
        evidence("grid", zeroed(GRID, (2, 1)), GRID),
        evidence("both", [7.0, 8.0], np.ones(2)),
    )
    assert found == {
        "two": "Only entry [1] is wrong: 7 where 1 must be.",
        "grid": "Only entry [2, 1] is wrong: 0 where 64 must be.",
    }


FIVE = (np.ones((5, 2)),)
"""Arguments of a batch of five."""


def test_factor_has_a_name_where_it_fits() -> None:
    leaves = [evidence("a", 5 * GRID, GRID), evidence("b", 6 * GRID, GRID)]
    found = told(named_scale, *leaves, evidence("c", 5.0, np.array(1.0)), args=FIVE)
    said = "5 times the gradient: the batch size m, so a sum where the loss is a mean."
    assert found == {"a": said, "c": said}


def test_batch_of_two_is_divided_by_one_as_well() -> None:
    factors = [name for _, name in named_factors(case_of(np.ones((2, 1))))]
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
    found = case_of(np.ones((3, 2)), np.array(weights))
    names = [name for _, name in named_factors(found)]
    assert ("the sum of the weights, which it is not divided by" in names) == known


def test_weights_so_small_that_a_factor_overflows_are_passed_over() -> None:
    tiny = np.full(5, 1e-320)
    assert told(named_scale, evidence("a", 6 * GRID, GRID), args=(*FIVE, tiny)) == {}


@pytest.mark.parametrize(
    ("factor", "said"), [(3.5, "3.5"), (-2.0, "-2"), (1.0001, "1.0001")]
)
def test_free_factor_is_told_to_six_digits(factor: float, said: str) -> None:
    leaves = [evidence("a", factor * GRID, GRID), evidence("b", GRID + 1, GRID)]
    found = told(free_scale, *leaves, evidence("c", [factor], np.ones(1)))
    said = f"{said} times the gradient, everywhere in the leaf."
    assert found == {"a": said, "c": said}


THETA = np.cos(np.arange(12.0)).reshape(4, 3)


def decayed(added: np.ndarray, theta: np.ndarray = THETA) -> dict[str, str]:
    return told(weight_decay, evidence("w", GRID + added, GRID, parameter=theta))


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
