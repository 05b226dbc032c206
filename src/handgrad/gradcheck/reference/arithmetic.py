"""A traced program in other arithmetic: in float64 throughout, or in random rounding.

The program that JAX traced, with its own casts, is run operation by operation. Every
floating number in it is float64, whatever dtype the program gives it, so a cast to
bfloat16 in a loss takes nothing from the truth. *Random rounding* then rounds every
result that is not exact up or down at random (Parker 1997, "Monte Carlo Arithmetic";
Vignes 2004, "Discrete stochastic arithmetic for validating results of numerical
software"): by one unit in the last place of float64, or to the dtype that the program
gives it, to one of the two numbers beside, the nearer the likelier.

An operation that only moves, chooses or compares numbers is exact, and so is a cast to
a wider dtype. Calls, loops and branches are entered. What cannot be had in float64 (a
callback, a kernel, the bits of a number) is run in its own dtype: an *island*.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from handgrad.gradcheck.reference.dtypes import is_inexact, unit_of, wide_dtype

EXACT = (
    *("abs", "bitcast_convert_type", "broadcast_in_dim", "ceil", "clamp", "complex"),
    *("concatenate", "conj", "convert_element_type", "copy", "copy_p", "cummax"),
    *("cummin", "device_put", "dynamic_slice", "dynamic_update_slice", "floor"),
    *("gather", "imag", "iota", "max", "min", "name", "neg", "optimization_barrier"),
    *("pad", "pvary", "real", "reduce_max", "reduce_min", "reduce_precision"),
    *("reduce_window_max", "reduce_window_min", "reshape", "reshard", "rev", "round"),
    *("scatter", "scatter-max", "scatter-min", "select_n", "sharding_constraint"),
    *("sign", "slice", "sort", "split", "squeeze", "stack", "stop_gradient", "tile"),
    *("top_k", "transpose", "unstack"),
)
"""Names of the primitives whose result is among their operands, or a whole number."""

CALLS = (
    *("checkpoint", "closed_call", "core_call", "core_closed_call"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "jit", "pjit"),
    *("remat", "remat2", "run_state"),
)
"""Names of the primitives that run another program once."""

ISLANDS = (
    *("bitcast_convert_type", "custom_partitioning", "ffi_call", "io_callback"),
    *("nextafter", "pallas_call", "pure_callback"),
)
"""Names of the primitives that are run in the dtypes that the program gives them."""

REDUCERS = ("reduce", "reduce_window")
"""Names of the primitives that hold a program of scalars; scatters do too."""

STAGGER = 8191
"""Results are moved by stretches of one array of signs that begin so far apart."""

LAST_PLACE = 1.2 * unit_of(np.dtype(np.float64))
"""A share that moves a number of float64 by one unit in its last place, or by two."""

Program = core.Jaxpr


@dataclass(frozen=True)
class Rounding:
    """How results are rounded, and what was learnt about the program on the way.

    Attributes:
      moves: random numbers for every entry of a result, and `STAGGER` more; None moves
        nothing. Of -1, 0 and 1 for the last place of float64; of 64 bits each for the
        dtypes of the program.
      step: how often a loop was entered, where this is inside of one.
      sites: numbers the results.
      islands: the dtypes of results that could not be had in float64.
    """

    moves: Any = None
    step: Any = None
    sites: count = field(default_factory=lambda: count(1))
    islands: set[np.dtype] = field(default_factory=set)

    def moved(self, value: Any, dtype: np.dtype) -> Any:
        """``value`` as another rounding in ``dtype`` might have given it."""
        if self.moves is None:
            return value
        begin, size = 5231 * next(self.sites) % STAGGER, int(np.size(value))
        if self.step is None:
            part = lax.slice(self.moves, (begin,), (begin + size,))
        else:
            begin = (begin + 2741 * self.step) % STAGGER
            part = lax.dynamic_slice(self.moves, (begin,), (size,))
        part = part.reshape(value.shape)
        if self.moves.dtype == np.uint64:
            return to_dtype(value, part, dtype)
        return value * (1 + LAST_PLACE * part)

    @property
    def still(self) -> "Rounding":
        """The same, moving nothing."""
        return replace(self, moves=None)


def to_dtype(value: Any, random: Any, dtype: np.dtype) -> Any:
    """A number rounded at random to one of the two of ``dtype`` beside it.

    The bits that ``dtype`` has no room for are added to as many random ones, and cut
    off: what it holds exactly stays.
    """
    if jnp.iscomplexobj(value):
        parts = (to_dtype(part, random, dtype) for part in (value.real, value.imag))
        return lax.complex(*parts)
    spare = np.uint64((1 << max(0, 52 - int(jnp.finfo(dtype).nmant))) - 1)
    bits = lax.bitcast_convert_type(value, np.uint64)
    bits = (bits + (random & spare)) & ~spare
    return lax.bitcast_convert_type(bits, np.float64)


def run(program: Program, inputs: Sequence[Any], rounding: Rounding) -> list[Any]:
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


def widened(value: Any, exact: Any = None) -> Any:
    """A floating or complex number in 64 bits; anything else as it is."""
    if not (hasattr(value, "dtype") and is_inexact(value.dtype)):
        return value
    dtype = wide_dtype(value.dtype)
    if exact is not None and isinstance(exact, float):
        return np.asarray(exact, dtype)
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value).astype(dtype)
    return lax.convert_element_type(value, dtype)


def _apply(equation: Any, operands: list[Any], rounding: Rounding) -> list[Any]:
    name = equation.primitive.name
    if name in CALLS:
        return _enter(inner_program(equation.params), operands, rounding)
    if name in STRUCTURES:
        return STRUCTURES[name](equation.params, operands, rounding)
    if name == "reduce_precision":  # a cast, by another name
        return operands
    results = _bind(equation, operands, rounding)
    return [
        rounding.moved(result, atom.aval.dtype) if _rounds(equation, atom) else result
        for result, atom in zip(results, equation.outvars, strict=True)
    ]


def inner_program(params: dict[str, Any]) -> Any:
    """The jaxpr that a call runs."""
    names = ("jaxpr", "call_jaxpr", "fun_jaxpr")
    return next(params[name] for name in names if name in params)


def _enter(inner: Any, operands: Sequence[Any], rounding: Rounding) -> list[Any]:
    if isinstance(inner, core.ClosedJaxpr):
        return run(inner.jaxpr, [*inner.consts, *operands], rounding)
    return run(inner, operands, rounding)


def _rounds(equation: Any, result: Any) -> bool:
    """Whether a result of an operation is rounded."""
    aval = result.aval
    if not (hasattr(aval, "dtype") and is_inexact(aval.dtype) and aval.size):
        return False
    if equation.primitive.name == "convert_element_type":
        given = equation.invars[0].aval.dtype
        return is_inexact(given) and unit_of(aval.dtype) > unit_of(given)
    return equation.primitive.name not in EXACT


def _bind(equation: Any, operands: list[Any], rounding: Rounding) -> list[Any]:
    """The results of one operation in float64, or of an island."""
    if equation.primitive.name not in ISLANDS:
        try:
            results = _call(equation, operands, _retyped(equation))
        except Exception:  # whatever a primitive raises at dtypes that it does not know
            results = None
        if results is not None and _as_expected(equation, results):
            return results
    return _island(equation, operands, rounding)


def _call(equation: Any, operands: Sequence[Any], params: Any) -> list[Any]:
    options = equation.primitive.get_bind_params(params)
    found = equation.primitive.bind(*operands, **options)
    return list(found) if equation.primitive.multiple_results else [found]


def _as_expected(equation: Any, results: Sequence[Any]) -> bool:
    """Whether all results have the shapes of the program, in 64 bits."""
    for atom, result in zip(equation.outvars, results, strict=True):
        aval = atom.aval
        if not hasattr(aval, "dtype"):
            continue
        dtype = wide_dtype(aval.dtype) if is_inexact(aval.dtype) else aval.dtype
        if result.shape != aval.shape or result.dtype != dtype:
            return False
    return True


def _island(equation: Any, operands: list[Any], rounding: Rounding) -> list[Any]:
    """The results of an operation in its own dtypes."""
    narrow = [
        lax.convert_element_type(value, atom.aval.dtype)
        if hasattr(value, "dtype") and is_inexact(value.dtype)
        else value
        for value, atom in zip(operands, equation.invars, strict=True)
    ]
    results = _call(equation, narrow, equation.params)
    if equation.primitive.name != "bitcast_convert_type":
        kinds = {r.dtype for r in results if hasattr(r, "dtype")}
        rounding.islands.update(np.dtype(d) for d in kinds if is_inexact(d))
    return [widened(result) for result in results]


def _retyped(equation: Any) -> dict[str, Any]:
    """The parameters of an operation, with 64 bits where they name a dtype."""
    name, params = equation.primitive.name, dict(equation.params)
    for key, value in params.items():
        if isinstance(value, core.Jaxpr | core.ClosedJaxpr):
            if name not in REDUCERS and not name.startswith("scatter"):
                raise TypeError(f"`{name}` holds a program of unknown use.")
            params[key] = _retyped_program(value)
        elif key == "precision":
            params[key] = None
        elif key.endswith(("dtype", "_type")) and _names_inexact(value):
            params[key] = wide_dtype(value)
    return params


def _names_inexact(value: Any) -> bool:
    try:
        return value is not None and is_inexact(np.dtype(value))
    except TypeError:
        return False


def _retyped_program(inner: Any) -> Any:
    """A program of scalars in float64."""
    closed = isinstance(inner, core.ClosedJaxpr)
    program, consts = (inner.jaxpr, inner.consts) if closed else (inner, [])
    avals = [
        jax.ShapeDtypeStruct(
            v.aval.shape,
            wide_dtype(v.aval.dtype) if is_inexact(v.aval.dtype) else v.aval.dtype,
        )
        for v in program.invars
    ]
    still = Rounding()
    found = jax.make_jaxpr(lambda *a: run(program, [*consts, *a], still))(*avals)
    return found if closed else found.jaxpr


def _scan(params: Any, operands: list[Any], rounding: Rounding) -> list[Any]:
    fixed, carried = _consts_and_carry(params)
    consts, rest = operands[:fixed], operands[fixed:]

    def body(state: Any, x: Any) -> Any:
        step, carry = state
        inputs = [*consts, *carry, *x]
        found = _enter(params["jaxpr"], inputs, replace(rounding, step=step))
        return (step + 1, found[:carried]), found[carried:]

    state = (_first(rounding), [_strong(x) for x in rest[:carried]])
    (_, carry), stacked = lax.scan(
        body, state, rest[carried:], params["length"], params["reverse"]
    )
    return [*carry, *stacked]


def _consts_and_carry(params: Any) -> tuple[int, int]:
    """How many operands of a scan are held constant, and how many are carried."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()  # jax 0.12
    return len(consts), len(carry)


def _while(params: Any, operands: list[Any], rounding: Rounding) -> list[Any]:
    first, second = params["cond_nconsts"], params["body_nconsts"]
    in_test, rest = operands[:first], operands[first:]
    in_body, start = rest[:second], rest[second:]
    test = params["cond_jaxpr"]
    # In the last place, a loop that counts in floats might count otherwise.
    to_own = rounding.moves is not None and rounding.moves.dtype == np.uint64

    def goes_on(state: Any) -> Any:
        inputs = [*test.consts, *in_test, *state[1]]
        return run(test.jaxpr, inputs, rounding.still)[0]

    def body(state: Any) -> Any:
        step, values = state
        inside = replace(rounding, step=step) if to_own else rounding.still
        return step + 1, _enter(params["body_jaxpr"], [*in_body, *values], inside)

    state = (_first(rounding), [_strong(x) for x in start])
    results = lax.while_loop(goes_on, body, state)[1]
    avals = params["body_jaxpr"].out_avals
    return [
        value if to_own or not _moves(aval) else rounding.moved(value, aval.dtype)
        for value, aval in zip(results, avals, strict=True)
    ]


def _moves(aval: Any) -> bool:
    return hasattr(aval, "dtype") and is_inexact(aval.dtype) and aval.size > 0


def _first(rounding: Rounding) -> Any:
    step = 0 if rounding.step is None else 97 * rounding.step
    return jnp.asarray(step, jnp.int32)


def _strong(value: Any) -> Any:
    """A carried value, typed for good: what is weak becomes strong in a loop."""
    return lax.convert_element_type(value, value.dtype) if _plain(value) else value


def _plain(value: Any) -> bool:
    return hasattr(value, "dtype") and not jnp.issubdtype(
        value.dtype, jax.dtypes.extended
    )


def _cond(params: Any, operands: list[Any], rounding: Rounding) -> list[Any]:
    index, *rest = operands
    branches: list[Callable[..., Any]] = [
        lambda *inputs, branch=branch: _enter(branch, inputs, rounding)
        for branch in params["branches"]
    ]
    return lax.switch(index, branches, *rest)


def _linear_solve(params: Any, operands: list[Any], rounding: Rounding) -> list[Any]:
    lengths, programs = params["const_lengths"], params["jaxprs"]
    begin = lengths.matvec + lengths.vecmat
    consts = operands[begin : begin + lengths.solve]
    return _enter(programs.solve, [*consts, *operands[sum(lengths) :]], rounding)


def _shard_map(params: Any, operands: list[Any], rounding: Rounding) -> list[Any]:
    def local(moves: Any, *inputs: Any) -> Any:
        inside = replace(rounding, moves=moves)
        return tuple(_enter(params["jaxpr"], inputs, inside))

    whole = jax.sharding.PartitionSpec()
    mapped = jax.shard_map(
        local,
        mesh=params["mesh"],
        in_specs=(whole, *params["in_specs"]),
        out_specs=tuple(params["out_specs"]),
        axis_names=set(params["manual_axes"]),
        check_vma=params["check_vma"],
    )
    return list(mapped(rounding.moves, *operands))


STRUCTURES: dict[str, Callable[[Any, list[Any], Rounding], list[Any]]] = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "custom_linear_solve": _linear_solve,
    "shard_map": _shard_map,
}
"""How the operations that hold programs are run."""
