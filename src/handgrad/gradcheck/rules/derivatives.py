"""Rows that compare with the truth: values, both rules, and second derivatives."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from handgrad.gradcheck.check import Check
from handgrad.gradcheck.directions import generator, inner, normal
from handgrad.gradcheck.gradients import check_gradients
from handgrad.gradcheck.jvp import check_jvp
from handgrad.gradcheck.points import examine
from handgrad.gradcheck.positions import others, put
from handgrad.gradcheck.report.report import Report
from handgrad.gradcheck.rules.agreement import Findings
from handgrad.gradcheck.rules.measure import whole
from handgrad.gradcheck.rules.subject import Leaves, Subject, fresh
from handgrad.gradcheck.rules.table import Row
from handgrad.gradcheck.vjp import check_vjp

NOT_DERIVATIVE = "jax.grad of the loss "
"""How a fault begins that is one of the reference's derivative."""


def row_of(name: str, report: Report, own: bool) -> Row:
    """What a report comes to, as a row.

    Args:
      name: of the row.
      report: of the comparison with float64.
      own: whether the function is its own reference, so that a fault is its own.
    """
    faults = " ".join(report.faults)
    if faults and own and faults.startswith(NOT_DERIVATIVE):
        cause = "nonfinite" if "not finite" in faults else "not its derivative"
        text = faults.replace("the loss", "the function").split(" Look in")[0]
        return Row(name, "wrong", cause, text, report)
    wrong = list(dict.fromkeys(str(leaf.cause) for leaf in report.wrong))
    if wrong:
        texts = [f"{leaf.path}: {leaf.explanation}" for leaf in report.wrong]
        return Row(name, "wrong", ", ".join(wrong), " ".join(texts[:3]), report)
    if faults:
        text = f"the reference is at fault: {faults}"
        return Row(name, "untested", explanation=text, report=report)
    if not report.ok:
        texts = {leaf.explanation for leaf in report.untested}
        text = " ".join(sorted(texts)).replace("untested: ", "")
        return Row(name, "untested", explanation=text, report=report)
    return Row(name, "right", report=report)


def value(subject: Subject) -> Row:
    """The output of a call, and its integers."""
    findings = Findings()
    expected, got = (
        whole(function, subject, fresh(subject.values))
        for function in (subject.plain, subject.function)
    )
    if len(expected) != len(got):
        findings.add("structure", "another number of integer outputs.")
    elif any(not jnp.array_equal(a, b) for a, b in zip(expected, got, strict=True)):
        findings.add("unknown", "an integer output differs.")
    if findings.texts:
        return findings.row("value")
    return value_row(subject, "value", subject.of_values(subject.function))


def value_in_vjp(subject: Subject) -> Row:
    """The output of the forward pass that the vjp makes."""

    def forward(*values: Any) -> Leaves:
        return jax.vjp(subject.of_values(subject.function), *values)[0]

    return value_row(subject, "value in vjp", forward)


def value_in_jvp(subject: Subject) -> Row:
    """The output that comes with a tangent."""

    def forward(*values: Any) -> Leaves:
        return jax.jvp(
            subject.of_values(subject.function), values, tuple(subject.tangent)
        )[0]

    return value_row(subject, "value in jvp", forward)


def value_row(subject: Subject, name: str, forward: Callable[..., Leaves]) -> Row:
    """Compare an output with that of the plain function in float64."""

    def gradient(u: Leaves, values: Leaves) -> Leaves:
        return list(forward(*fresh(values)))

    check = Check(subject.value_point, gradient)
    report = examine(check, subject.value_basis)
    names = subject.outputs
    leaves = tuple(
        replace(
            leaf, path=named(leaf.path, names), explanation=_words(leaf.explanation)
        )
        for leaf in report.leaves
    )
    return row_of(name, replace(report, leaves=leaves), own=False)


def named(path: str, names: list[str]) -> str:
    """The name of the output that a path such as [1] stands for; else the path."""
    found = re.fullmatch(r"\[(\d+)\]", path)
    return names[int(found[1])] if found and int(found[1]) < len(names) else path


def _words(text: str) -> str:
    return re.sub(r"\b([Tt]he|true|this) gradient\b", r"\1 output", text)


def vjp(subject: Subject) -> Row:
    """The cotangents, against autodiff of the plain function in float64."""
    moving = subject.moving

    def fwd(*primals: Any) -> tuple[Any, Any]:
        given = fresh(tuple(primals[i] for i in moving))
        pull = jax.vjp(lambda *m: subject.function(*put(primals, moving, m)), *given)[1]
        return subject.plain(*primals), pull

    def bwd(*fixed_pull_u: Any) -> Any:
        *_, pull, u = fixed_pull_u
        return pull(u)

    report = check_vjp(subject.plain, fwd, bwd, *subject.primals, **_fixed(subject))
    return row_of("vjp", _positions(report, moving), subject.own)


def _positions(report: Report, moving: tuple[int, ...]) -> Report:
    """Leaves named by the position of their argument among all arguments."""

    def rename(path: str) -> str:
        return re.sub(r"^\[(\d+)\]", lambda m: f"[{moving[int(m[1])]}]", path)

    leaves = (replace(leaf, path=rename(leaf.path)) for leaf in report.leaves)
    return replace(report, leaves=tuple(leaves))


def _fixed(subject: Subject) -> dict[str, Any]:
    fixed = others(subject.moving, len(subject.primals))
    return {"nondiff_argnums": fixed, "key": subject.key}


def jvp(subject: Subject) -> Row:
    """The tangents, against autodiff of the plain function in float64."""
    moving, fixed = subject.moving, _fixed(subject)["nondiff_argnums"]

    def rule(*given: Any) -> tuple[Any, Any]:
        *static, primals, tangents = given
        merged = put(subject.primals, fixed, static)

        def function(*moved: Any) -> Any:
            return subject.function(*put(merged, moving, moved))

        moved = jax.jvp(function, fresh(tuple(primals)), tuple(tangents))[1]
        return subject.plain(*put(merged, moving, primals)), moved

    report = check_jvp(subject.plain, rule, *subject.primals, **_fixed(subject))
    return row_of("jvp", report, subject.own)


def second(name: str) -> Callable[[Subject], Row]:
    """A second derivative: such as "jvp of vjp", forward over reverse."""
    outer, inner_mode = name.split(" of ")
    derivative = {"vjp": _cotangents, "jvp": _tangents}[inner_mode]
    return lambda subject: _second(subject, name, outer, derivative)


def _cotangents(
    subject: Subject, function: Any, direction: Leaves
) -> Callable[..., Any]:
    of_values = subject.of_values(function)
    return lambda values, u: list(jax.vjp(of_values, *values)[1](u))


def _tangents(subject: Subject, function: Any, direction: Leaves) -> Callable[..., Any]:
    of_values = subject.of_values(function)
    return lambda values, v: jax.jvp(of_values, values, v)[1]


def _second(subject: Subject, name: str, outer: str, derivative: Any) -> Row:
    """The derivative of a derivative, with respect to the point and the direction."""
    at_u = derivative is _cotangents
    direction = subject.cotangent if at_u else subject.tangent
    plain, rule = (
        derivative(subject, function, direction)
        for function in (subject.plain, subject.function)
    )
    values = subject.values
    if outer == "jvp":
        report = check_jvp(
            plain,
            lambda x, t: (plain(*x), jax.jvp(rule, fresh(x), t)[1]),
            values,
            direction,
            key=subject.key,
        )
    else:
        w = normal(generator(subject.key, 90), jax.eval_shape(plain, values, direction))
        report = check_gradients(
            lambda at, w: inner(w, plain(*at)),
            lambda at, w: jax.vjp(rule, *fresh(at))[1](w),
            (values, direction),
            w,
            key=subject.key,
        )
    return row_of(name, report, subject.own)
