"""Rows about transformations: what a rule gives under them is what it gives without.

A transformed function is laid beside the function itself, called at one point after the
other: the same values, cotangents and tangents must come out of both.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.positions import put
from handgrad.gradcheck.rules.agreement import Findings, agree
from handgrad.gradcheck.rules.measure import (
    Job,
    Jobs,
    Measured,
    measured,
    measuring,
    run,
)
from handgrad.gradcheck.rules.subject import Function, Leaves, Subject
from handgrad.gradcheck.rules.table import Row
from handgrad.gradcheck.rules.versions import versions

Modes = Sequence[str]

POINTS = 3
"""Points in a batch: those of `versions`."""


def jit(subject: Subject, modes: Modes) -> Row:
    """Compiled against operation by operation."""
    findings = Findings()
    eager = measured(subject, subject.function, modes)
    program = jax.jit(measuring(subject, subject.function, modes))
    compiled = program(subject.values, subject.cotangent, subject.tangent)
    agree(findings, subject, "under jit", eager, compiled)
    return findings.row("jit")


def checkpoint(subject: Subject, modes: Modes) -> Row:
    """Under `jax.checkpoint`, which runs the forward pass again."""

    def saved_nothing(*primals: Any) -> Any:
        given = subject.at(primals).values

        def of_values(*values: Any) -> Any:
            return subject.function(*subject.merge(values))

        return jax.checkpoint(of_values)(*given)

    where, u, v = "under checkpoint", subject.cotangent, subject.tangent
    program = measuring(subject, saved_nothing, modes)
    jobs: Jobs = {where: (program, (subject.values, u, v))}
    return _row("checkpoint", subject, {where: _at(subject, u, v, modes)}, jobs)


def scan(subject: Subject, modes: Modes) -> Row:
    """As the body of `jax.lax.scan`: arguments scanned over, and held constant."""
    expected: dict[str, Measured] = {}
    jobs: Jobs = {}
    for mapped, names in _maps(subject, (subject.mapped, ())):
        batch = Batch(subject, mapped, modes)

        def scanned(*primals: Any, mapped: Any = mapped) -> Any:
            given = tuple(primals[i] for i in mapped)

            def body(step: Any, xs: Any) -> Any:
                return step + 1, subject.function(*put(primals, mapped, xs))

            return jax.lax.scan(body, 0, given, length=POINTS)[1]

        where = f"in a scan over {names}"
        expected[where], jobs[where] = batch.loop(), batch.job(scanned)
    return _row("scan", subject, expected, jobs)


def vmap(subject: Subject, modes: Modes) -> Row:
    """`jax.vmap` over each argument, and over all of them, against a loop."""
    expected: dict[str, Measured] = {}
    jobs: Jobs = {}
    single = [(i,) for i in subject.mapped]
    choices = [mapped for mapped in (*single, subject.mapped) if mapped]
    for mapped, names in _maps(subject, choices):
        batch = Batch(subject, mapped, modes)
        axes = tuple(0 if i in mapped else None for i in subject.mapped)

        def together(*primals: Any, axes: Any = axes) -> Any:
            def one(*given: Any) -> Any:
                return subject.function(*put(primals, subject.mapped, given))

            return jax.vmap(one, axes)(*(primals[i] for i in subject.mapped))

        where = f"vmap of {names}"
        expected[where], jobs[where] = batch.loop(), batch.job(together)
        for mode in modes:
            inside = f"{where}, inside the {mode}"
            expected[inside] = {mode: batch.of_each[mode]}
            jobs[inside] = batch.job_inside(mode)
    return _row("vmap", subject, expected, jobs)


def _row(name: str, subject: Subject, expected: dict[str, Measured], jobs: Jobs) -> Row:
    """Run all jobs as one program, and compare."""
    findings = Findings()
    for where, got in run(jobs).items():
        agree(findings, subject, where, expected[where], got)
    return findings.row(name, "no argument is an array.")


def _maps(
    subject: Subject, choices: Sequence[tuple[int, ...]]
) -> Iterator[tuple[tuple[int, ...], str]]:
    for mapped in dict.fromkeys(choices):
        names = ", ".join(f"[{i}]" for i in mapped) or "nothing"
        yield mapped, names


def _at(point: Subject, u: Leaves, v: Leaves, modes: Modes) -> Measured:
    """What the function gives at a point: one program for all points."""
    whole = [i for i in range(len(point.owners)) if _rides(point, i, point.mapped)]

    def program(values: Leaves, riding: Leaves, u: Leaves, v: Leaves) -> Measured:
        return measuring(_riding(point, whole, riding), point.function, modes)(
            values, u, v
        )

    riding = [point.taken.leaves[i] for i in whole]
    return run({"": (program, (point.values, riding, u, v))})[""]


def _rides(subject: Subject, i: int, mapped: tuple[int, ...]) -> bool:
    """Whether a leaf moves with the points and is not differentiated."""
    return subject.owners[i] in mapped and i not in subject.live


def _riding(subject: Subject, places: Sequence[int], leaves: Leaves) -> Subject:
    """The subject at other values of leaves that are not differentiated."""
    merged = list(subject.taken.leaves)
    for i, leaf in zip(places, leaves, strict=True):
        merged[i] = leaf
    return subject.at(jax.tree.unflatten(subject.taken.structure, merged))


class Batch:
    """Three points as one: some arguments stacked, the others shared."""

    def __init__(self, subject: Subject, mapped: tuple[int, ...], modes: Modes) -> None:
        self.subject, self.mapped, self.modes = subject, mapped, modes
        points = [
            put(subject.primals, mapped, [point[i] for i in mapped])
            for point in versions(subject.primals)
        ]
        stacked = [
            jax.tree.map(lambda *parts: jnp.stack(parts), *(p[i] for p in points))
            for i in mapped
        ]
        self.whole = subject.at(put(subject.primals, mapped, stacked))
        self.axes = [0 if subject.owners[i] in mapped else None for i in subject.live]
        us = [subject.cotangents(2 + k) for k in range(POINTS)]
        self.u, self.v = _stacked(us), self.whole.tangent
        each = [
            _at(subject.at(points[k]), us[k], self._tangent(k), modes)
            for k in range(POINTS)
        ]
        self.of_each = {kind: _stacked([one[kind] for one in each]) for kind in each[0]}

    def _tangent(self, k: int) -> Leaves:
        pairs = zip(self.v, self.axes, strict=True)
        return [v if axis is None else v[k] for v, axis in pairs]

    def loop(self) -> Measured:
        """What a loop over the points gives; cotangents of what is shared add up."""
        if "vjp" not in self.modes:
            return self.of_each
        pairs = zip(self.of_each["vjp"], self.axes, strict=True)
        vjp = [x.sum(0, x.dtype) if axis is None else x for x, axis in pairs]
        return {**self.of_each, "vjp": vjp}

    def job(self, function: Function) -> Job:
        """The same of a function of all three points."""
        program = measuring(self.whole, function, self.modes)
        return program, (self.whole.values, self.u, self.v)

    def job_inside(self, mode: str) -> Job:
        """`jax.vmap` of the derivative, as for the gradient of each sample."""
        subject, leaves = self.subject, self.whole.taken.leaves
        places = [i for i in range(len(leaves)) if _rides(subject, i, self.mapped)]

        def one(values: Leaves, riding: Leaves, u: Leaves, v: Leaves) -> Leaves:
            at = _riding(subject, places, riding)
            of_values = at.of_values(subject.function)
            if mode == "vjp":
                return list(jax.vjp(of_values, *values)[1](u))
            return jax.jvp(of_values, values, v)[1]

        def program(*args: Leaves) -> Measured:
            return {mode: jax.vmap(one, (self.axes, 0, 0, self.axes))(*args)}

        riding = [leaves[i] for i in places]
        return program, (self.whole.values, riding, self.u, self.v)


def _stacked(points: Sequence[Leaves]) -> Leaves:
    """Leaf by leaf, on the host."""
    return [np.stack(parts) for parts in zip(*points, strict=True)]
