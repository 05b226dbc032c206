"""The rounding floor, on numbers small enough to do by hand."""

import numpy as np
import pytest

from handgrad.gradcheck.tolerance import (
    PROJECTED,
    SAFETY,
    SHARED,
    Losses,
    floor_of,
    largest,
    projection,
    rms,
    room,
    typical,
)


def test_rms_of_three_and_four() -> None:
    assert rms(np.array([3.0, -4.0])) == pytest.approx(np.sqrt(12.5))


def test_rms_does_not_overflow() -> None:
    assert rms(np.array([3e300, -4e300])) == pytest.approx(np.sqrt(12.5) * 1e300)


def test_rms_and_largest_of_nothing_are_zero() -> None:
    assert (rms(np.zeros((0, 3))), largest(np.zeros((0, 3)))) == (0.0, 0.0)


def test_projection_is_the_factor_of_the_direction() -> None:
    direction, across = np.array([1.0, 2.0, 2.0]), np.array([2.0, -1.0, 0.0])
    assert projection(3 * direction + across, direction) == pytest.approx(3)
    assert projection(direction, np.zeros(3)) == 0


def test_losses_are_the_largest_over_the_probes_and_skip_overflow() -> None:
    truth = np.array([1.0, 1.0])
    probes = [truth + [0.0, 0.1], truth + [0.3, -0.3], truth + [np.inf, 0]]
    lost = Losses.of(truth, np.array([2.0, 0.0]), probes)
    assert lost == pytest.approx((0.3, 0.3, 0.05, 0.15))


def test_usual_loss_is_the_median_over_the_leaves_that_have_a_gradient() -> None:
    lost = [Losses(loss, 0, 0, 0) for loss in (0.1, 0.2, 0.9, 5.0)]
    assert typical(lost, [1.0, 1.0, 1.0, 0.0]) == pytest.approx(0.2)


def test_floor_is_what_was_lost_times_the_safety() -> None:
    truth, parameter = np.array([1.0, -2.0]), np.array([2.0, 2.0])
    lost = Losses(1e-5, 2e-5, 3e-5, 4e-5)
    floor = floor_of(truth, parameter, lost, unit=1e-8, usual=0.0)
    assert floor.rms == pytest.approx(SAFETY * 1.75 * 1e-5)
    assert floor.worst == pytest.approx(SAFETY * 1.75 * 2e-5)
    assert floor.along_gradient == pytest.approx(PROJECTED * 1.75 * 3e-5)
    assert floor.along_parameter == pytest.approx(PROJECTED * 1.75 * 4e-5)


def test_floor_is_never_below_the_unit_roundoff_or_what_is_usual() -> None:
    truth, none = np.array([1.0, -2.0]), Losses(0, 0, 0, 0)
    low = floor_of(truth, truth, none, unit=1e-8, usual=0.0)
    usual = floor_of(truth, truth, none, unit=1e-8, usual=1e-5)
    assert low.rms == pytest.approx(SAFETY * 1.75 * 1e-8 * np.sqrt(2.5))
    assert usual.worst == pytest.approx(SAFETY * 1.75 * 1e-5 * 2)
    noise = PROJECTED * 1.75 * 1e-8 / np.sqrt(2)  # incoherent noise, over 2
    assert low.along_gradient == pytest.approx(max(noise, SHARED * 1e-8))


@pytest.mark.parametrize(("entries", "odds"), [(1, 2e-4), (2, 2e-5), (3, 5e-6), (8, 0)])
def test_right_leaf_of_normal_errors_is_hardly_ever_above(
    entries: int, odds: float
) -> None:
    drawn = np.random.default_rng(0).standard_normal((4, 1_000_000, entries))
    error, *lost = np.sqrt(np.mean(drawn**2, axis=2))
    above = error > SAFETY * room(entries) * np.max(lost, axis=0)
    assert np.mean(above) <= odds


def test_direction_of_zeros_bounds_nothing() -> None:
    lost = Losses(1e-5, 1e-5, 1e-5, 1e-5)
    floor = floor_of(np.ones(3), np.zeros(3), lost, unit=1e-8, usual=0.0)
    assert floor.along_parameter == np.inf
