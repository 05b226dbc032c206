"""What a function gives at a point, in every mode it offers; compiled where it can be.

`jax.jit` compiles the whole of it at once, which is far quicker than operation by
operation. A function that cannot be traced is run as it is.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from handgrad.gradcheck.rules.subject import Function, Leaves, Subject, fresh

Measured = dict[str, Leaves]


def whole(function: Function, subject: Subject, values: Sequence[Any]) -> Leaves:
    """The leaves of the output that are no floating numbers."""
    leaves = jax.tree.leaves(function(*subject.merge(values)))
    return [
        leaf
        for leaf in leaves
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    ]


def measured(
    subject: Subject,
    function: Function,
    modes: Sequence[str],
    *,
    u: Leaves,
    v: Leaves,
    compiled: bool = True,
) -> Measured:
    """Value, cotangents J^T u and tangents J v of a function of the subject's form.

    Args:
      subject: the point.
      function: primals -> output.
      modes: "vjp" and "jvp", as far as they are offered.
      u, v: the cotangent and the tangent.
      compiled: whether to try `jax.jit`. If not, every call has its own copies.
    """
    if not compiled:
        function = on_copies(function)

    def everything(values: Leaves, u: Leaves, v: Leaves) -> Measured:
        of_values = subject.of_values(function)
        found = {"value": of_values(*values), "whole": whole(function, subject, values)}
        if "vjp" in modes:
            found["value in vjp"], pull = jax.vjp(of_values, *values)
            found["vjp"] = list(pull(u))
        if "jvp" in modes:
            pair = jax.jvp(of_values, values, v)
            found["value in jvp"], found["jvp"] = pair
        return found

    return run(everything, subject.values, u, v, compiled=compiled)


def on_copies(function: Function) -> Function:
    """The function, which may then donate or write to what it is given."""
    return lambda *primals: function(*fresh(primals))


def run(program: Callable[..., Any], *args: Any, compiled: bool = True) -> Any:
    """A program, compiled as a whole if it can be."""
    if compiled:
        try:
            traced = jax.jit(program).trace(*args)
        except Exception:  # it is run as it is, and raises there what it has to raise
            return program(*fresh(args))
        return traced.lower().compile()(*args)
    return program(*fresh(args))


def modes_of(subject: Subject) -> list[str]:
    """Which of "vjp" and "jvp" the function offers."""
    of_values, values = subject.of_values(subject.function), subject.values
    found = []
    trials = {
        "vjp": lambda: jax.vjp(of_values, *fresh(values))[1](subject.cotangent),
        "jvp": lambda: jax.jvp(of_values, fresh(values), subject.tangent),
    }
    for mode, trial in trials.items():
        try:
            trial()
        except Exception:  # the row of that mode says what it was
            continue
        found.append(mode)
    return found
