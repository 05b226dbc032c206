"""The slope of a loss along a line, measured, beside that which its gradient gives it.

In float64, by central differences along a direction v, with Richardson's extrapolation:

    A1  D(h) = (J(theta + h v) - J(theta - h v)) / 2h = <g, v> + O(h^2)
    A2  D = (4 D(h/2) - D(h)) / 3 = <g, v> + O(h^4),  error about |D(h/2) - D(h)| / 3
    A3  at a kink, |J(theta + h v) - 2 J(theta) + J(theta - h v)| / h does not shrink
    A4  where A2 contradicts the gradient, a step h / `FINER` may contradict A2

A loss that turns faster than h resolves is right by A4: the shorter step agrees with
the gradient, and contradicts the longer one.

J itself is only known up to rounding, which is measured (`rounding.noise_of_loss`): a
loss that is the difference of large numbers is off by more than a unit of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.reference.dtypes import unit_of
from handgrad.gradcheck.reference.float64 import (
    Evaluated,
    Point,
    float64,
    like,
    widen,
)
from handgrad.gradcheck.reference.norms import largest
from handgrad.gradcheck.reference.program import dtypes
from handgrad.gradcheck.reference.rounding import noise_of_loss
from handgrad.gradcheck.reference.tolerance import SHARED
from handgrad.gradcheck.reference.truth import Reference
from handgrad.gradcheck.trees import to_numpy

ROUNDINGS = 100.0
"""How many unit roundoffs of J its evaluation may be off by, at the least."""

MARGIN = 10.0
"""How many times its error estimate an extrapolated difference may be off."""

LASTING = 0.8
"""What A3 keeps at a kink when h is halved; where the loss is smooth it keeps half."""

FINER = 100.0
"""How many times shorter the steps of A4 are."""

SLIGHT = 1e-6
"""The share of the largest part of <g, v> that a bend must exceed to be a kink."""

Objective = Callable[[Sequence[np.ndarray]], float]


class Slope(NamedTuple):
    """<g, v> by A2, how far it may be off, and whether A3 shows a kink."""

    measured: float
    tolerance: float
    kink: bool


class Line(NamedTuple):
    """A loss that is evaluated along lines through a point.

    Attributes:
      objective: J.
      truth: J and its gradient, as in the reference.
      theta: the point.
      lost: how far rounding moves J.
      constants: how far the constants of its gradient may be rounded: a derivative
        that JAX writes with 1/5 in it has the 1/5 of the dtype of the program.
    """

    objective: Objective
    truth: Evaluated
    theta: Sequence[np.ndarray]
    lost: float
    constants: float = 0.0

    def contradicts(self, direction: Sequence[np.ndarray]) -> tuple[bool, bool]:
        """(whether the loss contradicts its gradient, whether it has a kink)."""
        pairs = zip(self.truth.gradient, direction, strict=True)
        parts = np.array([np.real(np.sum(g * v)) for g, v in pairs])
        expected, size = float(np.sum(parts)), largest(parts)
        h = float(np.cbrt(jnp.finfo(self.truth.dtype).eps))
        slope = self._slope(direction, h, size)
        if abs(slope.measured - expected) <= slope.tolerance:
            return False, slope.kink
        finer = self._slope(direction, h / FINER, size)
        apart = abs(finer.measured - slope.measured)
        # mutants: equal to the last bit
        if abs(finer.measured - expected) <= finer.tolerance < apart:  # A4
            return False, finer.kink
        return True, slope.kink

    def _slope(self, direction: Sequence[np.ndarray], h: float, size: float) -> Slope:
        """By steps h and h/2; ``size`` is the largest part of <g, v>."""
        unit, here = float(jnp.finfo(self.truth.dtype).eps), self.truth.value
        ahead, behind = self._along(direction, h), self._along(direction, -h)
        near_ahead = self._along(direction, h / 2)
        near_behind = self._along(direction, -h / 2)

        coarse, fine = (ahead - behind) / (2 * h), (near_ahead - near_behind) / h  # A1
        measured, error = (4 * fine - coarse) / 3, abs(fine - coarse) / 3  # A2
        bend = abs(ahead + behind - 2 * here) / h  # A3
        near_bend = abs(near_ahead + near_behind - 2 * here) / (h / 2)

        values = np.array([ahead, behind, near_ahead, near_behind])
        lost = max(MARGIN * self.lost, ROUNDINGS * unit * largest(values)) / h
        share = max(float(np.sqrt(unit)), self.constants)
        tolerance = MARGIN * error + lost + share * size
        kink = near_bend > max(LASTING * bend, lost + SLIGHT * size)
        return Slope(measured, tolerance, kink)

    def _along(self, direction: Sequence[np.ndarray], h: float) -> float:
        """J(theta + h v)."""
        pairs = zip(self.theta, direction, strict=True)
        return self.objective([theta + h * v for theta, v in pairs])


def line_at(point: Point, reference: Reference) -> Line:
    """The lines through a point, with what is known of the loss there."""
    theta = [to_numpy(leaf) for leaf in point.split.values]
    truth = reference.truth
    if not reference.wide:
        lost = max(abs(probe.value - truth.value) for probe in reference.probes)
        return Line(_narrow(point), truth, theta, lost)
    try:
        traced = point.traced_loss
        lost = noise_of_loss(traced, point.split.values, truth.value)
    except Exception:  # it cannot be traced, and `ROUNDINGS` alone are what is known
        # mutants: the larger of it and `ROUNDINGS` counts
        return Line(_wide_by_steps(point), truth, theta, 0.0)

    def objective(values: Sequence[np.ndarray]) -> float:
        return float(traced.in_float64(values, None, traced.unmoved)[0])

    return Line(objective, truth, theta, lost, constants_of(point))


def constants_of(point: Point) -> float:
    """`SHARED` units of the narrowest dtype in the program of the gradient."""
    try:
        kinds = dtypes(point.traced_gradient.program)
    except Exception:  # there is none
        return 0.0
    return SHARED * max(map(unit_of, kinds), default=0.0)


def _narrow(point: Point) -> Objective:
    """The loss in the working dtype."""

    def objective(values: Sequence[np.ndarray]) -> float:
        pairs = zip(values, point.split.values, strict=True)
        return float(point.objective([like(value, leaf) for value, leaf in pairs]))

    return objective


def _wide_by_steps(point: Point) -> Objective:
    """The loss at arrays of float64, where it cannot be traced."""

    def objective(values: Sequence[np.ndarray]) -> float:
        with float64():
            widened = replace(point, args=widen(point.args))
            return float(widened.objective([jnp.asarray(value) for value in values]))

    return objective
