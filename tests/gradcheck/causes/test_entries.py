"""Causes read off the entries: NaN and infinity, zeros, a single wrong entry."""

from typing import Any

import numpy as np
import pytest
from gradcheck.cases import GRID, comparison, explained, mismatch

from handgrad.gradcheck.causes.entries import nonfinite, one_entry, where_wrong, zero


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
