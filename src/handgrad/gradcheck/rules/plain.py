"""The plain function inside a function with rules: what its rules must agree with.

A `jax.custom_vjp` or `custom_jvp` holds its plain function, and a hijax primitive says
what it expands to. A function that calls one somewhere inside is traced, and replayed
with the plain functions in the place of the rules. The rules that JAX itself ships
(`jax.nn.relu`) stay: they say what is meant at a kink. So do those inside a plain
function; they can be checked on their own.
"""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend import core

Function = Callable[..., Any]

RULES = {"custom_vjp_call": "custom_vjp", "custom_jvp_call": "custom_jvp"}
"""Names of the primitives that carry a rule, and what people call it."""

HIJAX = "call_hi_primitive"
"""The primitive that runs one of `jax.experimental.hijax`."""

ONCE = ("closed_call", "jit", "remat2", "checkpoint")
"""Names of the primitives that run another program once."""

_JAX = os.path.dirname(jax.__file__) + os.sep


class Plain(NamedTuple):
    """A function without its rules.

    Attributes:
      function: the same arguments, the same values.
      rules: what carried those that were taken out of it: "custom_vjp", "custom_jvp",
        or the names of hijax primitives.
      nondiff: the positions that its rule is told are not differentiated.
    """

    function: Function
    rules: frozenset[str]
    nondiff: tuple[int, ...] = ()


def plain_of(function: Function, primals: Sequence[Any]) -> Plain:
    """Take the rules out of a function; without any it is its own plain function."""
    outer = _unjitted(function)
    if isinstance(outer, jax.custom_vjp | jax.custom_jvp):
        which = "custom_vjp" if isinstance(outer, jax.custom_vjp) else "custom_jvp"
        nondiff = tuple(i % len(primals) for i in outer.nondiff_argnums)
        return Plain(outer.fun, frozenset({which}), nondiff)
    rules = _rules_inside(function, primals)
    if not rules:
        return Plain(function, rules)
    return Plain(functools.partial(_replayed, function), rules)


def _unjitted(function: Function) -> Any:
    """What is under `jax.jit`."""
    while not isinstance(function, jax.custom_vjp | jax.custom_jvp) and hasattr(
        function, "lower"
    ):
        function = getattr(function, "__wrapped__", None)  # type: ignore[assignment]
    return function


def _rules_inside(function: Function, primals: Sequence[Any]) -> frozenset[str]:
    """What carries rules somewhere inside a function."""
    try:
        program, _, _ = _trace(function, primals)
    except Exception:  # it cannot be traced; then nothing can be taken out of it
        return frozenset()
    return frozenset(_found(program.jaxpr))


def _trace(function: Function, primals: Sequence[Any]) -> tuple[Any, list[Any], Any]:
    """The program of a function, its array arguments, the structure of its output."""
    leaves, structure = jax.tree.flatten(tuple(primals))
    live = [i for i, leaf in enumerate(leaves) if _traceable(leaf)]

    def of_arrays(*arrays: Any) -> Any:
        merged = list(leaves)
        for i, array in zip(live, arrays, strict=True):
            merged[i] = array
        return function(*jax.tree.unflatten(structure, merged))

    arrays = [leaves[i] for i in live]
    program, shape = jax.make_jaxpr(of_arrays, return_shape=True)(*arrays)
    return program, arrays, jax.tree.structure(shape)


def _traceable(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | float | complex) or hasattr(leaf, "dtype")


def _replayed(function: Function, *primals: Any) -> Any:
    program, arrays, structure = _trace(function, primals)
    outputs = replay(program.jaxpr, [*program.consts, *arrays])
    return jax.tree.unflatten(structure, outputs)


def replay(program: Any, inputs: Sequence[Any]) -> list[Any]:
    """Run a program with the plain functions in the place of its rules.

    Args:
      program: the jaxpr.
      inputs: the values of its constants, and then of its arguments.
    """
    names = [*program.constvars, *program.invars]
    known: dict[Any, Any] = dict(zip(names, inputs, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else known[atom]

    for equation in program.eqns:
        results = _apply(equation, [read(atom) for atom in equation.invars])
        known.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in program.outvars]


def _apply(equation: Any, operands: list[Any]) -> list[Any]:
    name, params = equation.primitive.name, equation.params
    inside = bool(_found_in(equation))
    if inside and name == HIJAX:
        return _expanded(params["_prim"], operands)
    if inside and (name in RULES or name in ONCE):
        return _inline(params.get("call_jaxpr", params.get("jaxpr")), operands)
    if inside:
        params = {key: _rebuilt(value) for key, value in params.items()}
    replaced = equation.replace(params=params) if inside else equation
    options = replaced.primitive.get_bind_params(replaced.params)
    found = replaced.primitive.bind(*operands, **options)
    return list(found) if replaced.primitive.multiple_results else [found]


def _expanded(primitive: Any, operands: list[Any]) -> list[Any]:
    """What a hijax primitive stands for, in other operations."""
    output = primitive.expand(*jax.tree.unflatten(primitive.in_tree, operands))
    return primitive.out_tree.flatten_up_to(output)


def _inline(program: Any, operands: list[Any]) -> list[Any]:
    if isinstance(program, core.ClosedJaxpr):
        return replay(program.jaxpr, [*program.consts, *operands])
    return replay(program, operands)


def _rebuilt(value: Any) -> Any:
    """A program among the parameters of a loop or a branch, without its rules."""
    if isinstance(value, tuple):
        return tuple(map(_rebuilt, value))
    if not isinstance(value, core.ClosedJaxpr):
        return value
    avals = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in value.in_avals]
    return jax.make_jaxpr(lambda *operands: _inline(value, list(operands)))(*avals)


def _found(program: Any) -> set[str]:
    """What carries rules in a program, those of JAX itself apart."""
    return {rule for equation in program.eqns for rule in _found_in(equation)}


def _found_in(equation: Any) -> set[str]:
    if equation.primitive.name == HIJAX:
        kind = type(equation.params["_prim"])
        return set() if kind.__module__.startswith("jax.") else {kind.__name__}
    rule = RULES.get(equation.primitive.name)
    if rule is not None:
        return set() if _by_jax(equation) else {rule}
    found: set[str] = set()
    for value in equation.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            program = part.jaxpr if isinstance(part, core.ClosedJaxpr) else part
            if isinstance(program, core.Jaxpr):
                found |= _found(program)
    return found


def _by_jax(equation: Any) -> bool:
    """Whether a rule is one that JAX ships, by the file of its function."""
    program = equation.params["call_jaxpr"]
    program = program.jaxpr if isinstance(program, core.ClosedJaxpr) else program
    return in_jax(str(program.debug_info.func_src_info))


def in_jax(place: str) -> bool:
    """Whether a file, or a place in one, is JAX's own."""
    return _JAX in place
