"""The truth about a gradient, and what autodiff itself loses in the working dtype."""

from typing import NamedTuple

import numpy as np

from handgrad.gradcheck.exceptions import first_line
from handgrad.gradcheck.reference.dtypes import unit_of
from handgrad.gradcheck.reference.float64 import (
    Evaluated,
    Point,
    differentiate,
    differentiate_by_steps,
    differentiate_wide,
    float64,
    undifferentiated,
)
from handgrad.gradcheck.reference.norms import finite, rms
from handgrad.gradcheck.reference.rounding import (
    casts_down,
    draws,
    draws_of_own_dtypes,
    probes,
    probes_by_steps,
)
from handgrad.gradcheck.reference.tolerance import Floor, Losses, floor_of, typical
from handgrad.gradcheck.trees import Split, dtype_of, to_numpy

CHANGED = 0.01
"""The relative change of the gradient in float64 that is not put down to rounding,"""

FARTHER = 100.0
"""if it is as many times what a unit in the last place of the inputs does."""


class Reference(NamedTuple):
    """What a candidate is compared with.

    Attributes:
      truth: value and gradient, in float64 where that can be had.
      probes: the same from autodiff in the working dtype, as in T1 of `tolerance`, or
        in random rounding, as in T1'.
      floors: one per floating leaf.
      dtype: that of the truth.
      wide: whether the loss was run in float64; if not, autodiff in the working dtype
        stands in for the truth.
      notes: what a reader of the report should know about the truth.
      unknown: whether there is no autodiff of the loss at all.
    """

    truth: Evaluated
    probes: list[Evaluated]
    floors: list[Floor]
    dtype: str
    wide: bool
    notes: list[str]
    unknown: bool = False


def reference_at(point: Point) -> Reference:
    """Evaluate the gradient in float64 and in the working dtype; derive the floors.

    Four gradient evaluations; five where the working dtype is float64, and seven where
    the loss casts to a narrower dtype than that of a parameter.
    """
    try:
        truth, found = _compiled(point)
    except Exception as error:  # whatever tracing the loss of a user may raise
        return _otherwise(point, error)
    notes = [_FORWARD] if point.traced_gradient.mode == "forward" else []
    if truth.dtype != np.float64:  # mutants: nothing is wider
        notes.append(_NARROW.format(truth.dtype))
    return _reference(point, truth, found, notes, wide=True)


def _otherwise(point: Point, why: Exception) -> Reference:
    """The reference where autodiff of the loss cannot be traced, or there is none."""
    try:
        return _by_steps(point, why)
    except Exception:  # there is none at all, or the loss cannot be run
        here, wide = undifferentiated(point)
        notes = [_NONE.format(first_line(why))]
        found = _reference(point, here, [here], notes, wide=wide)
        return found._replace(unknown=True)


_FORWARD = (
    "the loss has no reverse-mode gradient, so the reference is forward mode, entry by "
    "entry."
)

_NONE = (
    "autodiff has no gradient of this loss, so differences of it are the reference "
    "({})."
)


_NARROW = (
    "a part of the loss runs in {} alone (a callback, a kernel), so the reference has "
    "no more than its precision."
)


def _compiled(point: Point) -> tuple[Evaluated, list[Evaluated]]:
    """The truth, and what T1 or T1' compare with it."""
    # mutants: nothing is wider
    finest = all(unit_of(dtype_of(x)) <= _FINEST for x in point.split.values)
    truth, here = differentiate_wide(point, drawn=finest), differentiate(point)
    found = [here, *(draws(point) if finest else probes(point))]
    if casts_down(point):
        found += draws_of_own_dtypes(point)
    return truth, found


_FINEST = unit_of(np.float64)


def _by_steps(point: Point, why: Exception) -> Reference:
    """The reference where the loss cannot be traced: it looks at numbers."""
    found = [differentiate_by_steps(point), *probes_by_steps(point)]
    truth, notes = _truth(point, found)
    notes = [_UNTRACED.format(first_line(why)), *notes]
    return _reference(point, truth, found, notes, wide=truth is not found[0])


_UNTRACED = (
    "the loss cannot be traced, so it is differentiated step by step, and the floors "
    "come from inputs moved in the last place and may be too low ({})."
)


def _reference(
    point: Point,
    truth: Evaluated,
    found: list[Evaluated],
    notes: list[str],
    *,
    wide: bool,
) -> Reference:
    floors = _floors(point.split, truth, found)
    return Reference(truth, found, floors, str(truth.dtype), wide, notes)


def _truth(point: Point, found: list[Evaluated]) -> tuple[Evaluated, list[str]]:
    """Autodiff in float64, or in the working dtype where that cannot be; and why."""
    try:
        with float64():
            truth = differentiate_by_steps(point.widened())
    except Exception as error:  # whatever the loss of a user may raise
        return found[0], [
            "the loss does not run in float64, so the reference is jax.grad in the "
            f"working dtype ({first_line(error)})."
        ]
    if another_function(truth, found):
        return found[0], [
            "the loss is another function in float64 (random numbers drawn by dtype, "
            "or a branch on it), so the reference is jax.grad in the working dtype. "
            "Draw masks and noise outside the loss and pass them as arguments."
        ]
    if truth.dtype != np.float64:  # mutants: nothing is wider
        return truth, [
            f"the loss casts to {truth.dtype} inside, so the reference has no more "
            "than its precision. Cast where data enters instead."
        ]
    return truth, []


def another_function(truth: Evaluated, found: list[Evaluated]) -> bool:
    """Whether float64 changes the gradient far more than a unit in the last place."""
    here, *beside = found
    far, near = [], []
    for i, gradient in enumerate(here.gradient):
        size = rms(gradient)
        if size > 0 and np.isfinite(size):
            far.append(rms(truth.gradient[i] - gradient) / size)
            near.append(max(rms(p.gradient[i] - gradient) for p in beside) / size)
    if not far:
        return False
    # mutants: equal to the last bit
    return bool(np.median(far) > CHANGED and np.median(far) > FARTHER * np.median(near))


def _floors(split: Split, truth: Evaluated, found: list[Evaluated]) -> list[Floor]:
    """T2, T3 and T5 for every floating leaf; a truth in a narrow dtype widens them."""
    coarsest = unit_of(truth.dtype)
    units = [max(coarsest, unit_of(dtype_of(leaf))) for leaf in split.values]
    parameters = [finite(to_numpy(leaf)) for leaf in split.values]
    gradient = [finite(g) for g in truth.gradient]
    losses = [
        Losses.of(g, theta, [probe.gradient[i] for probe in found])
        for i, (g, theta) in enumerate(zip(gradient, parameters, strict=True))
    ]
    sizes = [rms(g) for g in gradient]
    usual = typical(losses, sizes)
    return [
        floor_of(*leaf, usual)
        for leaf in zip(gradient, parameters, losses, units, strict=True)
    ]
