"""Rows about calls: the same again, inputs as they were, and what types come out."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.rules.agreement import Findings, agree
from handgrad.gradcheck.rules.measure import measured
from handgrad.gradcheck.rules.subject import Subject, fresh
from handgrad.gradcheck.rules.table import Row
from handgrad.gradcheck.rules.versions import versions
from handgrad.gradcheck.trees import is_array, to_numpy


def twice(subject: Subject, modes: Sequence[str]) -> Row:
    """The same call again, and a backward pass after another forward pass."""
    findings = Findings()
    once, again = (measured(subject, subject.function, modes) for _ in range(2))
    agree(findings, subject, "called again", once, again)
    if "vjp" in modes:
        of_values = subject.of_values(subject.function)
        _, pull = jax.vjp(of_values, *fresh(subject.values))
        elsewhere = subject.at(versions(subject.primals)[2])
        jax.vjp(elsewhere.of_values(subject.function), *fresh(elsewhere.values))
        got = {"vjp": list(pull(subject.cotangent))}
        where = "after another forward pass"
        agree(findings, subject, where, {"vjp": once["vjp"]}, got)
        got = {"vjp": list(pull(subject.cotangent))}
        agree(findings, subject, "pulled back again", {"vjp": once["vjp"]}, got)
    row = findings.row("called twice")
    if row.verdict != "wrong":
        return row
    return Row(row.name, "wrong", "impure", row.explanation)


def inputs(subject: Subject, modes: Sequence[str]) -> Row:
    """Arguments are neither donated nor written to, as arrays of JAX and of NumPy."""
    findings = Findings()
    for arrays in (_jax_arrays, _numpy_arrays):
        given = arrays(subject.values)
        before = [to_numpy(leaf).copy() for leaf in given]
        try:
            _use(subject, given, modes)
        except Exception:
            if arrays is _jax_arrays:
                raise
            continue  # a function need not take arrays of NumPy
        findings.compared += 1
        for path, leaf, old in zip(subject.names, given, before, strict=True):
            if isinstance(leaf, jax.Array) and leaf.is_deleted():
                findings.add(
                    "changed", f"{path} is donated: it is deleted by the call."
                )
            elif not np.array_equal(to_numpy(leaf), old, equal_nan=True):
                findings.add("changed", f"{path} is written to by the call.")
    return findings.row("inputs unchanged")


def _jax_arrays(values: Sequence[Any]) -> list[Any]:
    return [jnp.array(value, copy=True) for value in values]


def _numpy_arrays(values: Sequence[Any]) -> list[Any]:
    return [np.array(value) for value in values]


def _use(subject: Subject, values: Sequence[Any], modes: Sequence[str]) -> None:
    """A call, a forward and a backward pass, and a tangent, on these very arrays."""
    of_values = subject.of_values(subject.function)
    jax.block_until_ready(of_values(*values))
    if _deleted(values):
        return
    if "vjp" in modes:
        jax.block_until_ready(jax.vjp(of_values, *values)[1](subject.cotangent))
    if "jvp" in modes and not _deleted(values):
        jax.block_until_ready(jax.jvp(of_values, list(values), subject.tangent))


def _deleted(values: Sequence[Any]) -> bool:
    return any(isinstance(leaf, jax.Array) and leaf.is_deleted() for leaf in values)


def types(subject: Subject, modes: Sequence[str]) -> Row:
    """Shape, dtype, weak type and sharding of outputs, cotangents and tangents.

    A cotangent has the type of its argument, a tangent that of its output; a sharding
    is compared with what autodiff of the plain function gives.
    """
    findings = Findings()
    got = measured(subject, subject.function, modes)
    plain = _plain(subject, modes)
    expected = {
        "value": plain.get("value", got["value"]),
        "value in vjp": plain.get("value", got["value"]),
        "value in jvp": plain.get("value", got["value"]),
        "jvp": plain.get("value", got["value"]),
        "vjp": subject.values,
    }
    for kind, leaves in got.items():
        if kind == "whole":
            continue
        names = subject.names if kind == "vjp" else subject.outputs
        for path, leaf, like in zip(names, leaves, expected[kind], strict=True):
            findings.compared += 1
            if text := _differs(leaf, like):
                findings.add("type", f"{kind} at {path}: {text}")
        for path, leaf, like in zip(
            names, leaves, plain.get(kind, leaves), strict=True
        ):
            if text := _placed_otherwise(leaf, like):
                findings.add("type", f"{kind} at {path}: {text}")
    return findings.row("types")


def _plain(subject: Subject, modes: Sequence[str]) -> dict[str, Any]:
    """What the plain function gives, in the modes that it offers too."""
    for known in (modes, ()):
        try:
            return measured(subject, subject.plain, known)
        except Exception:  # a reference without a derivative
            continue
    return {}


def _differs(leaf: Any, like: Any) -> str:
    """In what the type of an array differs from that of another."""
    got, expected = jax.typeof(leaf), jax.typeof(like)
    if got.shape != expected.shape:
        return f"shape {got.shape} where {expected.shape} must be."
    if got.dtype != expected.dtype:
        return f"dtype {got.dtype} where {expected.dtype} must be."
    weak = getattr(got, "weak_type", False)
    if is_array(like) and weak and not getattr(expected, "weak_type", False):
        return (
            "weakly typed, as a Python number is: cast it, or it changes what follows."
        )
    return ""


def _placed_otherwise(leaf: Any, like: Any) -> str:
    """Whether an array lies otherwise on several devices than another."""
    if not isinstance(leaf, jax.Array) or not isinstance(like, jax.Array):
        return ""
    one, other = leaf.sharding, like.sharding
    if len(other.device_set) < 2 or np.shape(leaf) != np.shape(like):
        return ""
    if one.is_equivalent_to(other, leaf.ndim):
        return ""
    return f"sharding {one} where the plain function gives {other}."
