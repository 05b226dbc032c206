"""What a function gives at a point, in every mode it offers; compiled where it can be.

The whole of it is compiled at once, which is far quicker than operation by operation,
and what was compiled serves the next call with the same operations (`program`). A
function that cannot be traced is run as it is.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from handgrad.gradcheck.reference.program import trace
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


def measuring(
    subject: Subject, function: Function, modes: Sequence[str]
) -> Callable[[Leaves, Leaves, Leaves], Measured]:
    """values, u, v -> value, cotangents J^T u and tangents J v.

    Args:
      subject: whose arguments the function takes.
      function: primals -> output.
      modes: "vjp" and "jvp", as far as they are offered.
    """

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

    return everything


def measured(subject: Subject, function: Function, modes: Sequence[str]) -> Measured:
    """The same at the point, operation by operation; every call has its own copies."""
    program = measuring(subject, on_copies(function), modes)
    return program(subject.values, subject.cotangent, subject.tangent)


def on_copies(function: Function) -> Function:
    """The function, which may then donate or write to what it is given."""
    return lambda *primals: function(*fresh(primals))


Job = tuple[Callable[..., Any], tuple[Any, ...]]
"""What there is to do: a function and its arguments."""

Jobs = dict[str, Job]
"""Jobs by name."""


def run(jobs: Jobs) -> dict[str, Any]:
    """Everything as one compiled program, if it can be; kept for the next call."""
    leaves, structure = jax.tree.flatten(
        {name: given for name, (_, given) in jobs.items()}
    )
    found: list[Any] = []

    def program(leaves: Leaves) -> Leaves:
        args = jax.tree.unflatten(structure, leaves)
        results = {name: work(*args[name]) for name, (work, _) in jobs.items()}
        flat, form = jax.tree.flatten(results)
        found[:] = [form]
        return flat

    try:
        traced = trace(program, leaves)
    except Exception:  # it is run as it is, and raises there what it has to raise
        results = program(fresh(leaves))
    else:
        results = traced.arrays(leaves)
    return jax.tree.unflatten(found[0], results)


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
