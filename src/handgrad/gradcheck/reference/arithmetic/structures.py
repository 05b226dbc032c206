"""The operations that hold programs: calls, loops, branches, solves, shards."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from handgrad.gradcheck.reference.arithmetic.moves import Rounding
from handgrad.gradcheck.reference.arithmetic.operations import Enter
from handgrad.gradcheck.reference.dtypes import inexact

CALLS = (
    *("checkpoint", "closed_call", "core_call", "core_closed_call"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "jit", "pjit"),
    *("remat", "remat2", "run_state"),
)
"""Names of the primitives that run another program once."""


def inner_program(params: dict[str, Any]) -> Any:
    """The jaxpr that a call runs."""
    names = ("jaxpr", "call_jaxpr", "fun_jaxpr")
    return next(params[name] for name in names if name in params)


def _called(
    params: Any, operands: list[Any], rounding: Rounding, enter: Enter
) -> list[Any]:
    return enter(inner_program(params), operands, rounding)


def _scan(
    params: Any, operands: list[Any], rounding: Rounding, enter: Enter
) -> list[Any]:
    fixed, carried = _consts_and_carry(params)
    consts, rest = operands[:fixed], operands[fixed:]

    def body(state: Any, x: Any) -> Any:
        step, carry = state
        inputs = [*consts, *carry, *x]
        found = enter(params["jaxpr"], inputs, replace(rounding, step=step))
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


def _while(
    params: Any, operands: list[Any], rounding: Rounding, enter: Enter
) -> list[Any]:
    first, second = params["cond_nconsts"], params["body_nconsts"]
    in_test, rest = operands[:first], operands[first:]
    in_body, start = rest[:second], rest[second:]
    # In the last place, a loop that counts in floats might count otherwise.
    to_own = rounding.to_own_dtypes

    def goes_on(state: Any) -> Any:
        return enter(params["cond_jaxpr"], [*in_test, *state[1]], rounding.still)[0]

    def body(state: Any) -> Any:
        step, values = state
        inside = replace(rounding, step=step) if to_own else rounding.still
        # mutants: or the same random bits in every turn
        return step + 1, enter(params["body_jaxpr"], [*in_body, *values], inside)

    state = (_first(rounding), [_strong(x) for x in start])
    results = lax.while_loop(goes_on, body, state)[1]
    avals = params["body_jaxpr"].out_avals
    return [
        rounding.moved(value, aval.dtype)
        if inexact(aval) and aval.size and not to_own
        else value
        for value, aval in zip(results, avals, strict=True)
    ]


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


def _cond(
    params: Any, operands: list[Any], rounding: Rounding, enter: Enter
) -> list[Any]:
    index, *rest = operands
    branches: list[Callable[..., Any]] = [
        lambda *inputs, branch=branch: enter(branch, inputs, rounding)
        for branch in params["branches"]
    ]
    return lax.switch(index, branches, *rest)


def _linear_solve(
    params: Any, operands: list[Any], rounding: Rounding, enter: Enter
) -> list[Any]:
    lengths, programs = params["const_lengths"], params["jaxprs"]
    begin = lengths.matvec + lengths.vecmat
    consts = operands[begin : begin + lengths.solve]
    return enter(programs.solve, [*consts, *operands[sum(lengths) :]], rounding)


def _shard_map(
    params: Any, operands: list[Any], rounding: Rounding, enter: Enter
) -> list[Any]:
    def local(moves: Any, *inputs: Any) -> Any:
        inside = replace(rounding, moves=moves)
        return tuple(enter(params["jaxpr"], inputs, inside))

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


Structure = Callable[[Any, list[Any], Rounding, Enter], list[Any]]

STRUCTURES: dict[str, Structure] = {
    **dict.fromkeys(CALLS, _called),
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "custom_linear_solve": _linear_solve,
    "shard_map": _shard_map,
}
"""How the operations that hold programs are run."""
