"""Rows about linearity: a rule is linear in its cotangent, or tangent, and in nothing
else; zero gives zero, and a part of the arguments or outputs gives that part.

    N1  J^T(a u + w) = a J^T u + J^T w,   a = -2^k and 2^-k, which rounding leaves alone
    N2  J^T 0 = 0
    N3  <u, J v> = <J^T u, v>
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.directions import inner
from handgrad.gradcheck.rules.agreement import Findings, agree
from handgrad.gradcheck.rules.measure import Jobs, run
from handgrad.gradcheck.rules.subject import Leaves, Subject
from handgrad.gradcheck.rules.table import Row
from handgrad.gradcheck.trees import dtype_of, to_numpy

FEW = 3
"""Up to so many arguments, every subset of them is differentiated alone."""

Map = Callable[[Leaves], Leaves]
"""u -> J^T u, or v -> J v."""


def exponent(leaves: Leaves) -> int:
    """k of N1: far enough to meet a clipped rule, and no overflow."""
    narrow = any(jnp.finfo(dtype_of(leaf)).maxexp < 100 for leaf in leaves)
    return 4 if narrow else 20


def linear(kind: str) -> Callable[[Subject], Row]:
    """N1 for the cotangent ("vjp") or the tangent ("jvp")."""
    name = f"linear in the {'cotangent' if kind == 'vjp' else 'tangent'}"

    def row(subject: Subject) -> Row:
        one, other = _directions(subject, kind)
        k = exponent(one)

        def program(values: Leaves, one: Leaves, other: Leaves) -> dict[str, Any]:
            apply = _map(subject, kind, values)
            here, there = apply(one), apply(other)
            return {
                "sum": (apply(add(one, other)), add(here, there)),
                f"-2^{k} u": (times(-(2.0**-k), apply(times(-(2.0**k), one))), here),
                f"2^-{k} u": (times(2.0**k, apply(times(2.0**-k, one))), here),
            }

        found = _run(program, subject.values, one, other)
        findings = Findings()
        for what, (got, expected) in found.items():
            agree(findings, subject, f"of {what}", {kind: expected}, {kind: got})
        return findings.row(name)

    return row


def zero(kind: str) -> Callable[[Subject], Row]:
    """N2: exactly zero."""
    word = "cotangent" if kind == "vjp" else "tangent"

    def row(subject: Subject) -> Row:
        direction, _ = _directions(subject, kind)

        def program(values: Leaves, direction: Leaves) -> Leaves:
            return _map(subject, kind, values)(times(0.0, direction))

        found = _run(program, subject.values, direction)
        names = subject.names if kind == "vjp" else subject.outputs
        findings = Findings(compared=len(found))
        for path, leaf in zip(names, found, strict=True):
            values = to_numpy(leaf)
            if values.any():
                finite = bool(np.isfinite(values).all())
                text = f"a {word} of zero gives {_largest(values):.6g} at {path}."
                findings.add("not zero" if finite else "nonfinite", text)
        return findings.row(f"zero {word}")

    return row


def _largest(values: np.ndarray) -> float:
    bad = values[~np.isfinite(values)]
    return float(bad.flat[0]) if bad.size else float(np.abs(values).max())


def transposed_pair(subject: Subject) -> Row:
    """N3, with as many numbers as there are arguments: each is moved alone too."""
    u, v = subject.cotangent, subject.tangent

    def program(values: Leaves, u: Leaves, v: Leaves) -> Any:
        of_values = subject.of_values(subject.function)
        cotangents = jax.vjp(of_values, *values)[1](u)
        sides = []
        for i in range(len(v)):
            alone = [x if k == i else jnp.zeros_like(x) for k, x in enumerate(v)]
            forward = inner(u, jax.jvp(of_values, values, alone)[1])
            sides.append((forward, inner([v[i]], [cotangents[i]])))
        return cotangents, sides

    cotangents, sides = _run(program, subject.values, u, v)
    findings = Findings()
    forward_room = room_of(u, None, subject.floors["jvp"])
    for i, (path, (forward, backward)) in enumerate(
        zip(subject.names, sides, strict=True)
    ):
        known = subject.floors["vjp"]
        room = forward_room + room_of([v[i]], [cotangents[i]], known and [known[i]])
        apart = abs(float(forward) - float(backward))
        findings.compared += float(backward) != 0
        if not apart <= room:
            findings.add(
                "unknown",
                f"<u, Jv> = {float(forward):.6g} and <J^T u, v> = "
                f"{float(backward):.6g} along {path}.",
            )
    return findings.row("jvp against vjp")


def room_of(directions: Leaves, found: Leaves | None, floors: Any) -> float:
    """What rounding may do to <direction, found>: floors |direction|, and its sum."""
    room = 0.0
    for i, direction in enumerate(directions):
        length = float(np.linalg.norm(to_numpy(direction)))
        # mutants: a margin, a little more or less
        unit = 8 * float(jnp.finfo(dtype_of(direction)).eps)
        if floors:
            room += 2 * floors[i][0].rms * length
        if found:
            room += unit * length * float(np.linalg.norm(to_numpy(found[i])))
    return room


def unused_outputs(subject: Subject) -> Row:
    """Outputs that nothing uses have symbolic zeros for cotangents."""
    name, outputs = "unused outputs", subject.outputs
    if len(outputs) < 2:
        return Row(name, "not offered", explanation="one output.")
    jobs: Jobs = {}
    for i, path in enumerate(outputs):

        def program(values: Leaves, u: Leaves, i: int = i) -> Any:
            of_values = subject.of_values(subject.function)
            alone = [x if k == i else jnp.zeros_like(x) for k, x in enumerate(u)]
            full = jax.vjp(of_values, *values)[1](alone)
            used = jax.vjp(lambda *values: of_values(*values)[i], *values)[1](u[i])
            return {"vjp": list(full)}, {"vjp": list(used)}

        jobs[f"of {path} alone"] = (program, (subject.values, subject.cotangent))
    return _row(name, subject, jobs)


def _row(name: str, subject: Subject, jobs: Jobs) -> Row:
    findings = Findings()
    for where, (expected, got) in run(jobs).items():
        agree(findings, subject, where, expected, got)
    return findings.row(name)


def _run(program: Callable[..., Any], *args: Any) -> Any:
    return run({"": (program, args)})[""]


def subsets(subject: Subject, modes: Sequence[str]) -> Row:
    """Some arguments differentiated, the others constant."""
    name = "subsets of arguments"
    chosen = list(_subsets(subject))
    if not chosen:
        return Row(name, "not offered", explanation="one differentiated argument.")
    args = subject.values, subject.cotangent, subject.tangent
    jobs = {
        f"{mode} of {', '.join(subject.names[i] for i in live)}": (
            _of_subset(subject, mode, live),
            args,
        )
        for mode in modes
        for live in chosen
    }
    return _row(name, subject, jobs)


def _subsets(subject: Subject) -> Iterator[tuple[int, ...]]:
    """Indices among the values: all proper subsets of few, else single and all but."""
    count = len(subject.values)
    sizes = range(1, count) if count <= FEW else (1, count - 1)
    for size in sizes:
        yield from combinations(range(count), size)


def _of_subset(
    subject: Subject, mode: str, live: tuple[int, ...]
) -> Callable[[Leaves, Leaves, Leaves], Any]:
    """values, u, v -> what there is with all arguments, and with these alone."""

    def program(values: Leaves, u: Leaves, v: Leaves) -> Any:
        of_values = subject.of_values(subject.function)

        def few(*moved: Any) -> Leaves:
            merged = list(values)
            for i, value in zip(live, moved, strict=True):
                merged[i] = value
            return of_values(*merged)

        given = [values[i] for i in live]
        if mode == "jvp":
            alone = [x if i in live else jnp.zeros_like(x) for i, x in enumerate(v)]
            full = jax.jvp(of_values, values, alone)[1]
            few_moved = jax.jvp(few, given, [v[i] for i in live])[1]
            return {"jvp": full}, {"jvp": few_moved}
        full = jax.vjp(of_values, *values)[1](u)
        part = iter(jax.vjp(few, *given)[1](u))
        zeros = [jnp.zeros_like(value) for value in values]
        places = range(len(values))
        expected = [full[i] if i in live else zeros[i] for i in places]
        found = [next(part) if i in live else zeros[i] for i in places]
        return {"vjp": expected}, {"vjp": found}

    return program


def _map(subject: Subject, kind: str, values: Leaves) -> Map:
    of_values = subject.of_values(subject.function)
    if kind == "vjp":
        pull = jax.vjp(of_values, *values)[1]
        return lambda u: list(pull(u))
    return lambda v: jax.jvp(of_values, values, v)[1]


def _directions(subject: Subject, kind: str) -> tuple[Leaves, Leaves]:
    if kind == "vjp":
        return subject.cotangent, subject.cotangents(1)
    return subject.tangent, subject.tangents(1)


def add(one: Leaves, other: Leaves) -> Leaves:
    """The sum, in the dtypes of the first."""
    return [(a + b).astype(a.dtype) for a, b in zip(one, other, strict=True)]


def times(factor: float, leaves: Leaves) -> Leaves:
    """A multiple, in the dtypes of the leaves."""
    return [leaf * jnp.asarray(factor, leaf.dtype) for leaf in leaves]
