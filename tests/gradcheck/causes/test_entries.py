"""Causes read off the entries, and off their places."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import (
    GRID,
    WEIGHT,
    causes,
    check,
    comparison,
    explained,
    leaf_of,
    mismatch,
    spoiled,
)

from handgrad import check_gradients
from handgrad.gradcheck.causes.entries import (
    exchanged,
    nonfinite,
    one_entry,
    permuted,
    transposed,
    where_wrong,
    zero,
)


def zeroed(truth: np.ndarray, *where: Any) -> np.ndarray:
    found = truth.copy()
    for index in where:
        found[index] = 0
    return found


@pytest.mark.parametrize(
    ("off", "text"),
    [
        ([(2, 1)], "All that is wrong lies in row 2."),
        ([(2, 1), (3, 0)], "All that is wrong lies in rows 2, 3."),
        ([(0, 1), (1, 1), (2, 1)], "All that is wrong lies in column 1."),
        ([(0, 0), (1, 1), (2, 2)], ""),
    ],
)
def test_where_a_matrix_is_wrong(off: list[tuple[int, int]], text: str) -> None:
    truth = np.ones((4, 3))
    candidate = truth.copy()
    for index in off:
        candidate[index] += 1.5
    candidate[3, 2] += 1.0  # at the floor, and so not wrong
    candidate[off[-1]] += 1
    leaf = comparison("w", candidate, truth, floor=1.0)
    expected = f"The largest difference is at {list(off[-1])}. {text}".rstrip()
    assert where_wrong(leaf) == expected


def test_lines_that_are_more_than_half_of_all_say_nothing() -> None:
    truth = np.ones((6, 6))
    for rows, text in ((3, " All that is wrong lies in rows 0, 1, 2."), (4, "")):
        candidate = truth.copy()
        candidate[:rows] += 2
        leaf = comparison("w", candidate, truth)
        assert where_wrong(leaf) == f"The largest difference is at [0, 0].{text}"


def test_where_a_vector_is_wrong_is_one_entry() -> None:
    leaf = comparison("w", [1, 2, 1], np.ones(3))
    assert where_wrong(leaf) == "The largest difference is at [1]."
    cube = zeroed(np.ones((4, 4, 4)), (1, 2, 3))
    leaf = comparison("w", cube, np.ones((4, 4, 4)))
    assert where_wrong(leaf) == "The largest difference is at [1, 2, 3]."


def test_entries_that_are_not_finite_are_counted_in_every_leaf() -> None:
    two, four = np.ones(2), np.ones((2, 2))
    leaves = [comparison("a", [1, np.nan], two), comparison("b", 2 * two, two)]
    (claim,) = nonfinite(mismatch(*leaves, comparison("c", np.inf * four, four)))
    assert list(claim.explanations) == ["a", "c"]
    assert claim.explanations["a"].startswith("1 of 2 entries is not finite, the first")
    assert "at [1]; the first such leaf is a. " in claim.explanations["a"]
    assert "4 of 4 entries are not finite" in claim.explanations["c"]
    assert "at [0, 0]; the first such leaf is a. " in claim.explanations["c"]


@pytest.mark.parametrize(
    ("candidate", "text"),
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
def test_lines_of_zeros(candidate: np.ndarray, text: str | None) -> None:
    assert explained(zero, comparison("w", candidate, GRID)) == (
        {"w": text} if text else {}
    )


def test_line_that_is_rightly_zero_is_not_counted() -> None:
    truth = zeroed(GRID, 2)
    found = explained(zero, comparison("w", zeroed(truth, 0), truth))
    assert found == {"w": "row 0 of 4 zero, the rest right."}


def test_leaf_of_zeros_is_claimed_once() -> None:
    text = "The leaf is zero: nothing is carried back to it, or it is forgotten."
    leaves = [comparison("a", 0 * GRID, GRID), comparison("b", -GRID, GRID)]
    (claim,) = zero(mismatch(*leaves, comparison("c", np.zeros(3), np.ones(3))))
    assert claim.explanations == {"a": text, "c": text}
    assert explained(zero, comparison("a", GRID, 0 * GRID)) == {}


def test_zeros_in_a_vector_are_no_lines_and_in_three_axes_are() -> None:
    vector, cube = np.arange(1.0, 6.0), np.arange(1.0, 25.0).reshape(2, 3, 4)
    assert explained(zero, comparison("b", zeroed(vector, 1, 3), vector)) == {}
    found = explained(zero, comparison("k", zeroed(cube, np.s_[:, 1]), cube))
    assert found == {"k": "column 1 of 3 zero, the rest right."}


def test_one_entry_is_told_of_two_and_not_of_one() -> None:
    found = explained(
        one_entry,
        comparison("alone", [7.0], np.ones(1)),
        comparison("two", [1.0, 7.0], np.ones(2)),
        comparison("grid", zeroed(GRID, (2, 1)), GRID),
        comparison("both", [7.0, 8.0], np.ones(2)),
    )
    assert found == {
        "two": "Only entry [1] is wrong: 7 where 1 must be.",
        "grid": "Only entry [2, 1] is wrong: 0 where 64 must be.",
    }


ORDER = jnp.array([0, 3, 2, 1, 4, 5])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda g: g[::-1], "The rows are right but out of order: 0 holds 5, 1 holds"),
        (lambda g: g[ORDER], "out of order: 1 holds 3, 3 holds 1."),
        (lambda g: jnp.roll(g, 1, axis=1), "The columns are right but out of order"),
        (lambda g: g.T.reshape(6, 4), "look for a reshape"),
    ],
)
def test_moved_lines_are_told_and_listed(change: Any, text: str) -> None:
    report = check(spoiled(weight=change))
    assert causes(report) == {WEIGHT: "entries_swapped"}
    assert text in leaf_of(report, WEIGHT).explanation


def test_moved_entries_of_a_bias() -> None:
    report = check(spoiled(bias=lambda g: jnp.roll(g, 1)))
    assert "The entries are right but out of order" in report.wrong[0].explanation


def test_square_transpose_is_told_though_its_shape_is_right() -> None:
    x = jnp.asarray(np.random.default_rng(0).standard_normal((5, 5)), jnp.float32)
    report = check_gradients(lambda w: jnp.sum(jnp.sin(w)), lambda w: jnp.cos(w).T, x)
    assert causes(report) == {"(params)": "transposed"}


def test_symmetric_gradient_is_its_own_transpose() -> None:
    x = jnp.full((5, 5), 0.5)
    report = check_gradients(lambda w: jnp.sum(w**2), lambda w: 2 * w.T, x)
    assert report.ok


def test_wrong_shape_that_is_no_transpose_is_a_structure() -> None:
    report = check(spoiled(weight=lambda g: -g.T))
    assert causes(report) == {WEIGHT: "structure"}


def test_exchanged_leaves_name_each_other() -> None:
    params = {"a": jnp.arange(1.0, 6.0), "b": jnp.linspace(2.0, 3.0, 5)}
    report = check_gradients(
        lambda p: jnp.sum(p["a"] ** 2 + p["b"] ** 3),
        lambda p: {"a": 3 * p["b"] ** 2, "b": 2 * p["a"]},
        params,
    )
    assert causes(report) == {"['a']": "entries_swapped", "['b']": "entries_swapped"}
    assert "This is the gradient of ['b']." in report.wrong[0].explanation


GRID = np.arange(1.0, 13.0).reshape(4, 3) ** 2


def test_transpose_names_both_shapes() -> None:
    found = explained(
        transposed,
        comparison("turned", GRID.T, GRID),
        comparison("right", GRID, GRID),
        comparison("vector", np.ones(3), np.arange(3.0)),
        comparison("row", GRID[:1].T, GRID[:1]),
        comparison("column", GRID[:, :1].T, GRID[:, :1]),
        comparison("another", 2 * GRID.T, GRID),
        comparison("flat", np.ones(12), GRID),
        comparison("cube", np.ones((2, 3, 4)), np.zeros((4, 3, 2))),
        comparison("turned too", GRID.T, GRID),
    )
    text = "The transpose: shape (3, 4) where (4, 3) must be, and the entries agree "
    assert list(found) == ["turned", "turned too"]
    assert found["turned"].startswith(text)
    assert explained(transposed, comparison("a", -GRID, GRID)) == {}


def test_transpose_of_three_axes_is_all_of_them_reversed() -> None:
    cube = np.arange(24.0).reshape(2, 3, 4) ** 2
    (text,) = explained(transposed, comparison("k", cube.T, cube)).values()
    assert text.startswith("The transpose: shape (4, 3, 2) where (2, 3, 4) must be")
    assert explained(transposed, comparison("k", cube.transpose(2, 0, 1), cube)) == {}


def test_transpose_may_be_off_by_rounding() -> None:
    truth = np.array([[3.0, 5.0], [7.0, 9.0]])
    for off, known in ((1.0, True), (1.5, False)):
        leaf = comparison("w", (truth + off).T, truth, floor=1.0)
        assert bool(explained(transposed, leaf)) == known


def test_exchanged_leaf_is_named_once_and_never_itself() -> None:
    a, b = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    found = explained(exchanged, comparison("a", b, a), comparison("b", a, b))
    assert found == {
        "a": "This is the gradient of b.",
        "b": "This is the gradient of a.",
    }
    scalar, other = np.array(1.0), np.array(2.0)
    assert (
        explained(exchanged, comparison("a", other, scalar), comparison("b", 9, other))
        == {}
    )
    twice = explained(
        exchanged, comparison("a", b, a), comparison("b", b, b), comparison("c", b, b)
    )
    assert twice == {"a": "This is the gradient of b."}
    assert explained(exchanged, comparison("a", 7 * b, a), comparison("b", b, b)) == {}


@pytest.mark.parametrize(
    ("order", "text"),
    [
        ([1, 0, 2, 3], "0 holds 1, 1 holds 0."),
        ([3, 0, 1, 2], "0 holds 3, 1 holds 0, 2 holds 1, 3 holds 2."),
    ],
)
def test_moved_rows_and_columns(order: list[int], text: str) -> None:
    rows = explained(permuted, comparison("w", GRID[order], GRID))
    assert rows == {"w": f"The rows are right but out of order: {text}"}
    columns = explained(permuted, comparison("w", GRID[order].T, GRID.T))
    assert columns == {"w": f"The columns are right but out of order: {text}"}
    entries = explained(permuted, comparison("b", GRID[order, 0], GRID[:, 0]))
    assert entries == {"b": f"The entries are right but out of order: {text}"}


def test_more_than_four_moves_are_counted() -> None:
    truth = np.arange(1.0, 8.0)
    (text,) = explained(permuted, comparison("b", np.roll(truth, 1), truth)).values()
    assert text.endswith("3 holds 2 and 3 more.")
    five = truth[[1, 2, 3, 4, 0, 5, 6]]
    (text,) = explained(permuted, comparison("b", five, truth)).values()
    assert text.endswith("3 holds 4 and 1 more.")
    eight = np.arange(1.0, 9.0)
    (text,) = explained(permuted, comparison("b", np.roll(eight, 1), eight)).values()
    assert text.endswith("3 holds 2 and 4 more.")


def test_entry_equal_to_one_that_moved_may_be_called_either() -> None:
    truth = np.array([4.0, 4.0, 1.0, 2.0])
    found = explained(permuted, comparison("b", truth[[2, 1, 0, 3]], truth))
    assert list(found) == ["b"]


def test_entries_that_rounding_exchanges_stay() -> None:
    truth = np.array([1.0, 1.0 + 1e-12, 3.0, 4.0])
    found = explained(permuted, comparison("b", truth[[1, 0, 3, 2]], truth))
    assert found == {
        "b": "The entries are right but out of order: 2 holds 3, 3 holds 2."
    }


@pytest.mark.parametrize(("here", "there"), [(0, 1), (1, 0), (1, 2), (2, 1)])
def test_line_that_is_copied_is_no_order(here: int, there: int) -> None:
    for grid in (GRID, GRID[::-1]):
        copied = grid.copy()
        copied[here] = grid[there]
        assert explained(permuted, comparison("w", copied, grid)) == {}


def test_entry_that_moves_hardly_is_told_from_one_that_stays() -> None:
    truth = np.array([1.0, 1.0 + 1e-5, 3.0, 4.0])
    found = explained(permuted, comparison("b", truth[[1, 0, 2, 3]], truth))
    assert found == {
        "b": "The entries are right but out of order: 0 holds 1, 1 holds 0."
    }


def test_what_did_not_move_stays_where_entries_are_equal() -> None:
    truth = np.array([4.0, 4.0, 1.0, 2.0, 4.0])
    found = explained(permuted, comparison("b", truth[[0, 1, 3, 2, 4]], truth))
    assert found == {
        "b": "The entries are right but out of order: 2 holds 3, 3 holds 2."
    }


def test_moves_along_a_third_axis_and_of_single_entries_are_a_reshape() -> None:
    cube = np.arange(1.0, 25.0).reshape(2, 3, 4) ** 2
    reshape = "The entries are right but out of order; look for a reshape"
    (text,) = explained(permuted, comparison("k", cube[:, :, ::-1], cube)).values()
    assert text.startswith(reshape)
    (text,) = explained(permuted, comparison("w", GRID.T.reshape(4, 3), GRID)).values()
    assert text.startswith(reshape)
    (text,) = explained(permuted, comparison("k", cube[::-1], cube)).values()
    assert text == "The rows are right but out of order: 0 holds 1, 1 holds 0."


def test_too_little_to_confirm_an_order() -> None:
    three, two = np.array([1.0, 2.0, 4.0]), np.array([[1.0], [2.0]])
    assert explained(permuted, comparison("b", three[::-1], three)) == {}
    assert explained(permuted, comparison("w", two[::-1], two)) == {}
    four = np.array([[1.0, 2.0], [4.0, 8.0]])
    assert list(explained(permuted, comparison("w", four[::-1], four))) == ["w"]
    turned = four.ravel()[[1, 2, 0, 3]].reshape(2, 2)
    (text,) = explained(permuted, comparison("w", turned, four)).values()
    assert "look for a reshape" in text
    line = np.array([[1.0, 2.0, 4.0, 8.0]])
    (text,) = explained(permuted, comparison("w", line[:, ::-1], line)).values()
    assert text.startswith("The columns are right but out of order: 0 holds 3")


def test_other_numbers_are_no_order() -> None:
    assert explained(permuted, comparison("w", GRID + 1, GRID)) == {}
    assert explained(permuted, comparison("b", GRID[:, 0] + 1, GRID[:, 0])) == {}


def test_right_leaf_beside_a_moved_one_is_not_told() -> None:
    found = explained(
        permuted, comparison("a", GRID, GRID), comparison("b", GRID[::-1], GRID)
    )
    assert list(found) == ["b"]


@pytest.mark.parametrize(("floor", "found"), [(1e-5, True), (1e-4, False)])
def test_small_moves_among_dense_entries_are_chance(floor: float, found: bool) -> None:
    """In reach of a move of 0.002 are four entries, and rounding covers 1/20 of it."""
    truth = np.linspace(1.0, 2.0, 1001)
    order = np.arange(1001).reshape(-1, 7)[:, [3, 0, 6, 1, 5, 2, 4]].ravel()
    leaf = comparison("b", truth[order], truth, floor)
    assert leaf.wrong
    assert bool(explained(permuted, leaf)) == found


def test_small_moves_of_complex_entries_are_chance() -> None:
    truth = 1 + 1e-3 * np.exp(1j * np.arange(8.0))
    assert explained(permuted, comparison("z", truth[::-1], truth)) == {}
    truth = np.exp(1j * np.arange(8.0))
    assert list(explained(permuted, comparison("z", truth[::-1], truth))) == ["z"]
