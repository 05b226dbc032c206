"""One operation of a program in 64 bits; what cannot be had there is an island."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend import core

from handgrad.gradcheck.reference.arithmetic.moves import Rounding
from handgrad.gradcheck.reference.dtypes import (
    inexact,
    is_inexact,
    unit_of,
    wide_dtype,
)

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

ISLANDS = (
    *("bitcast_convert_type", "custom_partitioning", "ffi_call", "io_callback"),
    *("nextafter", "pallas_call", "pure_callback"),
)
"""Names of the primitives that are run in the dtypes that the program gives them."""

REDUCERS = ("reduce", "reduce_window")
"""Names of the primitives that hold a program of scalars; scatters do too."""

Enter = Callable[[Any, Sequence[Any], Rounding], list[Any]]
"""`run.enter`: a program, its arguments and the rounding -> its results."""


def widened(value: Any, exact: Any = None) -> Any:
    """A floating or complex number in 64 bits; anything else as it is."""
    if not inexact(value):
        return value
    dtype = wide_dtype(value.dtype)
    if isinstance(exact, float):
        return np.asarray(exact, dtype)
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value).astype(dtype)
    return lax.convert_element_type(value, dtype)


def rounds(equation: Any, result: Any) -> bool:
    """Whether a result of an operation is rounded."""
    if not (inexact(result.aval) and result.aval.size):
        return False
    if equation.primitive.name == "convert_element_type":
        given = equation.invars[0].aval.dtype
        return is_inexact(given) and unit_of(result.aval.dtype) > unit_of(given)
    return equation.primitive.name not in EXACT


def computed(
    equation: Any, operands: list[Any], rounding: Rounding, enter: Enter
) -> list[Any]:
    """The results of one operation in float64, or of an island."""
    if equation.primitive.name not in ISLANDS:
        try:
            results = _call(equation, operands, _retyped(equation, enter))
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
    return all(
        (result.shape, result.dtype) == (atom.aval.shape, _wide(atom.aval))
        for atom, result in zip(equation.outvars, results, strict=True)
        if hasattr(atom.aval, "dtype")
    )


def _wide(aval: Any) -> Any:
    """The dtype of a value once its numbers have 64 bits."""
    return wide_dtype(aval.dtype) if is_inexact(aval.dtype) else aval.dtype


def _island(equation: Any, operands: list[Any], rounding: Rounding) -> list[Any]:
    """The results of an operation in its own dtypes."""
    narrow = [
        lax.convert_element_type(value, atom.aval.dtype) if inexact(value) else value
        for value, atom in zip(operands, equation.invars, strict=True)
    ]
    results = _call(equation, narrow, equation.params)
    if equation.primitive.name != "bitcast_convert_type":
        rounding.islands.update(np.dtype(r.dtype) for r in results if inexact(r))
    return [widened(result) for result in results]


def _retyped(equation: Any, enter: Enter) -> dict[str, Any]:
    """The parameters of an operation, with 64 bits where they name a dtype."""
    name, params = equation.primitive.name, dict(equation.params)
    for key, value in params.items():
        if isinstance(value, core.Jaxpr | core.ClosedJaxpr):
            if name not in REDUCERS and not name.startswith("scatter"):
                raise TypeError(f"`{name}` holds a program of unknown use.")
            params[key] = _retyped_program(value, enter)
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


def _retyped_program(inner: Any, enter: Enter) -> Any:
    """A program of scalars in float64."""
    closed = isinstance(inner, core.ClosedJaxpr)
    names = (inner.jaxpr if closed else inner).invars
    avals = [jax.ShapeDtypeStruct(v.aval.shape, _wide(v.aval)) for v in names]
    found = jax.make_jaxpr(lambda *a: enter(inner, a, Rounding()))(*avals)
    return found if closed else found.jaxpr
