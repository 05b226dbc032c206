"""What autodiff itself loses by rounding: T1 of `tolerance`, measured."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.reference.float64 import (
    Evaluated,
    Point,
    differentiate,
    float64,
    like,
)
from handgrad.gradcheck.reference.random_rounding import run
from handgrad.gradcheck.reference.tolerance import DRAWS, PROBES
from handgrad.gradcheck.trees import dtype_of, is_floating, map_floating, to_numpy


class Neighbour:
    """The numbers beside: entries moved in the last place, up or down at random.

    Args:
      seed: of the choice.
      steps: what is chosen from, in units in the last place: -1, 0, 1.
    """

    def __init__(self, seed: int, steps: Sequence[int]) -> None:
        self.generator, self.steps = np.random.default_rng(seed), steps

    def result(self, leaf: Any) -> Any:
        """A number that was computed."""
        return self._moved(leaf, whole_too=True) if is_floating(leaf) else leaf

    def data(self, leaf: Any) -> Any:
        """A number that was given: a whole one may be a code or a mask, and stays."""
        return self._moved(leaf, whole_too=False) if is_floating(leaf) else leaf

    def _moved(self, leaf: Any, whole_too: bool) -> Any:
        exact = to_numpy(leaf)
        steps = self.generator.choice(self.steps, exact.shape)
        if not whole_too:
            steps = np.where(exact == np.round(exact), 0, steps)
        unit = 0.6 * float(jnp.finfo(dtype_of(leaf)).eps)  # rounds to one everywhere
        return like(exact + exact * (steps * unit), leaf)


def probes(point: Point) -> list[Evaluated]:
    """Autodiff in the working dtype at `PROBES` points beside the point.

    One entry in four is moved by one unit in the last place, up or down. So an entry
    moves by half a unit, root mean square: what rounding may do to it.
    """
    found = []
    for seed in range(PROBES):
        beside = Neighbour(seed, (-1, 1, 0, 0, 0, 0, 0, 0))
        values = [beside.data(leaf) for leaf in point.split.values]
        moved = point.at(values, map_floating(beside.data, point.args))
        found.append(differentiate(moved))
    return found


def draws(point: Point) -> list[Evaluated]:
    """Autodiff in float64 at the point, `DRAWS` times in random rounding.

    Raises:
      Exception: whatever the loss raises where it cannot be traced, as
        jax.errors.ConcretizationTypeError if it branches on a value.
    """
    found = []
    for seed in range(DRAWS):
        beside = Neighbour(seed, (-1, 1))
        params, args = map_floating(beside.data, (point.params, point.args))
        with float64():
            wide = replace(point, params=params, args=args).widened()
            objective, values = jax.value_and_grad(wide.objective), wide.split.values
            value, *gradient = _in_random_rounding(objective, values, beside)
            exact = [to_numpy(g) for g in gradient]
            found.append(Evaluated(float(value), exact, value.dtype))
    return found


def noise_of_loss(point: Point, value: float) -> float:
    """How far rounding in float64 moves the loss from ``value``, in `DRAWS` runs.

    Raises:
      Exception: as in `draws`.
    """
    with float64():
        wide = point.widened()
        objective, values = wide.objective, wide.split.values  # one, so traced once
        runs = [
            _in_random_rounding(objective, values, Neighbour(seed, (-1, 1)))
            for seed in range(DRAWS)
        ]
    return max(abs(float(result) - value) for (result,) in runs)


def _in_random_rounding(
    objective: Callable[[Sequence[Any]], Any], values: Sequence[Any], beside: Neighbour
) -> list[Any]:
    program = jax.make_jaxpr(objective)(values)
    inputs = [beside.data(leaf) for leaf in [*program.consts, *values]]
    return run(program.jaxpr, inputs, beside.result)
