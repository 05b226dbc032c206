"""Rows about transformations: what a rule gives under them is what it gives without.

A transformed function is laid beside a loop, or beside the function itself: the same
values, cotangents and tangents must come out of both.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from handgrad.gradcheck.positions import put
from handgrad.gradcheck.rules.agreement import Findings, agree
from handgrad.gradcheck.rules.measure import Jobs, measured, measuring, run
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

    pairs = _pair("under checkpoint", subject, subject.function, saved_nothing, modes)
    return _row("checkpoint", subject, pairs)


def scan(subject: Subject, modes: Modes) -> Row:
    """As the body of `jax.lax.scan`: arguments scanned over, and held constant."""
    jobs: Jobs = {}
    for mapped, where in _maps(subject, (subject.mapped, ())):
        batch = Batch(subject, mapped)

        def scanned(*primals: Any, mapped: Any = mapped) -> Any:
            given = tuple(primals[i] for i in mapped)

            def body(step: Any, xs: Any) -> Any:
                return step + 1, subject.function(*put(primals, mapped, xs))

            return jax.lax.scan(body, 0, given, length=POINTS)[1]

        where = f"in a scan over {where}"
        jobs |= _pair(where, batch.whole, batch.loop, scanned, modes)
    return _row("scan", subject, jobs)


def vmap(subject: Subject, modes: Modes) -> Row:
    """`jax.vmap` over each argument, and over all of them, against a loop."""
    jobs: Jobs = {}
    single = [(i,) for i in subject.mapped]
    choices = [mapped for mapped in (*single, subject.mapped) if mapped]
    for mapped, where in _maps(subject, choices):
        batch = Batch(subject, mapped)
        axes = tuple(0 if i in mapped else None for i in subject.mapped)

        def together(*primals: Any, axes: Any = axes) -> Any:
            def one(*given: Any) -> Any:
                return subject.function(*put(primals, subject.mapped, given))

            return jax.vmap(one, axes)(*(primals[i] for i in subject.mapped))

        where = f"vmap of {where}"
        jobs |= _pair(where, batch.whole, batch.loop, together, modes)
        jobs |= batch.inside(where, modes)
    return _row("vmap", subject, jobs)


def _pair(
    where: str, point: Subject, one: Function, other: Function, modes: Modes
) -> Jobs:
    """Two functions at one point, which must agree."""
    both = measuring(point, one, modes), measuring(point, other, modes)
    args = point.values, point.cotangent, point.tangent
    return {where: (lambda *args: tuple(program(*args) for program in both), args)}


def _row(name: str, subject: Subject, jobs: Jobs) -> Row:
    """Run all pairs as one program, and compare."""
    findings = Findings()
    for where, (expected, got) in run(jobs).items():
        agree(findings, subject, where, expected, got)
    return findings.row(name, "no argument is an array.")


def _maps(
    subject: Subject, choices: Sequence[tuple[int, ...]]
) -> Iterator[tuple[tuple[int, ...], str]]:
    for mapped in dict.fromkeys(choices):
        names = ", ".join(f"[{i}]" for i in mapped) or "nothing"
        yield mapped, names


class Batch:
    """Three points as one: some arguments stacked, the others shared."""

    def __init__(self, subject: Subject, mapped: tuple[int, ...]) -> None:
        self.subject, self.mapped = subject, mapped
        self.points = [
            put(subject.primals, mapped, [point[i] for i in mapped])
            for point in versions(subject.primals)
        ]
        stacked = [
            jax.tree.map(lambda *parts: jnp.stack(parts), *(p[i] for p in self.points))
            for i in mapped
        ]
        self.whole = replace(
            subject.at(put(subject.primals, mapped, stacked)), plain=self.loop
        )

    def loop(self, *primals: Any) -> Any:
        """The function at one point after the other, its outputs stacked."""
        outputs = []
        for k in range(POINTS):
            cut = [jax.tree.map(lambda x, k=k: x[k], primals[i]) for i in self.mapped]
            outputs.append(self.subject.function(*put(primals, self.mapped, cut)))
        return jax.tree.map(lambda *parts: jnp.stack(parts), *outputs)

    def inside(self, where: str, modes: Modes) -> Jobs:
        """`vmap` of the derivative, for the gradient of each sample, beside a loop."""
        subject, whole = self.subject, self.whole
        axes = [0 if subject.owners[i] in self.mapped else None for i in subject.live]
        riding = [leaf for i, leaf in enumerate(whole.taken.leaves) if self.rides(i)]
        v = [jnp.stack([leaf] * POINTS) for leaf in subject.tangent]
        args = (whole.values, riding, whole.cotangent, v)
        return {
            f"{where}, inside the {mode}": (self._both(mode, axes), args)
            for mode in modes
        }

    def _both(self, mode: str, axes: Sequence[int | None]) -> Callable[..., Any]:
        """A loop over the derivative, and `jax.vmap` of it."""

        def one(values: Leaves, riding: Leaves, u: Leaves, v: Leaves) -> Leaves:
            of_values = self._with_riding(riding)
            if mode == "vjp":
                return list(jax.vjp(of_values, *values)[1](u))
            return jax.jvp(of_values, values, v)[1]

        def loop(values: Leaves, *stacked: Leaves) -> Leaves:
            found = []
            for k in range(POINTS):
                pairs = zip(values, axes, strict=True)
                cut = [x if axis is None else x[k] for x, axis in pairs]
                found.append(one(cut, *([x[k] for x in part] for part in stacked)))
            return [jnp.stack(parts) for parts in zip(*found, strict=True)]

        mapped = jax.vmap(one, in_axes=(list(axes), 0, 0, 0))
        return lambda *args: ({mode: loop(*args)}, {mode: mapped(*args)})

    def rides(self, i: int) -> bool:
        """Whether a leaf is stacked and not differentiated."""
        return self.subject.owners[i] in self.mapped and i not in self.subject.live

    def _with_riding(self, riding: Leaves) -> Callable[..., Leaves]:
        """The function of the floating leaves, with stacked whole leaves put in."""
        subject, numbers = self.subject, iter(riding)
        leaves = [
            next(numbers) if self.rides(i) else leaf
            for i, leaf in enumerate(subject.taken.leaves)
        ]
        primals = jax.tree.unflatten(subject.taken.structure, leaves)
        return subject.at(primals).of_values(subject.function)
