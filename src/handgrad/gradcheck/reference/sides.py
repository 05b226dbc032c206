"""One-sided derivatives of a loss, entry by entry: what a gradient may be at a kink.

    K1  D+(h) = (J(theta + h v) - J(theta)) / h
        D-(h) = (J(theta) - J(theta - h v)) / h
    K2  D = 2 D(h/2) - D(h),  error about |D(h/2) - D(h)|

with v one entry. Where D+ and D- differ there is a kink, and what lies between them is
a convention. Where they agree and autodiff says otherwise, autodiff is wrong: the
derivative of a program, as one of a rule that is off, need not be that of its function.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from handgrad.gradcheck.reference.dtypes import unit_of
from handgrad.gradcheck.reference.norms import finite, largest, rms
from handgrad.gradcheck.reference.slope import MARGIN, ROUNDINGS, Line

STEP = 0.25
"""The exponent: a step is u^(1/4) of what is usual in a leaf, and no kink far off."""

JUMPS = 1.3
"""How many times D(h) D(h/2) is where the loss jumps, or rises as a root does: a jump
makes it 2, a square root 1.4."""


class Sides(NamedTuple):
    """The derivatives of one entry from both sides, and how far they may be off."""

    left: float
    right: float
    error: float

    @property
    def kink(self) -> bool:
        """Whether they differ."""
        return abs(self.right - self.left) > 2 * self.error

    def hold(self, value: float, room: float = 0.0) -> bool:
        """Whether a value lies between them, or no more than ``room`` beside."""
        low, high = sorted((self.left, self.right))
        slack = self.error + room
        return low - slack <= value <= high + slack


def sides_at(
    line: Line, leaf: int, index: tuple[int, ...], turn: complex = 1
) -> Sides | None:
    """K2 of one entry of a leaf; None where the loss jumps, or is not finite.

    Args:
      line: the loss, and where.
      leaf: its number among the floating leaves.
      index: of the entry.
      turn: 1j for the imaginary part of a complex entry.
    """
    theta, unit = line.theta[leaf], unit_of(line.truth.dtype)
    usual = rms(finite(theta)) or max((rms(finite(t)) for t in line.theta), default=0.0)
    h = float(unit**STEP / 16) * max(abs(theta[index]), usual or 1.0)
    here = line.truth.value

    def moved(step: float) -> float:
        values = list(line.theta)
        values[leaf] = theta.copy()
        values[leaf][index] += turn * step
        return line.objective(values)

    far, near = (moved(h), moved(-h)), (moved(h / 2), moved(-h / 2))
    values = np.array([*far, *near, here])
    lost = max(MARGIN * line.lost, ROUNDINGS * unit * largest(values)) / h
    right = _extrapolated((far[0] - here) / h, (near[0] - here) / (h / 2), lost)
    left = _extrapolated((here - far[1]) / h, (here - near[1]) / (h / 2), lost)
    if right is None or left is None:
        return None
    share = float(unit**STEP)
    error = MARGIN * share * max(right[1], left[1]) + 4 * lost
    return Sides(left[0], right[0], error)


def _extrapolated(
    coarse: float, fine: float, lost: float
) -> tuple[float, float] | None:
    """(D, |D(h/2) - D(h)|) of K2; None for a jump."""
    if not np.isfinite(coarse - fine) or abs(fine) > JUMPS * abs(coarse) + 4 * lost:
        return None
    return 2 * fine - coarse, abs(fine - coarse)


def turns(values: np.ndarray) -> Sequence[tuple[complex, np.ndarray]]:
    """(v, dJ/dv) for the parts of a gradient in JAX's convention: real, imaginary."""
    if np.iscomplexobj(values):
        return ((1, np.real(values)), (1j, -np.imag(values)))
    return ((1, values),)
