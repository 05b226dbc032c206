"""The truth about a gradient, and what autodiff itself loses in the working dtype."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.reference.float64 import (
    Evaluated,
    Point,
    differentiate,
    differentiate_wide,
)
from handgrad.gradcheck.reference.rounding import draws, probes
from handgrad.gradcheck.reference.tolerance import (
    Floor,
    Losses,
    floor_of,
    rms,
    typical,
)
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
    """

    truth: Evaluated
    probes: list[Evaluated]
    floors: list[Floor]
    dtype: str
    wide: bool
    notes: list[str]


def reference_at(point: Point) -> Reference:
    """Evaluate the gradient in float64 and in the working dtype; derive the floors.

    Four gradient evaluations, and five where the working dtype is float64.
    """
    here = differentiate(point)
    # mutants: nothing is wider
    if all(dtype_of(leaf) == np.float64 for leaf in point.split.values):
        truth = differentiate_wide(point)
        beside, notes = _drawn(point)
        found = [here, *beside]
    else:
        found = [here, *probes(point)]
        truth, notes = _truth(point, found)
    floors, wide = _floors(point.split, truth, found), truth is not found[0]
    return Reference(truth, found, floors, str(truth.dtype), wide, notes)


def _drawn(point: Point) -> tuple[list[Evaluated], list[str]]:
    """The g_j of T1', or those of T1 where the loss cannot be traced; and why."""
    try:
        return draws(point), []
    except Exception as error:  # whatever tracing the loss of a user may raise
        return probes(point), [
            "the loss cannot be traced, so the floors come from inputs moved in the "
            f"last place and may be too low ({_first_line(error)})."
        ]


def _first_line(error: Exception) -> str:
    first = str(error).strip().splitlines()[:1]
    return f"{type(error).__name__}: {''.join(first)[:120]}"


def _truth(point: Point, found: list[Evaluated]) -> tuple[Evaluated, list[str]]:
    """Autodiff in float64, or in the working dtype where that cannot be; and why."""
    try:
        truth = differentiate_wide(point)
    except Exception as error:  # whatever the loss of a user may raise
        return found[0], [
            "the loss does not run in float64, so the reference is jax.grad in the "
            f"working dtype ({_first_line(error)})."
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
    coarsest = float(jnp.finfo(truth.dtype).eps) / 2
    units = [
        max(coarsest, float(jnp.finfo(dtype_of(leaf)).eps) / 2) for leaf in split.values
    ]
    parameters = [to_numpy(leaf) for leaf in split.values]
    losses = [
        Losses.of(g, theta, [probe.gradient[i] for probe in found])
        for i, (g, theta) in enumerate(zip(truth.gradient, parameters, strict=True))
    ]
    sizes = [rms(g) for g in truth.gradient]
    usual = typical(losses, sizes)
    return [
        floor_of(*leaf, usual)
        for leaf in zip(truth.gradient, parameters, losses, units, strict=True)
    ]
