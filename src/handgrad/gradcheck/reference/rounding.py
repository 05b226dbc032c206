"""What autodiff itself loses by rounding, measured: T1 and T1' of `tolerance`.

Where the working dtype is narrower than float64, autodiff in it is compared at points
beside the point (`probes`). Where it is float64, nothing wider can tell what it loses,
and the program is run in random rounding (`draws`, see `arithmetic`). Moving the inputs
alone is not enough: p = 1 - 1e-12 lies on a grid of 1e-16 that no neighbouring input
leaves, so p - 1 is off by 1e-4 of itself, and by the same amount at all of them. Where
a program casts to a narrower dtype than that of a parameter, random rounding in the
dtypes of the program shows what else those casts may do.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from handgrad.gradcheck.randomness import stream
from handgrad.gradcheck.reference.devices import like
from handgrad.gradcheck.reference.dtypes import unit_of
from handgrad.gradcheck.reference.float64 import (
    Evaluated,
    Point,
    coarsest,
    differentiate_by_steps,
)
from handgrad.gradcheck.reference.program import Traced, dtypes
from handgrad.gradcheck.reference.tolerance import DRAWS, LOSS_DRAWS, PROBES
from handgrad.gradcheck.trees import (
    dtype_of,
    is_array,
    is_differentiable,
    map_differentiable,
    to_numpy,
)

SELDOM = (-1, 1, 0, 0, 0, 0, 0, 0)
"""One entry in four moves, so half a unit root mean square: as rounding may move it."""

ALWAYS = (-1, 1)
"""Every entry moves."""


class Neighbour:
    """The numbers beside: entries moved in the last place, up or down at random.

    Args:
      seed: of the choice.
      steps: what is chosen from, in units in the last place: -1, 0, 1.
    """

    def __init__(self, seed: int, steps: Sequence[int]) -> None:
        self.generator, self.steps = stream("neighbour", seed), steps

    def of(self, leaf: Any) -> Any:
        """Numbers beside those of a leaf; a whole one may be a code, and stays."""
        if not is_differentiable(leaf):
            return leaf
        exact = to_numpy(leaf)
        moved = self._moved(np.real(exact), leaf)
        if np.iscomplexobj(exact):
            moved = moved + 1j * self._moved(np.imag(exact), leaf)
        return like(moved, leaf)

    def _moved(self, exact: np.ndarray, leaf: Any) -> np.ndarray:
        steps = self.generator.choice(self.steps, exact.shape)
        stays = (exact == np.round(exact)) | ~np.isfinite(exact)
        unit = 1.2 * unit_of(dtype_of(leaf))  # rounds to one everywhere
        share = np.where(stays, 0.0, steps * unit)
        return exact + np.where(stays, 0.0, exact) * share


def probes(point: Point) -> list[Evaluated]:
    """Autodiff in the working dtype at `PROBES` points beside the point."""
    traced = point.traced_gradient
    found = []
    for seed in range(PROBES):
        beside = Neighbour(seed, SELDOM)
        values = [beside.of(leaf) for leaf in point.split.values]
        consts = [_beside(beside, leaf) for leaf in traced.consts]
        found.append(Evaluated.of(traced.as_written(values, consts), traced.dtype))
    return found


def probes_by_steps(point: Point) -> list[Evaluated]:
    """`probes` where the loss cannot be traced."""
    found = []
    for seed in range(PROBES):
        beside = Neighbour(seed, SELDOM)
        values = [beside.of(leaf) for leaf in point.split.values]
        moved = point.at(values, map_differentiable(beside.of, point.args))
        found.append(differentiate_by_steps(moved))
    return found


def draws(point: Point) -> list[Evaluated]:
    """Autodiff in float64 at the point, `DRAWS` times in random rounding.

    The arguments are moved as well.
    """
    traced, found = point.traced_gradient, []
    for seed in range(DRAWS):
        beside = Neighbour(seed, ALWAYS)
        values = [beside.of(leaf) for leaf in point.split.values]
        consts = [_beside(beside, leaf) for leaf in traced.consts]
        results = traced.in_float64(values, consts, traced.last_places(seed))
        found.append(Evaluated.of(results, coarsest(traced)))
    return found


def draws_of_own_dtypes(point: Point) -> list[Evaluated]:
    """Autodiff at the point in random rounding by the dtypes of the program."""
    traced, found = point.traced_gradient, []
    for seed in range(DRAWS):
        moves = traced.own_dtypes(seed)
        results = traced.in_float64(point.split.values, None, moves)
        found.append(Evaluated.of(results, coarsest(traced)))
    return found


def casts_down(point: Point) -> bool:
    """Whether the program has a narrower dtype than some floating leaf."""
    finest = min((unit_of(dtype_of(x)) for x in point.split.values), default=1.0)
    kinds = dtypes(point.traced_gradient.program)
    return any(unit_of(kind) > finest for kind in kinds)


def _beside(beside: Neighbour, leaf: Any) -> Any:
    return beside.of(leaf) if is_array(leaf) else leaf


def noise_of_loss(traced: Traced, values: Sequence[Any], value: float) -> float:
    """How far rounding in float64 moves J from ``value``, in `LOSS_DRAWS` runs."""
    runs = [
        traced.in_float64(values, None, traced.last_places(seed))
        for seed in range(LOSS_DRAWS)
    ]
    return max(abs(float(result) - value) for (result,) in runs)
