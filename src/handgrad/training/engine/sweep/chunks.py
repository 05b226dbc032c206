"""The members of a sweep, trained chunk by chunk with one compiled program.

On a CPU every core has a chunk of its own at work: products as small as these gain
nothing from a second core. On a mesh one chunk is at work on all devices, where each of
its members lies as a single run does.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from threading import Event
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.training.engine.best import Best
from handgrad.training.engine.fit import Pace
from handgrad.training.engine.layout import of_many
from handgrad.training.engine.sweep import member
from handgrad.training.engine.sweep.member import (
    Member,
    Outcome,
    Parts,
    Phase,
    Point,
    Task,
)
from handgrad.training.engine.sweep.plan import Entry, Plan, points


class Trained(NamedTuple):
    """A chunk of members at their end; numpy arrays with a leading axis for them."""

    members: tuple[Entry, ...]
    outcome: Outcome


class Programs(NamedTuple):
    """What the members of a chunk run through, `Plan.size` of them at a time."""

    begin: Callable[[Point], Member]
    advance: Callable[[Point, Member, Parts, Any, Any], Member]
    finish: Callable[[Point, Member, Parts], Outcome]


def train_members(
    plan: Plan,
    entries: Sequence[Entry] | None = None,
    *,
    stop: Callable[[], Any] = lambda: None,
    tell: Callable[[float], None] = lambda share: None,
) -> Generator[Trained, None, None]:
    """Train members, and yield them chunk by chunk as they come to their end.

    Args:
      plan: of `plan_sweep`.
      entries: which of its members; None for all.
      stop: asked several times a second; when it says so, the chunks at work are given
        up and the iterator ends.
      tell: called as often with the share of all steps that is done.

    Yields:
      A chunk. A member has, to rounding, the best parameters of the single run whose
      settings are `settings_of` it.
    """
    entries = plan.members if entries is None else tuple(entries)
    chunks = [entries[i : i + plan.size] for i in range(0, len(entries), plan.size)]
    if not chunks:
        return
    programs = compile_programs(plan)
    halt, done = Event(), [0.0] * len(chunks)
    with ThreadPoolExecutor(plan.workers) as pool:
        try:
            pending = {
                pool.submit(_train, plan, programs, chunk, halt, done, number)
                for number, chunk in enumerate(chunks)
            }
            while pending:
                ended, pending = wait(pending, 0.1, return_when=FIRST_COMPLETED)
                if stop():
                    halt.set()
                yield from filter(None, (each.result() for each in ended))
                tell(sum(done) / len(entries))
        finally:
            halt.set()
            pool.shutdown(cancel_futures=True)


def _train(
    plan: Plan,
    programs: Programs,
    chunk: tuple[Entry, ...],
    halt: Event,
    done: list[float],
    number: int,
) -> Trained | None:
    """A chunk from its first step to its end; None if it is halted on the way."""
    point, parts = points(plan, chunk), plan.parts
    members = programs.begin(point)
    pace, steps = Pace(0), 0
    total = plan.task.settings.training.epochs * plan.task.steps_per_epoch
    while steps < total:
        if halt.is_set():
            return None
        until = min(total, steps + pace.steps)
        with pace:
            members = programs.advance(
                point, members, parts, np.int32(steps), np.int32(until)
            )
            running = np.asarray(members.phase) == Phase.RUNNING
        steps = until if running.any() else total
        done[number] = len(chunk) * steps / total
    outcome = jax.device_get(programs.finish(point, members, parts))
    return Trained(chunk, jax.tree.map(lambda leaf: leaf[: len(chunk)], outcome))


def compile_programs(plan: Plan) -> Programs:
    """Trace the programs, and compile them side by side."""
    begin, advance, finish = make_programs(plan.task, plan.size)
    point, one = points(plan, plan.members[:1]), np.int32(1)
    members = jax.eval_shape(begin, point)
    at_begin, on_the_way, at_end = _shardings(plan.task)
    lowered = (
        jax.jit(begin, **at_begin).lower(point),
        jax.jit(advance, donate_argnums=1, **on_the_way).lower(
            point, members, plan.parts, one, one
        ),
        jax.jit(finish, **at_end).lower(point, members, plan.parts),
    )
    with ThreadPoolExecutor() as pool:
        return Programs(*pool.map(lambda each: each.compile(), lowered))


def _shardings(task: Task) -> list[dict[str, Any]]:
    """What `jax.jit` is told of each of `Programs`: on a mesh where its arguments and
    its results lie, else nothing."""
    layout = task.layout
    if layout is None:
        return [{}, {}, {}]
    whole: Any = layout.whole
    state = of_many(layout.state)
    best = Best(state.params, whole, whole, whole, whole)
    members = Member(state, best, whole, whole)
    places = (
        ((whole,), members),
        ((whole, members, whole, whole, whole), members),
        ((whole, members, whole), whole),
    )
    return [{"in_shardings": given, "out_shardings": made} for given, made in places]


def make_programs(task: Task, size: int) -> Programs:
    """The functions of one member, mapped over many."""

    def begin(point: Point) -> Member:
        return _each(size, lambda each: member.begin(task, each), point)

    def advance(
        point: Point, members: Member, parts: Parts, done: Any, until: Any
    ) -> Member:
        def runs(carry: tuple[jax.Array, Member]) -> jax.Array:
            done, members = carry
            return (done < until) & jnp.any(members.phase == Phase.RUNNING)

        def to_end_of_epoch(
            carry: tuple[jax.Array, Member],
        ) -> tuple[jax.Array, Member]:
            done, members = carry
            epoch = done // task.steps_per_epoch
            end = jnp.minimum(until, (epoch + 1) * task.steps_per_epoch)

            def steps(point: Point, each: Member) -> Member:
                return member.advance(task, point, each, parts, done, end)

            return end, _each(size, steps, point, members)

        return jax.lax.while_loop(runs, to_end_of_epoch, (done, members))[1]

    def finish(point: Point, members: Member, parts: Parts) -> Outcome:
        def scored(point: Point, each: Member) -> Outcome:
            return member.finish(task, point, each, parts)

        return _each(size, scored, point, members)

    return Programs(begin, advance, finish)


def _each(size: int, function: Callable[..., Any], *trees: Any) -> Any:
    """`jax.vmap`, but of one member the program itself, whose products are faster."""
    if size > 1:
        return jax.vmap(function)(*trees)
    found = function(*jax.tree.map(lambda leaf: leaf[0], trees))
    return jax.tree.map(lambda leaf: leaf[None], found)
