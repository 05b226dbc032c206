"""What autodiff itself loses by rounding, measured: T1 and T1' of `tolerance`.

Where the working dtype is narrower than float64, autodiff in it is compared at points
beside the point (`probes`). Where it is float64, nothing wider can tell what it loses,
and the program is run in random rounding (`draws`): operation by operation, every
result moved by one unit in the last place, up or down at random (Parker 1997, "Monte
Carlo Arithmetic"; Vignes 2004, "Discrete stochastic arithmetic for validating results
of numerical software"). Moving the inputs alone is not enough: p = 1 - 1e-12 lies on a
grid of 1e-16 that no neighbouring input leaves, so p - 1 is off by 1e-4 of itself, and
by the same amount at all of them.

An operation that only moves, chooses or compares numbers is exact and left alone.
Calls are entered; a loop, a branch or a kernel is one operation.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from handgrad.gradcheck.reference.float64 import (
    Evaluated,
    Point,
    differentiate,
    float64,
    like,
)
from handgrad.gradcheck.reference.tolerance import DRAWS, PROBES
from handgrad.gradcheck.trees import dtype_of, is_floating, map_floating, to_numpy

EXACT = (
    *("abs", "bitcast_convert_type", "broadcast_in_dim", "ceil", "clamp"),
    *("concatenate", "convert_element_type", "copy", "cummax", "cummin", "device_put"),
    *("dynamic_slice", "dynamic_update_slice", "floor", "gather", "iota", "max", "min"),
    *("name", "neg", "optimization_barrier", "pad", "reduce_max", "reduce_min"),
    *("reduce_precision", "reduce_window_max", "reduce_window_min", "reshape", "rev"),
    *("round", "scatter", "scatter-max", "scatter-min", "select_n"),
    *("sharding_constraint", "sign", "slice", "sort", "split", "squeeze", "stack"),
    *("stop_gradient", "tile", "top_k", "transpose", "unstack"),
)
"""Names of the primitives whose result is among their operands, or a whole number."""

CALLS = ("closed_call", "custom_jvp_call", "custom_vjp_call", "jit", "remat2")
"""Names of the primitives that run another program once."""

Rounded = Callable[[Any], Any]
"""A result -> the result as another rounding might have given it."""


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


def run(program: core.Jaxpr, inputs: Sequence[Any], rounded: Rounded) -> list[Any]:
    """Run a program in random rounding.

    Args:
      program: the jaxpr.
      inputs: the values of its constants, and then of its arguments.
      rounded: applied to every result that is not exact.
    """
    names = [*program.constvars, *program.invars]
    known: dict[Any, Any] = dict(zip(names, inputs, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else known[atom]

    for equation in program.eqns:
        results = _apply(equation, [read(atom) for atom in equation.invars], rounded)
        known.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in program.outvars]


def _apply(equation: Any, operands: list[Any], rounded: Rounded) -> list[Any]:
    name, params = equation.primitive.name, equation.params
    if name in CALLS:
        inner = params["jaxpr"] if "jaxpr" in params else params["call_jaxpr"]
        if isinstance(inner, core.ClosedJaxpr):
            return run(inner.jaxpr, [*inner.consts, *operands], rounded)
        return run(inner, operands, rounded)
    options = equation.primitive.get_bind_params(params)
    found = equation.primitive.bind(*operands, **options)
    results = list(found) if equation.primitive.multiple_results else [found]
    return results if name in EXACT else [rounded(result) for result in results]
