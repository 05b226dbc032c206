"""How far two evaluations of a rule may be apart, and what counts as the same."""

from typing import Any

import numpy as np
import pytest

from handgrad.gradcheck.reference.tolerance import Floor
from handgrad.gradcheck.rules.agreement import UNKNOWN_FLOOR, comparison_of, widened
from handgrad.gradcheck.rules.derivatives import named
from handgrad.gradcheck.rules.linear import room_of

DIRECTION, FOUND = np.array([3, 4], "float32"), np.array([[5, 12]], "float32")
FLOOR = Floor(0.25, 0.5, 1.0, 1.0)
EPS = float(np.finfo(np.float32).eps)


def test_room_is_that_of_the_floors_and_of_the_sum() -> None:
    """|direction| is 5 and |found| is 13."""
    assert room_of([DIRECTION], [FOUND], None) == pytest.approx(8 * EPS * 5 * 13)
    assert room_of([DIRECTION], None, [(FLOOR, None)]) == pytest.approx(2 * 0.25 * 5)
    both = room_of([DIRECTION] * 2, [FOUND] * 2, [(FLOOR, None)] * 2)
    assert both == pytest.approx(2 * (2.5 + 8 * EPS * 65))


@pytest.mark.parametrize(
    ("truth", "expected", "times", "more"),
    [
        ([3.0, -4.0], [3.0, -4.0], 2, 2),
        ([3.0, -4.0], [0.3, 0.4], 2, 2),
        ([3.0, -4.0], [-40.0, 30.0], 20, 20),
        ([1.0, 1.0], [1.0, 7.0], 10, 14),
        ([0.0, 0.0], [1.0, 7.0], 2, 2),
    ],
)
def test_floor_grows_with_what_is_compared(
    truth: Any, expected: Any, times: float, more: float
) -> None:
    found = widened(FLOOR, np.array(truth), np.array(expected), np.dtype("float64"))
    assert found[:2] == pytest.approx((0.25 * times, 0.5 * more))


def test_floor_that_was_not_measured_is_one_of_many_roundings() -> None:
    found = widened(None, DIRECTION, np.array([1.0, 7.0]), np.dtype("float32"))
    assert found[:2] == pytest.approx(
        (UNKNOWN_FLOOR * EPS * 5, UNKNOWN_FLOOR * EPS * 7)
    )


@pytest.mark.parametrize(
    ("expected", "got", "wrong"),
    [
        ([np.nan, 1.0], [np.nan, 1.0], False),
        ([np.inf, -np.inf], [np.inf, -np.inf], False),
        ([np.inf, 1.0], [-np.inf, 1.0], True),
        ([np.inf, 1.0], [np.nan, 1.0], True),
        ([np.nan, 1.0], [0.0, 1.0], True),
        ([0.0, 1.0], [np.inf, 1.0], True),
        ([np.nan, 1.0], [np.nan, 1.5], True),
    ],
)
def test_what_is_no_number_is_right_where_it_is_the_same(
    expected: Any, got: Any, wrong: bool
) -> None:
    leaf = comparison_of("x", np.array(expected), np.array(got), None)
    assert leaf.wrong is wrong


def test_outputs_are_named_by_their_place() -> None:
    names = ["output[0]", "output['b']"]
    came = [named(path, names) for path in ("[0]", "[1]", "[2]", "x", "[0][1]")]
    assert came == [*names, "[2]", "x", "[0][1]"]
