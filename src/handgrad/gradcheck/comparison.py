"""A candidate beside the truth, leaf by leaf, with what rounding may do to it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from handgrad.gradcheck.reference.dtypes import is_inexact, unit_of
from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.reference.norms import finite, largest, projection, rms
from handgrad.gradcheck.reference.tolerance import STRICT, Floor, projected_lines
from handgrad.gradcheck.reference.truth import Reference
from handgrad.gradcheck.structure import Aligned
from handgrad.gradcheck.trees import dtype_of, to_numpy

ROUNDINGS = 8.0
"""How many units of a dtype that is not the parameter's a gradient may be off by it."""


@dataclass(frozen=True)
class Comparison:
    """One leaf of a candidate beside the truth.

    Attributes:
      path: the leaf's name.
      parameter: theta, 64 bits; 0 where it is infinite.
      candidate: the gradient to be checked, 64 bits, to the last digit.
      truth: g, autodiff in float64.
      floor: what rounding may do, in the gradient's units.
      dtype: the working dtype, that of the parameter.
    """

    path: str
    parameter: np.ndarray
    candidate: np.ndarray
    truth: np.ndarray
    floor: Floor
    dtype: np.dtype

    @property
    def misshapen(self) -> bool:
        """Whether the candidate cannot be subtracted from."""
        return self.candidate.shape != self.truth.shape

    @property
    def wrong(self) -> bool:
        """Whether the candidate differs from the truth by more than rounding."""
        return self.misshapen or self.excess > 1

    @cached_property
    def residual(self) -> np.ndarray:
        """candidate - truth."""
        with np.errstate(invalid="ignore"):  # a candidate may hold infinities
            return self.candidate - self.truth

    @cached_property
    def excess(self) -> float:
        """The residual in units of its floor: above 1, it is not rounding."""
        return self.excess_of(self.residual)

    @cached_property
    def blind(self) -> bool:
        """Whether a gradient of zero would pass too, so that passing says nothing."""
        return self.excess_of(self.truth) <= 1

    def excess_of(self, residual: np.ndarray, stretch: float = 1.0) -> float:
        """How many times its floor a residual is, by the strictest of its figures.

        Args:
          residual: of the leaf's shape.
          stretch: widens the floor, for a candidate larger than the truth.
        """
        if not np.isfinite(residual).all():
            return np.inf
        figures = (
            (rms(residual), self.floor.rms),
            (largest(residual), self.floor.worst),
            (abs(projection(residual, self.truth)), self.floor.along_gradient),
            (abs(projection(residual, self.parameter)), self.floor.along_parameter),
        )
        if self.floor.lines:
            lines = projected_lines(residual, self.truth, self.parameter)
            figures += tuple(zip(lines, self.floor.lines, strict=True))
        return max(ratio(figure, limit * stretch) for figure, limit in figures)

    def explained_by(self, prediction: np.ndarray) -> bool:
        """Whether the candidate is ``prediction`` up to rounding.

        Rounding is relative: if the prediction is larger than the truth, so is what
        rounding may do to it.
        """
        if prediction.shape != self.candidate.shape:
            return False
        if not np.isfinite(self.candidate).all():
            return False
        left = self.candidate - prediction
        return self.excess_of(left, self.stretch(prediction)) <= STRICT

    def stretch(self, prediction: np.ndarray) -> float:
        """How much wider than for the truth the floor is for a larger prediction."""
        size = rms(self.truth)
        return max(1.0, rms(prediction) / size) if size > 0 else 1.0

    @property
    def worst_index(self) -> tuple[int, ...]:
        """Where candidate and truth are furthest apart; NaN and infinity come first."""
        distance = np.abs(self.residual)
        distance = np.where(np.isfinite(distance), distance, np.inf)
        where = np.unravel_index(np.argmax(distance), distance.shape)
        return tuple(int(i) for i in where)


def _cast(dtype: np.dtype | None, truth: np.ndarray) -> float:
    """How far a gradient may be off by a wrong dtype alone, relative to its norm.

    By `ROUNDINGS` of them; by 1, absolute, where it came in integers.
    """
    if dtype is None:
        return 0.0
    if is_inexact(dtype):
        return ROUNDINGS * unit_of(dtype)
    return 1 / rms(truth) if truth.any() else 0.0


def ratio(figure: float, limit: float) -> float:
    """A figure in units of its limit, which may be 0."""
    if figure == 0:
        return 0.0
    return figure / limit if limit > 0 else np.inf


def compare(
    point: Point, aligned: Aligned, reference: Reference, accuracy: float = 0.0
) -> dict[str, Comparison]:
    """Every floating leaf for which there is a candidate, by path, in order.

    Args:
      point: where.
      aligned: the candidate.
      reference: the truth, with its floors.
      accuracy: how far a right gradient may be off by design, relative to its norm.
    """
    split, found = point.split, {}
    for path, parameter, truth, floor in zip(
        split.floating_paths,
        split.values,
        reference.truth.gradient,
        reference.floors,
        strict=True,
    ):
        if path in aligned.values:
            theta = finite(to_numpy(parameter))
            off = accuracy + _cast(aligned.dtypes.get(path), truth)
            if off:
                floor = floor.loosened(off, truth, theta)
            found[path] = Comparison(
                path=path,
                parameter=theta,
                candidate=aligned.values[path],
                truth=truth,
                floor=floor,
                dtype=dtype_of(parameter),
            )
    return found
