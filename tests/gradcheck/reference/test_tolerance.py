"""The rounding floor, on numbers small enough to do by hand."""

import numpy as np
import pytest

from handgrad.gradcheck.reference.norms import largest, projection, rms
from handgrad.gradcheck.reference.tolerance import (
    PROJECTED,
    SAFETY,
    SHARED,
    Losses,
    along_lines,
    floor_of,
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
    assert lost[:4] == pytest.approx((0.3, 0.3, 0.05, 0.15))
    assert lost.lines == ()


def test_share_along_the_lines_is_as_large_as_the_numbers() -> None:
    values, direction = np.array([[3.0, 4.0], [0.0, 5.0]]), np.array([[1.0, 0], [3, 4]])
    rows, columns = rms(np.array([3.0, 4.0])), rms(np.array([3 / np.sqrt(10), 5.0]))
    for size in (1.0, -1e-200, 1e200):
        came = along_lines(size * values, direction)
        assert came == pytest.approx((abs(size) * rows, abs(size) * columns))
    assert along_lines(values, np.zeros((2, 2))) == (0.0, 0.0)


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


def test_floor_along_lines_has_the_room_of_as_many_lines_as_there_are() -> None:
    truth, lines = np.ones((3, 10)), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    lost = Losses(0, 0, 0, 0, lines)
    floor = floor_of(truth, truth, lost, unit=0.0, usual=0.0)
    rooms = (room(3), room(10)) * 3
    expected = [SAFETY * r * line for r, line in zip(rooms, lines, strict=True)]
    assert floor.lines == pytest.approx(expected)


def test_direction_of_zeros_bounds_nothing() -> None:
    lost = Losses(1e-5, 1e-5, 1e-5, 1e-5)
    floor = floor_of(np.ones(3), np.zeros(3), lost, unit=1e-8, usual=0.0)
    assert floor.along_parameter == np.inf


def test_room_of_small_leaves() -> None:
    assert [room(n) for n in (0, 1, 2, 10)] == pytest.approx([4, 4, 1.75, 1.03])


@pytest.mark.parametrize(
    ("lost", "unit", "entries", "gradient", "parameter"),
    [
        (Losses(0, 0, 0.3, 0.7), 0, 4, 10 * 1.1875 * 0.3, 10 * 1.1875 * 0.7),
        (Losses(1, 0, 0, 0), 0, 4, 10 * 1.1875 / 2 / 2, 10 * 1.1875 / 2 / 5),
        (Losses(1, 0, 0, 0), 0, 1, 10 * 4 / 2, 10 * 4 / 5),
        (Losses(0, 0, 0, 0), 1, 400, 4, 4 * 2 / 5),
    ],
)
def test_each_bound_of_a_projection(
    lost: Losses, unit: float, entries: int, gradient: float, parameter: float
) -> None:
    """T5, term by term: |g| = 2 and |theta| = 5, root mean square."""
    truth, theta = np.full(entries, -2.0), np.full(entries, 5.0)
    floor = floor_of(truth, theta, lost, unit=unit, usual=0.0)
    assert floor.along_gradient == pytest.approx(gradient)
    assert floor.along_parameter == pytest.approx(parameter)
    small = Losses(1e-3 * lost.rms, 0, lost.along_gradient, lost.along_parameter)
    floor = floor_of(1e-3 * truth, 1e-3 * theta, small, unit=unit, usual=0.0)
    assert floor.along_gradient == pytest.approx(gradient)
    assert floor.along_parameter == pytest.approx(parameter)


def test_usual_loss_counts_where_it_is_above_the_unit_roundoff() -> None:
    truth, none = np.full(400, 2.0), Losses(0, 0, 0, 0)
    c = 1 + 3 / 400**2
    for unit, usual in ((1e-8, 1e-5), (1e-5, 1e-8)):
        floor = floor_of(truth, truth, none, unit=unit, usual=usual)
        assert floor.rms == pytest.approx(5 * c * 2e-5)
        assert floor.worst == pytest.approx(5 * c * 2e-5)


def test_floor_of_an_empty_leaf() -> None:
    none, empty = Losses(0, 0, 0, 0), np.zeros(0)
    floor = floor_of(empty, empty, none, unit=1e-8, usual=0.0)
    assert floor == (0, 0, np.inf, np.inf, ())


def test_what_is_endless_stays_so() -> None:
    endless = np.array([1.0, -np.inf])
    assert rms(endless) == largest(endless) == np.inf
    assert projection(np.ones(2), endless) == 0
    assert np.isnan(rms(np.array([1.0, np.nan])))
    lost = Losses(1e-5, 1e-5, 1e-5, 1e-5)
    floor = floor_of(np.ones(2), endless, lost, unit=1e-8, usual=0.0)
    assert floor.along_parameter == np.inf


def test_small_numbers_have_an_rms_and_a_projection() -> None:
    small = np.array([3e-3, -4e-3])
    assert rms(small) == pytest.approx(1e-3 * np.sqrt(12.5))
    assert projection(7 * small, small) == pytest.approx(7)
    assert projection(np.ones(2), 1e-200 * np.ones(2)) == pytest.approx(1e200)


def test_usual_loss_where_no_leaf_has_a_gradient() -> None:
    assert typical([Losses(1, 1, 1, 1)], [0.0]) == 0
    assert typical([Losses(0.5, 1, 1, 1)], [0.25]) == pytest.approx(2)


def test_loss_of_no_probe_is_none() -> None:
    truth = np.ones(2)
    assert Losses.of(truth, truth, []) == (0, 0, 0, 0, ())
    assert Losses.of(truth, truth, [truth * np.nan]) == (0, 0, 0, 0, ())
    down = Losses.of(truth, 2 * truth, [truth - 0.5])
    assert down[:4] == pytest.approx((0.5, 0.5, 0.5, 0.25))
