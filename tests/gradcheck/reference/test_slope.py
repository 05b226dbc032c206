"""The slope of a loss of one number, which is evaluated without rounding."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest

from handgrad.gradcheck.reference.dtypes import unit_of
from handgrad.gradcheck.reference.float64 import Evaluated, Point
from handgrad.gradcheck.reference.slope import Line, constants_of
from handgrad.gradcheck.reference.tolerance import SHARED

EPS = 2.0**-52
H = float(np.cbrt(EPS))
AHEAD = [np.ones(1)]


def line(
    loss: Callable[[float], float], slope: float, here: float = 0.0, lost: float = 0.0
) -> Line:
    """Through 0, where the reference has this value and slope."""
    truth = Evaluated(here, [np.array([slope])], np.dtype("float64"))
    return Line(lambda values: loss(values[0].item()), truth, [np.zeros(1)], lost)


def test_steps_are_two_and_a_hundred_times_shorter_where_these_contradict() -> None:
    seen = []

    def flat(w: float) -> float:
        seen.append(w)
        return 0.0

    steps = [H, -H, H / 2, -H / 2]
    assert line(flat, 0.0).contradicts(AHEAD) == (False, False)
    assert seen == steps
    seen.clear()
    assert line(flat, 1.0).contradicts(AHEAD) == (True, False)
    assert seen == pytest.approx([*steps, *(step / 100 for step in steps)], rel=1e-12)


@pytest.mark.parametrize("here", [1e6, -1e6])
@pytest.mark.parametrize("sign", [1, -1])
def test_value_may_be_off_by_a_hundred_roundings(here: float, sign: int) -> None:
    allowed = sign * 100 * EPS * 1e6 / H
    for share, off in ((0.999, False), (1.001, True)):
        found = line(lambda w: here, share * allowed, here).contradicts(AHEAD)
        assert found == (off, False)


@pytest.mark.parametrize("lost", [1e-6, 1e-3])
def test_value_may_be_off_by_ten_times_what_rounding_moves_it(lost: float) -> None:
    for share, off in ((0.999, False), (1.001, True)):
        slope = share * 10 * lost / H
        assert line(lambda w: 0.0, slope, lost=lost).contradicts(AHEAD) == (off, False)


@pytest.mark.parametrize("size", [1.0, 1e3])
def test_A3_finds_a_kink_in_a_corner_and_none_in_a_curve(size: float) -> None:
    curve, corner = (
        line(lambda w: size * w * w, 0.0),
        line(lambda w: size * abs(w), 0.0),
    )
    assert curve.contradicts(AHEAD) == (False, False)
    assert corner.contradicts(AHEAD) == (False, True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_constants_are_rounded_as_the_narrowest_dtype_inside(dtype: str) -> None:
    def loss(x: jnp.ndarray) -> jnp.ndarray:
        return jnp.sum(jnp.sin(x.astype(dtype)).astype(jnp.float32))

    point = Point(loss, jnp.ones(3), ())
    assert constants_of(point) == pytest.approx(SHARED * unit_of(jnp.dtype(dtype)))
