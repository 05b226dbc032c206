"""Random rounding: a program run operation by operation, each result rounded anew.

Where the working dtype is float64, nothing wider can tell what it loses. So every
result is moved by one unit in the last place, up or down at random (Parker 1997, "Monte
Carlo Arithmetic"; Vignes 2004, "Discrete stochastic arithmetic for validating results
of numerical software"). Moving the inputs alone is not enough: p = 1 - 1e-12 lies on a
grid of 1e-16 that no neighbouring input leaves, so p - 1 is off by 1e-4 of itself, and
by the same amount at all of them.

An operation that only moves, chooses or compares numbers is exact and left alone.
Calls are entered; a loop, a branch or a kernel is one operation.
"""

from collections.abc import Callable, Sequence
from typing import Any

from jax.extend import core

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
