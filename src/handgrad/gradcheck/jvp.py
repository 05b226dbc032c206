"""`check_jvp`: a forward rule, in the order of jax.custom_jvp.

The rule maps a point x and a tangent v to f(x) and J v. With random u, what autodiff of

    J1  L(u) = <u, f(x)>      has the gradient  f(x)
    J2  L(u) = <u, J(x) v>    has the gradient  J(x) v

so value and tangent are checked as gradients are: against float64, with the floors that
autodiff has, and with causes (`forward` has J v where autodiff does not). Each argument
is moved alone, as far as it is large, and then all together, so that a small part of
the tangent does not hide behind a large one.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax

from handgrad.gradcheck.directions import (
    generator,
    inner,
    normal,
    real_parts,
    sized,
    zero_tangent,
)
from handgrad.gradcheck.exceptions import first_line
from handgrad.gradcheck.forward import forward_of
from handgrad.gradcheck.gradients import check_gradients
from handgrad.gradcheck.points import prepare
from handgrad.gradcheck.positions import fixed_of, others, put
from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.report.report import Report
from handgrad.gradcheck.report.results import Leaf
from handgrad.gradcheck.trees import Split, Tree, is_floating, split

Rule = Callable[..., Any]


def check_jvp(
    function: Callable[..., Any],
    jvp: Rule,
    *primals: Any,
    nondiff_argnums: int | Sequence[int] = (),
    key: jax.Array | None = None,
    **options: Any,
) -> Report:
    """Check a hand-written Jacobian-vector product before registering it.

    Pass the plain function, not the `jax.custom_jvp` made of it: then autodiff of the
    plain function is the reference, and finite differences say whether it is right.

    Args:
      function: primals -> output, any pytree of arrays.
      jvp: (primals, tangents) -> (output, tangent of the output), tuples of the
        differentiable arguments; the others come first, as in `jax.custom_jvp`. The
        tangent of an integer is a zero of dtype float0.
      primals: the arguments.
      nondiff_argnums: the positions that `jax.custom_jvp` is told are not
        differentiated.
      key: a PRNG key for the directions (and for more points); default 0.
      options: as in `check_gradients`.

    Returns:
      The report: the leaf ``value``, and one leaf ``along [i]`` for the tangent along
      each argument that has one, and ``along all`` of them.

    Raises:
      TypeError: if the rule returns no pair, or an output of another form.
      ValueError: if no argument has a tangent, or for a position without a primal.

    Example:
      >>> import jax.numpy as jnp
      >>> report = check_jvp(
      ...     jnp.sin, lambda x, v: (jnp.sin(x[0]), -v[0] * jnp.cos(x[0])),
      ...     jnp.arange(1.0, 6.0),
      ... )
      >>> [(leaf.path, leaf.cause) for leaf in report.leaves]
      [('value', None), ('along [0]', 'sign')]
    """
    fixed = fixed_of(nondiff_argnums, len(primals))
    moving = others(fixed, len(primals))
    given = tuple(primals[i] for i in moving)
    if not any(is_floating(leaf) for leaf in jax.tree.leaves(given)):
        raise ValueError(
            "`primals` must hold a floating array that is differentiated, got none."
        )
    tangents = directions(given, moving, key)

    def plain(*moved: Any) -> Any:
        return function(*put(primals, moving, moved))

    forward, off, notes = forward_of(_of_values(plain, split(given)), given)
    options["accuracy"] = max(options.get("accuracy", 0.0), off)

    def truth(given: tuple[Any, ...], tangents: dict[str, list[Any]]) -> dict[str, Any]:
        taken = split(given)
        outputs: dict[str, Any] = {}
        for name, tangent in tangents.items():
            value, moved = forward(_of_values(plain, taken), taken.values, tangent)
            outputs |= {"value": value, name: moved}
        return outputs

    def by_hand(given: tuple[Any, ...], tangents: dict[str, Any]) -> dict[str, Any]:
        outputs: dict[str, Any] = {}
        static = [primals[i] for i in fixed]
        for name, tangent in tangents.items():
            value, moved = _pair(jvp(*static, given, as_tangents(given, tangent)))
            outputs |= {"value": real_parts(value), name: real_parts(moved)}
        return outputs

    def loss(u: dict[str, Any], given: Any, tangents: Any) -> jax.Array:
        return inner(u, truth(given, tangents))

    u = normal(generator(key, 1), jax.eval_shape(truth, given, tangents))

    def gradient(u: dict[str, Any], given: Any, tangents: Any) -> dict[str, Any]:
        return by_hand(given, tangents)

    report = check_gradients(loss, gradient, u, given, tangents, key=key, **options)
    report = replace(report, notes=(*report.notes, *notes))
    return _with_audit(_in_words(report), plain, given, u["value"])


def directions(
    given: tuple[Any, ...], names: Sequence[int], key: jax.Array | None
) -> dict[str, list[Any]]:
    """Name -> tangents of the floating leaves: along each argument, and along all."""
    numbers, taken = generator(key, 2), split(given)
    drawn = [sized(numbers, leaf) for leaf in taken.values]
    owner = [i for i, part in enumerate(given) for _ in split(part).values]
    single = {
        f"along [{names[i]}]": [
            v if i == k else jax.numpy.zeros_like(v)
            for v, k in zip(drawn, owner, strict=True)
        ]
        for i in dict.fromkeys(owner)
    }
    return single if len(single) == 1 else single | {"along all": drawn}


def as_tangents(given: tuple[Any, ...], tangent: Sequence[Any]) -> tuple[Any, ...]:
    """Tangents of the floating leaves in the structure of the arguments."""
    taken = split(given)
    leaves = [zero_tangent(leaf) for leaf in taken.leaves]
    for i, v in zip(taken.floating, tangent, strict=True):
        leaves[i] = v
    return jax.tree.unflatten(taken.structure, leaves)


def _of_values(
    function: Callable[..., Any], taken: Split
) -> Callable[[list[Any]], Tree]:
    """The real parts of the output, as a function of the floating leaves alone."""
    return lambda *values: real_parts(function(*taken.merge(values)))


def _pair(returned: Any) -> tuple[Any, Any]:
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise TypeError(
            "`jvp` must return a pair (output, tangent of the output), got "
            f"{type(returned).__name__}."
        )
    return returned[0], returned[1]


def _in_words(report: Report) -> Report:
    """The report of a tangent, in its own words: it was checked as a gradient."""

    def rename(leaf: Leaf) -> Leaf:
        path = re.sub(r"^\['([^']*)'\]", r"\1", leaf.path)
        return replace(leaf, path=path, explanation=_words(leaf.explanation))

    renamed = map(rename, report.leaves)
    leaves = tuple(sorted(renamed, key=lambda leaf: not leaf.path.startswith("value")))
    faults, notes = (
        tuple(map(_words, texts)) for texts in (report.faults, report.notes)
    )
    return replace(report, leaves=leaves, faults=faults, notes=notes)


def _words(text: str) -> str:
    text = re.sub(r"\['((?:along|value)[^']*)'\]", r"\1", text)
    text = text.replace("true gradient", "true tangent")
    return re.sub(r"\b([Tt]he|this) gradient\b", r"\1 tangent", text)


def _with_audit(
    report: Report, plain: Callable[..., Any], given: tuple[Any, ...], u: Tree
) -> Report:
    """Add what finite differences say of the function: J2 is linear and cannot tell."""
    point = Point(lambda given, u: inner(u, real_parts(plain(*given))), given, (u,))
    try:
        audit = prepare(point).audit
    except Exception as error:  # no reverse mode, as of a while_loop
        note = (
            "the reference was not compared with finite differences "
            f"({first_line(error)})."
        )
        return replace(report, notes=(*report.notes, note))
    notes = tuple(dict.fromkeys((*report.notes, *audit.notes)))
    leaves = report.leaves
    if audit.faults:
        leaves = tuple(map(_without_truth, leaves))
    faults = (*report.faults, *audit.faults)
    return replace(report, leaves=leaves, faults=faults, notes=notes)


def _without_truth(leaf: Leaf) -> Leaf:
    """A tangent of a function whose autodiff is at fault."""
    if leaf.path.startswith("value"):
        return leaf
    text = "untested: the function is at fault here, so there is no truth to compare."
    return replace(leaf, verdict="untested", cause=None, explanation=text)
