"""What two programs of the same operations have in common, whoever traced them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.extend import core

from handgrad.gradcheck.reference.arithmetic.structures import CALLS, inner_program


@dataclass(frozen=True, eq=False)
class Program:
    """Operations, and nothing of the arrays that they are applied to.

    Attributes:
      jaxpr: the operations.
      form: what two programs of the same operations have in common.
      held: keeps alive what ``form`` names by its address.
    """

    jaxpr: core.Jaxpr
    form: tuple[Any, ...]
    held: tuple[Any, ...] = ()

    @classmethod
    def of(cls, jaxpr: core.Jaxpr) -> "Program":
        """The program of a jaxpr."""
        held: list[Any] = []
        form = _form(jaxpr, held)
        return cls(jaxpr, form, tuple(held))

    def __hash__(self) -> int:
        return hash(self.form)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self.form == other.form


def _form(jaxpr: core.Jaxpr, held: list[Any]) -> tuple[Any, ...]:
    """The operations of a program, as a tuple that can be compared and hashed."""
    numbers: dict[Any, int] = {}

    def atom(x: Any) -> Any:
        if isinstance(x, core.Literal):
            return (str(x.aval), repr(np.asarray(x.val).tolist()))
        return numbers.setdefault(x, len(numbers))

    inputs = [(atom(v), v.aval) for v in (*jaxpr.constvars, *jaxpr.invars)]
    equations = tuple(
        (
            equation.primitive,
            tuple(atom(x) for x in equation.invars),
            tuple((atom(v), v.aval) for v in equation.outvars),
            _options(equation, held),
        )
        for equation in jaxpr.eqns
    )
    return (tuple(inputs), equations, tuple(atom(x) for x in jaxpr.outvars))


def _options(equation: Any, held: list[Any]) -> Any:
    params = equation.params
    if equation.primitive.name in CALLS and equation.primitive.name != "jit":
        return _comparable(inner_program(params), held)
    return tuple((name, _comparable(params[name], held)) for name in sorted(params))


def _comparable(value: Any, held: list[Any]) -> Any:
    if isinstance(value, core.ClosedJaxpr):
        held += value.consts
        consts = tuple(id(const) for const in value.consts)
        return (_form(value.jaxpr, held), consts)
    if isinstance(value, core.Jaxpr):
        return _form(value, held)
    if isinstance(value, tuple | list):
        return (type(value), *(_comparable(part, held) for part in value))
    try:
        hash(value)
    except TypeError:
        held.append(value)
        return id(value)
    return value
