"""What a leaf shows, on numbers small enough to do by hand."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import ArrayLike

from handgrad.gradcheck.comparison import Comparison, ratio
from handgrad.gradcheck.reference.tolerance import Floor

TRUTH = np.array([3.0, -4.0, 0.0, 0.0])
PARAMETER = np.array([0.0, 0.0, 2.0, 0.0])
WIDE = Floor(np.inf, np.inf, np.inf, np.inf)


def comparison(candidate: ArrayLike, floor: Floor = WIDE, truth=TRUTH) -> Comparison:
    return Comparison(
        "w", PARAMETER, np.asarray(candidate), truth, floor, np.dtype(np.float32)
    )


@pytest.mark.parametrize(
    ("floor", "expected"),
    [
        (WIDE._replace(rms=0.25), 2.0),  # rms of (0, 0, 1, 0) is 1 / 2
        (WIDE._replace(worst=0.25), 4.0),  # its largest entry is 1
        (WIDE._replace(along_gradient=0.25), 0.0),  # it is across the gradient
        (WIDE._replace(along_parameter=0.25), 2.0),  # 2 / 4 of the parameter
        (Floor(0.5, 0.5, 0.5, 0.1), 5.0),  # the strictest counts
    ],
)
def test_excess_is_the_strictest_of_four_measures(
    floor: Floor, expected: float
) -> None:
    assert comparison(TRUTH + [0, 0, 1, 0], floor).excess == pytest.approx(expected)
    assert comparison(TRUTH - [0, 0, 1, 0], floor).excess == pytest.approx(expected)


def test_excess_along_the_gradient_is_a_factor() -> None:
    floor = WIDE._replace(along_gradient=0.01)
    assert comparison(0.9 * TRUTH, floor).excess == pytest.approx(10)


def test_stretch_widens_every_floor() -> None:
    leaf = comparison(TRUTH, Floor(0.5, 0.5, 0.5, 0.1))
    assert leaf.excess_of(np.array([0, 0, 1.0, 0]), 2.0) == pytest.approx(2.5)


def test_wrong_is_above_the_floor_and_not_at_it() -> None:
    floor = WIDE._replace(worst=1.0)
    assert not comparison(TRUTH + [0, 0, 1, 0], floor).wrong
    assert comparison(TRUTH + [0, 0, 1.01, 0], floor).wrong
    assert comparison(TRUTH[:3], floor).wrong
    assert comparison(TRUTH[:3], floor).misshapen
    assert comparison(np.ones(5), floor).misshapen
    assert not comparison(TRUTH, floor).misshapen


def test_blind_is_where_a_gradient_of_zero_would_pass() -> None:
    assert comparison(TRUTH, WIDE._replace(worst=4.0)).blind
    assert not comparison(TRUTH, WIDE._replace(worst=3.9)).blind


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_candidate_that_is_not_finite_is_endlessly_wrong(bad: float) -> None:
    leaf = comparison([3.0, bad, 9.0, 0.0])
    assert leaf.excess == np.inf
    assert leaf.worst_index == (1,)
    assert not leaf.explained_by(leaf.candidate)


def test_worst_index_is_where_the_difference_is_largest() -> None:
    assert comparison(TRUTH + [1, 0, -2, 1]).worst_index == (2,)


def test_explained_is_within_a_share_of_the_floor() -> None:
    leaf = comparison(TRUTH + [0, 0, 1, 0], WIDE._replace(worst=1.0))
    assert leaf.explained_by(TRUTH + [0, 0, 0.41, 0])
    assert not leaf.explained_by(TRUTH + [0, 0, 0.39, 0])
    assert not leaf.explained_by(TRUTH[:3])
    edge = comparison(TRUTH + [0, 0, 3, 0], WIDE._replace(worst=5.0))
    assert edge.explained_by(TRUTH)  # 3 is 0.6 of 5


def test_floor_of_a_larger_prediction_is_as_much_wider() -> None:
    leaf = comparison(10 * TRUTH + [0, 0, 5, 0], WIDE._replace(worst=1.0))
    assert leaf.stretch(2.5 * TRUTH) == pytest.approx(2.5)
    assert leaf.stretch(TRUTH / 10) == 1
    assert leaf.explained_by(10 * TRUTH)
    assert comparison(TRUTH, truth=0 * TRUTH).stretch(TRUTH) == 1


def test_ratio_to_no_room_at_all() -> None:
    assert ratio(0.0, 0.0) == 0
    assert ratio(1.0, 0.0) == np.inf
    assert ratio(1.0, 4.0) == 0.25


def test_leaf_whose_residual_is_kept_cannot_be_changed() -> None:
    leaf = comparison(TRUTH + [1, 0, 0, 0])
    assert leaf.residual.tolist() == [1, 0, 0, 0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        leaf.candidate = TRUTH  # pyright: ignore[reportAttributeAccessIssue]
