"""The tangent of a function: by forward mode, or by differences where it has none.

A callback, say, has no forward mode. Then differences along v stand for J v, with D(h)
as in A1 of `reference.slope`:

    J3  J(x) v = (4 D(h/2) - D(h)) / 3,  h = u^(1/5)
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from handgrad.gradcheck.exceptions import first_line
from handgrad.gradcheck.reference.dtypes import unit_of
from handgrad.gradcheck.trees import Tree, dtype_of, split

STEP = 0.2
"""The exponent of h in J3: its error h^4 and rounding, u / h, are then as large."""

TRUNCATED = 10.0
"""How many times h^4 the tangent of J3 may be off, relative to its size."""

Forward = Callable[[Callable[..., Tree], Sequence[Any], Sequence[Any]], Any]
"""function, values, tangent -> (output, tangent of the output), as `jax.jvp`."""


def forward_of(
    function: Callable[..., Tree], given: tuple[Any, ...]
) -> tuple[Forward, float, list[str]]:
    """`jax.jvp`, or J3 where it has none: the way, how far it is off, and a note."""
    values = split(given).values
    try:
        jax.eval_shape(lambda v: jax.jvp(function, v, v), list(values))
    except Exception as error:  # whatever JAX raises where there is no forward mode
        unit = max(unit_of(dtype_of(value)) for value in values)
        note = f"differences of the function are the reference ({first_line(error)})."
        return differences, TRUNCATED * unit ** (4 * STEP), [note]
    return jax.jvp, 0.0, []


def differences(
    function: Callable[..., Tree], values: Sequence[Any], tangent: Sequence[Any]
) -> tuple[Tree, Tree]:
    """J3, with a step that truncation and rounding share."""
    step = max(unit_of(dtype_of(value)) for value in values) ** STEP

    def slope(h: float) -> Tree:
        ahead, behind = (
            function(*(x + s * h * v for x, v in zip(values, tangent, strict=True)))
            for s in (1, -1)
        )
        return jax.tree.map(lambda a, b: (a - b) / (2 * h), ahead, behind)

    fine, coarse = slope(step / 2), slope(step)
    moved = jax.tree.map(lambda f, c: (4 * f - c) / 3, fine, coarse)
    return function(*values), moved
