"""Rows about transformations: what a rule gives under them is what it gives without.

A transformed function is laid beside a loop, or beside the function itself: the same
values, cotangents and tangents must come out of both.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from handgrad.gradcheck.directions import real_parts
from handgrad.gradcheck.jvp import put
from handgrad.gradcheck.rules.agreement import Findings, agree
from handgrad.gradcheck.rules.measure import measured, run
from handgrad.gradcheck.rules.subject import Function, Leaves, Subject, versions
from handgrad.gradcheck.rules.table import Row

Modes = Sequence[str]

POINTS = 3
"""Points in a batch: those of `versions`."""


def jit(subject: Subject, modes: Modes) -> Row:
    """Compiled against operation by operation."""
    findings = Findings()
    eager = _here(subject, subject.function, modes, compiled=False)
    program = jax.jit(lambda values, u, v: _everything(subject, modes, values, u, v))
    compiled = program(subject.values, subject.cotangent, subject.tangent)
    agree(findings, subject, "under jit", eager, compiled)
    return findings.row("jit")


def _everything(subject: Subject, modes: Modes, values: Leaves, u: Any, v: Any) -> Any:
    here = subject.at(subject.merge(values))
    return measured(here, subject.function, modes, u=u, v=v, compiled=False)


def _here(subject: Subject, function: Function, modes: Modes, compiled: bool) -> Any:
    u, v = subject.cotangent, subject.tangent
    return measured(subject, function, modes, u=u, v=v, compiled=compiled)


def checkpoint(subject: Subject, modes: Modes) -> Row:
    """Under `jax.checkpoint`, which runs the forward pass again."""
    findings = Findings()

    def saved_nothing(*primals: Any) -> Any:
        given = subject.at(primals).values

        def of_values(*values: Any) -> Any:
            return subject.function(*subject.merge(values))

        return jax.checkpoint(of_values)(*given)

    expected = _here(subject, subject.function, modes, compiled=True)
    got = _here(subject, saved_nothing, modes, compiled=True)
    agree(findings, subject, "under checkpoint", expected, got)
    return findings.row("checkpoint")


def scan(subject: Subject, modes: Modes) -> Row:
    """As the body of `jax.lax.scan`: arguments scanned over, and held constant."""
    findings = Findings()
    for mapped, where in _maps(subject, (subject.mapped, ())):
        batch = _Batch.of(subject, mapped)

        def scanned(*primals: Any, mapped: Any = mapped) -> Any:
            given = tuple(primals[i] for i in mapped)

            def body(step: Any, xs: Any) -> Any:
                return step + 1, subject.function(*put(primals, mapped, xs))

            return jax.lax.scan(body, 0, given, length=POINTS)[1]

        batch.compare(findings, f"in a scan over {where}", scanned, modes)
    return findings.row("scan")


def vmap(subject: Subject, modes: Modes) -> Row:
    """`jax.vmap` over each argument, and over all of them, against a loop."""
    findings = Findings()
    single = [(i,) for i in subject.mapped]
    for mapped, where in _maps(subject, (*single, subject.mapped)):
        batch = _Batch.of(subject, mapped)
        axes = tuple(0 if i in mapped else None for i in range(len(subject.primals)))
        live = tuple(i for i in range(len(axes)) if i in subject.mapped)

        def together(*primals: Any, axes: Any = axes, live: Any = live) -> Any:
            def one(*given: Any) -> Any:
                return subject.function(*put(primals, live, given))

            in_axes = tuple(axes[i] for i in live)
            return jax.vmap(one, in_axes)(*(primals[i] for i in live))

        batch.compare(findings, f"vmap of {where}", together, modes)
        batch.compare_inside(findings, f"vmap of {where}", modes)
    return findings.row("vmap", "no argument is an array.")


def _maps(
    subject: Subject, choices: Sequence[tuple[int, ...]]
) -> Iterator[tuple[tuple[int, ...], str]]:
    for mapped in dict.fromkeys(choices):
        names = ", ".join(f"[{i}]" for i in mapped) or "nothing"
        yield mapped, names


class _Batch:
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

    @classmethod
    def of(cls, subject: Subject, mapped: tuple[int, ...]) -> "_Batch":
        """The batch with these arguments stacked."""
        return cls(subject, mapped)

    def loop(self, *primals: Any) -> Any:
        """The function at one point after the other, its outputs stacked."""
        outputs = []
        for k in range(POINTS):
            cut = [jax.tree.map(lambda x, k=k: x[k], primals[i]) for i in self.mapped]
            outputs.append(self.subject.function(*put(primals, self.mapped, cut)))
        return jax.tree.map(lambda *parts: jnp.stack(parts), *outputs)

    def compare(
        self, findings: Findings, where: str, function: Function, modes: Modes
    ) -> None:
        """A function of the stacked arguments beside the loop."""
        expected, got = (
            _here(self.whole, one, modes, compiled=True)
            for one in (self.loop, function)
        )
        agree(findings, self.subject, where, expected, got)

    def compare_inside(self, findings: Findings, where: str, modes: Modes) -> None:
        """`vmap` of the derivative, for the gradient of each sample, beside a loop."""
        subject, whole = self.subject, self.whole
        u, v = whole.cotangent, [_repeat(x, POINTS) for x in subject.tangent]
        axes = [0 if subject.owners[i] in self.mapped else None for i in subject.live]
        whole_numbers = [
            leaf for i, leaf in enumerate(whole.taken.leaves) if self._rides(i)
        ]

        def each(mode: str) -> Callable[..., Leaves]:
            def one(values: Leaves, riding: Leaves, u: Leaves, v: Leaves) -> Leaves:
                of_values = _with_riding(self, riding)
                if mode == "vjp":
                    return list(jax.vjp(of_values, *values)[1](u))
                return jax.jvp(of_values, values, v)[1]

            return one

        for mode in modes:
            one = each(mode)
            mapped = jax.vmap(one, in_axes=(axes, 0, 0, 0))

            def loop(
                values: Leaves, riding: Leaves, u: Leaves, v: Leaves, one: Any = one
            ) -> Leaves:
                found = []
                for k in range(POINTS):
                    cut = [
                        x if a is None else x[k]
                        for x, a in zip(values, axes, strict=True)
                    ]
                    rest = ([leaf[k] for leaf in leaves] for leaves in (riding, u, v))
                    found.append(one(cut, *rest))
                return [jnp.stack(parts) for parts in zip(*found, strict=True)]

            args = (whole.values, whole_numbers, u, v)
            expected, got = run(loop, *args), run(mapped, *args)
            text = f"{where} inside, of the {mode}"
            agree(findings, subject, text, {mode: expected}, {mode: got})

    def _rides(self, i: int) -> bool:
        """Whether a leaf is stacked and not differentiated."""
        return self.subject.owners[i] in self.mapped and i not in self.subject.live


def _with_riding(batch: _Batch, riding: Leaves) -> Callable[..., Leaves]:
    """The function of the floating leaves, with stacked whole leaves put in."""
    subject = batch.subject
    numbers = iter(riding)
    leaves = [
        next(numbers) if batch._rides(i) else leaf
        for i, leaf in enumerate(subject.taken.leaves)
    ]

    def of_values(*values: Any) -> Leaves:
        merged = list(leaves)
        for i, value in zip(subject.live, values, strict=True):
            merged[i] = value
        primals = jax.tree.unflatten(subject.taken.structure, merged)
        return jax.tree.leaves(real_parts(subject.function(*primals)))

    return of_values


def _repeat(leaf: Any, times: int) -> Any:
    return jnp.stack([leaf] * times)
