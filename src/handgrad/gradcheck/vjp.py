"""`check_vjp`: a forward and a backward function, in the order of jax.custom_vjp."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.check import Check
from handgrad.gradcheck.cotangents import Cotangent
from handgrad.gradcheck.gradients import check_often, options_of
from handgrad.gradcheck.positions import fixed_of, others, put
from handgrad.gradcheck.randomness import seeds_of
from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.report.report import Report
from handgrad.gradcheck.trees import dtype_of, is_array


def check_vjp(
    function: Callable[..., Any],
    fwd: Callable[..., Any],
    bwd: Callable[..., Any],
    *primals: Any,
    nondiff_argnums: int | Sequence[int] = (),
    key: jax.Array | None = None,
    **options: Any,
) -> Report:
    """Check a hand-written vector-Jacobian product before registering it.

    With a random cotangent u of the output, ``bwd`` must return the gradient of
    Re <u, function(primals)>, in JAX's convention: <u, y> = sum u y, without a
    conjugate. Pass the plain function, not the `jax.custom_vjp` made of it: then
    autodiff of the plain function is the reference.

    Args:
      function: primals -> output, any pytree of arrays.
      fwd: primals -> (output, residuals).
      bwd: residuals, cotangent -> one cotangent per differentiable primal; None stands
        for zero. Non-differentiable arguments come first, as in `jax.custom_vjp`.
      primals: the arguments.
      nondiff_argnums: the positions that `jax.custom_vjp` is told are not
        differentiated.
      key: a PRNG key for the cotangents (and for more points); default 0.
      options: as in `check_gradients`; each of the ``trials`` has a cotangent of its
        own.

    Returns:
      The report, with one group of leaves per differentiable primal. A ``fwd`` whose
      output is not the function's, in value or in dtype, is a fault.

    Raises:
      TypeError: if ``bwd`` returns another number of cotangents, or ``fwd`` an output
        of another form than the function.
      ValueError: for a position in ``nondiff_argnums`` without a primal.

    Example:
      >>> report = check_vjp(
      ...     jnp.sin, lambda x: (jnp.sin(x), x), lambda x, u: (-u * jnp.cos(x),),
      ...     jnp.arange(1.0, 6.0),
      ... )
      >>> report.leaves[0].cause
      'sign'
    """
    seeds = seeds_of(key)
    fixed = fixed_of(nondiff_argnums, len(primals))
    moving = others(fixed, len(primals))
    params = tuple(primals[i] for i in moving)
    cotangent = Cotangent.of(_output_of(function, primals))
    faults: list[str] = []

    def loss(params: tuple[Any, ...], u: list[Any]) -> jax.Array:
        return cotangent.inner(u, function(*put(primals, moving, params)))

    def gradient(params: tuple[Any, ...], u: list[Any]) -> tuple[Any, Any]:
        output, residuals = fwd(*put(primals, moving, params))
        faults.extend(cotangent.compare(output))
        cotangents = bwd(*(primals[i] for i in fixed), residuals, cotangent.match(u))
        return cotangent.inner(u, output), _full(cotangents, params)

    def related(params: tuple[Any, ...]) -> dict[str, Any]:
        inputs = put(primals, moving, params)
        outputs = jax.tree.leaves(function(*inputs))
        found = {_named("output", i, outputs): x for i, x in enumerate(outputs)}
        inputs = jax.tree.leaves(inputs)
        arrays = {f"primal leaf {i}": x for i, x in enumerate(inputs) if is_array(x)}
        return found | arrays

    def again(check: Check, trial: int) -> Check:
        point = check.point
        u = cotangent.draw(*seeds, trial)
        return check._replace(point=Point(loss, point.params, (u,)))

    point = Point(loss, params, (cotangent.draw(*seeds, 0),))
    check = Check(point, gradient, product=True, related=related)
    if key is None and options.get("trials", 1) > 1:
        key = jax.random.key(0)
    report = check_often(check, key=key, again=again, **options_of(options))
    return replace(report, faults=tuple(dict.fromkeys([*report.faults, *faults])))


def _named(what: str, i: int, leaves: Sequence[Any]) -> str:
    return f"the {what}" if len(leaves) == 1 else f"{what} leaf {i}"


def _output_of(function: Callable[..., Any], primals: Sequence[Any]) -> Any:
    """Shapes and dtypes of the output, traced; as it comes if that cannot be."""
    arrays = [i for i, leaf in enumerate(primals) if _has_arrays(leaf)]

    def of_arrays(*moved: Any) -> Any:
        return function(*put(primals, arrays, moved))

    try:
        return jax.eval_shape(of_arrays, *(primals[i] for i in arrays))
    except Exception:  # whatever a function raises that cannot be traced
        return function(*primals)


def _has_arrays(tree: Any) -> bool:
    leaves = jax.tree.leaves(tree)
    return bool(leaves) and all(is_array(x) or isinstance(x, float) for x in leaves)


def _full(cotangents: Any, params: tuple[Any, ...]) -> tuple[Any, ...]:
    """One cotangent per primal, None replaced by the zeros that it stands for."""
    several = isinstance(cotangents, tuple | list)
    if not several or len(cotangents) != len(params):
        size = len(cotangents) if several else type(cotangents).__name__
        raise TypeError(
            f"`bwd` must return a tuple of {len(params)}, one cotangent per "
            f"differentiable primal, got {size}. Return None where it is zero."
        )
    return tuple(
        _filled(part, primal) for part, primal in zip(cotangents, params, strict=True)
    )


def _filled(part: Any, primal: Any) -> Any:
    """A cotangent with zeros for None, which may stand for a part of the tree."""

    def fill(given: Any, tree: Any) -> Any:
        return jax.tree.map(_zeros, tree) if given is None else given

    try:
        return jax.tree.map(fill, part, primal, is_leaf=lambda x: x is None)
    except ValueError:  # another structure, which the comparison reports
        return part


def _zeros(leaf: Any) -> Any:
    if not (is_array(leaf) or isinstance(leaf, float | complex)):
        return leaf
    if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
        return np.zeros(np.shape(leaf), dtype_of(leaf))
    return np.zeros(np.shape(leaf), jax.dtypes.float0)
