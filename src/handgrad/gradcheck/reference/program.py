"""A function of arrays, traced once, and run as it is written or in float64.

What was compiled for a program is kept, and serves every program of the same
operations: the constants of a program are among its inputs.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core

from handgrad.gradcheck.randomness import stream
from handgrad.gradcheck.reference.arithmetic.moves import STAGGER, Rounding
from handgrad.gradcheck.reference.arithmetic.run import run
from handgrad.gradcheck.reference.devices import float64, wide_array
from handgrad.gradcheck.reference.dtypes import is_inexact
from handgrad.gradcheck.reference.form import Program
from handgrad.gradcheck.trees import to_numpy

KEPT = 128
"""Compiled programs that are kept, of 2 MB or more each: those of one call of
`check_rules`, which are up to a hundred, or of some tens of gradients."""

TO_THE_LETTER = {"xla_allow_excess_precision": False}
"""A cast to a narrower dtype is made where it is written, as it is step by step."""

QUICKLY = {"xla_backend_optimization_level": 0}
"""Less time is spent on compiling a program that does not run for long."""

LARGE = 1 << 16
"""A program with a result of so many entries is worth compiling well."""


class Traced(NamedTuple):
    """A function that was traced.

    Attributes:
      program: its operations.
      consts: the arrays that it takes from elsewhere.
      mode: of autodiff, where that is not the usual one.
    """

    program: Program
    consts: list[Any]
    mode: str = "reverse"

    @property
    def dtype(self) -> np.dtype:
        """Of the first result."""
        first: Any = self.program.jaxpr.outvars[0].aval
        return np.dtype(first.dtype)

    def as_written(
        self, values: Sequence[Any], consts: Sequence[Any] | None = None
    ) -> list[np.ndarray]:
        """Run it in its own dtypes, rounded where it says so."""
        return [to_numpy(result) for result in self.arrays(values, consts)]

    def arrays(
        self, values: Sequence[Any], consts: Sequence[Any] | None = None
    ) -> list[jax.Array]:
        """The results of `as_written` as they are."""
        given = self.consts if consts is None else consts
        return _as_written(self.program)(list(given), list(values))

    def in_float64(
        self,
        values: Sequence[Any],
        consts: Sequence[Any] | None = None,
        moves: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        """Run it in float64; in random rounding if there are ``moves`` for it."""
        given = self.consts if consts is None else consts
        wide = _in_float64(self.program)
        with float64():
            inputs = [[wide_array(x) for x in part] for part in (given, values)]
            if moves is None:
                results = wide.still(*inputs)
            else:
                results = wide.moving(moves, *inputs)
            return [to_numpy(result) for result in results]

    @property
    def unmoved(self) -> np.ndarray:
        """Moves of nothing: for one compiled program with and without moves."""
        return np.zeros(entries(self.program), np.int8)

    def last_places(self, seed: int) -> np.ndarray:
        """Random moves in the last place of float64, for one run of `in_float64`."""
        choice = stream("rounding", seed).integers(0, 2, entries(self.program))
        return (2 * choice - 1).astype(np.int8)

    def own_dtypes(self, seed: int) -> np.ndarray:
        """Random bits, for one run of `in_float64` rounded to the program's dtypes."""
        most, size = np.iinfo(np.uint64).max, entries(self.program)
        return stream("dtypes", seed).integers(0, most, size, np.uint64, endpoint=True)

    @property
    def islands(self) -> set[np.dtype]:
        """The dtypes of what `in_float64` could not have in float64, once it ran."""
        return _in_float64(self.program).islands


def trace(function: Callable[..., Any], values: Sequence[Any]) -> Traced:
    """Trace a function of a list of arrays.

    Raises:
      Exception: whatever the function raises; jax.errors.ConcretizationTypeError and
        the like if it looks at numbers.
    """
    closed: Any = jax.make_jaxpr(function)(list(values))
    if closed.jaxpr.is_high:  # it has hijax primitives, which are expanded
        closed = jax.jit(function).trace(list(values)).lojax.jaxpr
    return Traced(Program.of(closed.jaxpr), list(closed.consts))


class Wide(NamedTuple):
    """A program that is run in float64: compiled, and what it was found to hold."""

    still: Callable[..., Any]
    moving: Callable[..., Any]
    islands: set[np.dtype]


@functools.lru_cache(KEPT)
def _as_written(program: Program) -> Callable[..., Any]:
    def function(consts: list[Any], values: list[Any]) -> list[Any]:
        closed = core.ClosedJaxpr(program.jaxpr, consts)
        return core.jaxpr_as_fun(closed)(*values)

    return jax.jit(function, compiler_options=TO_THE_LETTER | _haste(program))


@functools.lru_cache(KEPT)
def _in_float64(program: Program) -> Wide:
    islands: set[np.dtype] = set()

    def moving(moves: Any, consts: list[Any], values: list[Any]) -> list[Any]:
        rounding = Rounding(moves, islands=islands)
        return run(program.jaxpr, [*consts, *values], rounding)

    def still(consts: list[Any], values: list[Any]) -> list[Any]:
        return moving(None, consts, values)

    compiled = functools.partial(jax.jit, compiler_options=_haste(program))
    return Wide(compiled(still), compiled(moving), islands)


def _haste(program: Program) -> dict[str, int]:
    small = entries(program) < LARGE and jax.default_backend() == "cpu"
    return QUICKLY if small else {}


def entries(program: Program) -> int:
    """How many signs one run of a program takes."""
    return STAGGER + max((_size(v.aval) for v in _results(program.jaxpr)), default=0)


def _results(jaxpr: core.Jaxpr) -> list[Any]:
    found = []
    for equation in jaxpr.eqns:
        found += equation.outvars
        for inner in _programs(equation.params):
            found += _results(getattr(inner, "jaxpr", inner))
    return found


def _programs(value: Any) -> list[Any]:
    """The programs among the parameters of an operation."""
    if isinstance(value, core.Jaxpr | core.ClosedJaxpr):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return [inner for part in value for inner in _programs(part)]
    return []


def _size(aval: Any) -> int:
    return int(np.prod(getattr(aval, "shape", ()), dtype=int))


def dtypes(program: Program) -> set[np.dtype]:
    """The floating and complex dtypes of all results in a program."""
    found = [getattr(v.aval, "dtype", None) for v in _results(program.jaxpr)]
    return {np.dtype(d) for d in found if d is not None and is_inexact(d)}
