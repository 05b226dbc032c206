"""The derivatives of one entry from both sides: where they differ, what they hold."""

import pytest

from handgrad.gradcheck.reference.sides import Sides


@pytest.mark.parametrize(("right", "kink"), [(1.0, False), (1.19, False), (1.21, True)])
def test_a_kink_is_where_they_differ_by_more_than_both_may_be_off(
    right: float, kink: bool
) -> None:
    assert Sides(1.0, right, 0.1).kink is kink
    assert Sides(right, 1.0, 0.1).kink is kink


@pytest.mark.parametrize(
    ("value", "room", "holds"),
    [
        (0.0, 0.0, True),
        (1.05, 0.0, True),
        (-1.05, 0.0, True),
        (1.15, 0.0, False),
        (-1.15, 0.0, False),
        (5.0, 0.0, False),
        (-5.0, 0.0, False),
        (1.15, 0.1, True),
        (-1.15, 0.1, True),
    ],
)
def test_between_the_sides_and_a_little_beside_is_held(
    value: float, room: float, holds: bool
) -> None:
    for sides in (Sides(-1.0, 1.0, 0.1), Sides(1.0, -1.0, 0.1)):
        assert sides.hold(value, room) is holds
