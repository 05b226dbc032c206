"""`check_rules` and `assert_rules`: every rule of a function, in one call."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.gradients import GradientMismatch
from handgrad.gradcheck.rules.calls import call_of, name_of_function
from handgrad.gradcheck.rules.measure import modes_of
from handgrad.gradcheck.rules.plain import Plain, plain_of
from handgrad.gradcheck.rules.rows import check_names, rows_of
from handgrad.gradcheck.rules.subject import Function, Subject, fresh
from handgrad.gradcheck.rules.table import Rules
from handgrad.gradcheck.trees import is_array, is_floating


class RuleMismatch(GradientMismatch):
    """A function with a wrong rule. The message is the table, and then the call.

    Attributes:
      report: the `Rules`.
    """

    report: Any

    def __init__(self, report: Rules) -> None:
        AssertionError.__init__(
            self, f"\n{report}\n\nTo see it again:\n\n{report.call}"
        )
        self.report = report


def check_rules(
    function: Function,
    *primals: Any,
    reference: Function | None = None,
    key: jax.Array | None = None,
    rows: Sequence[str] | None = None,
) -> Rules:
    """Check every rule of a function: derivatives, and how they bear transformations.

    Any function will do: a `jax.custom_vjp` or `custom_jvp`, a primitive of
    `jax.experimental.hijax`, a function that calls one, any other primitive, or a
    Pallas kernel or a callback beside a plain ``reference``.

    The rows of the table:

      value, value in vjp, value in jvp
        a call, and the outputs that the forward pass and the forward rule return,
        against the plain function in float64
      vjp, jvp
        as `check_vjp` and `check_jvp`, with causes
      jvp against vjp
        <u, J v> = <J^T u, v>
      linear in the cotangent, zero cotangent; linear in the tangent, zero tangent
      unused outputs, subsets of arguments
        with the symbolic zeros that JAX makes of them
      vjp of vjp, jvp of vjp, vjp of jvp, jvp of jvp
        second derivatives
      jit, checkpoint, scan, vmap
        against the same without: value, cotangents and tangents, over each argument
      called twice, inputs unchanged, types
        no state between calls; nothing donated or written to; shape, dtype, weak type
        and sharding of all that comes out

    Args:
      function: primals -> output, any pytree of arrays.
      primals: the arguments, at which nothing is special: neither zeros nor ties.
        What is no floating array is held fixed.
      reference: the same function without rules. Default: the plain function inside
        the rule, or what a hijax primitive expands to. A function without a rule is
        compared with autodiff of itself, and that with finite differences.
      key: a PRNG key for the directions; default 0.
      rows: names of the rows to look at, as while one rule is written. Default: all.

    Returns:
      The rows; ``rules.ok``, ``rules["vjp"]`` and ``print(rules)``.

    Raises:
      ValueError: if no argument is differentiated, or a row does not exist.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> @jax.custom_vjp
      ... def cube(x):
      ...     return x**3
      >>> cube.defvjp(lambda x: (cube(x), x), lambda x, u: (2 * x**2 * u,))
      >>> rules = check_rules(cube, jnp.arange(1.0, 6.0))
      >>> rules.ok, rules["vjp"].cause, rules["jvp"].verdict
      (False, 'scale', 'not offered')
    """
    if rows is not None:
        check_names(rows)
    plain = plain_of(function, primals)
    subject = _subject(function, plain, reference, primals, key)
    options = {"reference": reference, "rows": rows}
    return Rules(
        name_of_function(function),
        tuple(rows_of(subject, modes_of(subject), rows)),
        _reference_in_words(plain, reference),
        call=call_of("check_rules", function, primals, options),
    )


def assert_rules(
    function: Function,
    *primals: Any,
    reference: Function | None = None,
    key: jax.Array | None = None,
    rows: Sequence[str] | None = None,
) -> None:
    """Raise if `check_rules` finds anything wrong, or no derivative to test.

    Args:
      function, primals, reference, key, rows: as in `check_rules`.

    Raises:
      RuleMismatch: with the table, and the call that shows it again, as its message.
    """
    __tracebackhide__ = True  # pytest shows the table first
    rules = check_rules(function, *primals, reference=reference, key=key, rows=rows)
    if not rules.ok:
        raise RuleMismatch(rules)


def _subject(
    function: Function,
    plain: Plain,
    reference: Function | None,
    primals: tuple[Any, ...],
    key: jax.Array | None,
) -> Subject:
    open_ = [i for i in range(len(primals)) if i not in plain.nondiff]
    leaves = [jax.tree.leaves(part) for part in primals]
    moving = tuple(i for i in open_ if any(map(is_floating, leaves[i])))
    if not moving:
        raise ValueError(
            "`primals` must hold a floating array that is differentiated, got none."
        )
    mapped = tuple(i for i in open_ if leaves[i] and all(map(_mappable, leaves[i])))
    chosen = reference if reference is not None else plain.function
    own = reference is None and not plain.rules

    def undonated(*given: Any) -> Any:
        return chosen(*fresh(given))

    return Subject(function, undonated, primals, moving, mapped, plain.rules, own, key)


def _mappable(leaf: Any) -> bool:
    if isinstance(leaf, float):
        return True
    return is_array(leaf) and np.dtype(leaf.dtype).kind in "biufcV" and _numeric(leaf)


def _numeric(leaf: Any) -> bool:
    return not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)


def _reference_in_words(plain: Plain, reference: Function | None) -> str:
    if reference is not None:
        return f"{name_of_function(reference)}, in float64"
    if plain.rules:
        rules = " and ".join(sorted(plain.rules))
        return f"the plain function inside the {rules}, in float64"
    return "autodiff of the function itself in float64, and finite differences"
