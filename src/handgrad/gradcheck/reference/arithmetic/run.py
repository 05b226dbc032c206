"""A program, operation by operation, in float64."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.extend import core

from handgrad.gradcheck.reference.arithmetic.moves import Rounding
from handgrad.gradcheck.reference.arithmetic.operations import (
    computed,
    rounds,
    widened,
)
from handgrad.gradcheck.reference.arithmetic.structures import STRUCTURES


def enter(program: Any, operands: Sequence[Any], rounding: Rounding) -> list[Any]:
    """Run a program that holds its constants, or has none."""
    consts = getattr(program, "consts", [])
    return run(getattr(program, "jaxpr", program), [*consts, *operands], rounding)


def run(program: core.Jaxpr, inputs: Sequence[Any], rounding: Rounding) -> list[Any]:
    """Run a program in float64.

    Args:
      program: the jaxpr.
      inputs: the values of its constants, and then of its arguments.
      rounding: of the results.
    """
    names: list[Any] = [*program.constvars, *program.invars]
    known: dict[Any, Any] = {
        name: widened(value) for name, value in zip(names, inputs, strict=True)
    }

    def read(atom: Any) -> Any:
        if not isinstance(atom, core.Literal):
            return known[atom]
        aval: Any = atom.aval
        return widened(np.asarray(atom.val, aval.dtype), exact=atom.val)

    for equation in program.eqns:
        operands = [read(atom) for atom in equation.invars]
        results = _apply(equation, operands, rounding)
        known.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in program.outvars]


def _apply(equation: Any, operands: list[Any], rounding: Rounding) -> list[Any]:
    name = equation.primitive.name
    if name in STRUCTURES:
        return STRUCTURES[name](equation.params, operands, rounding, enter)
    if name == "reduce_precision":  # a cast, by another name
        return operands
    results = computed(equation, operands, rounding, enter)
    return [
        rounding.moved(result, atom.aval.dtype) if rounds(equation, atom) else result
        for result, atom in zip(results, equation.outvars, strict=True)
    ]
