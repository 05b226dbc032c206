"""Members of a sweep against their single runs; chunks, refusals, early ends."""

import math
from dataclasses import replace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import handgrad
from handgrad.training import Dataset, Settings, TrainingError
from handgrad.training.engine.best import Best, better, nothing_yet
from handgrad.training.engine.fit import Progress, fit
from handgrad.training.engine.prepare import prepare
from handgrad.training.engine.programs import compile_programs, start
from handgrad.training.engine.sweep import (
    Entry,
    Phase,
    plan_sweep,
    settings_of,
    train_members,
)
from handgrad.training.engine.sweep import member as on_device
from handgrad.training.engine.sweep.chunks import make_programs
from handgrad.training.engine.sweep.memory import (
    CACHE,
    chunk_size,
    free_bytes,
    member_bytes,
)
from handgrad.training.engine.sweep.plan import points
from handgrad.training.errors import Diverged
from handgrad.training.records.metrics import EpochRecord
from handgrad.training.settings import Schedule, Sweep

Found = dict[str, Any]


def with_all(settings: Settings, **values: Any) -> Settings:
    """Settings by keys with __ for the dot."""
    for key, value in values.items():
        table, _, name = key.partition("__")
        inner = replace(getattr(settings, table), **{name: value})
        settings = replace(settings, **{table: inner})
    return settings


def swept(settings: Settings, data: Dataset, **how: Any) -> list[tuple[Entry, Found]]:
    """Every member, in the order of the plan, with its outcome."""
    plan = plan_sweep(settings, data)
    found: dict[str, Found] = {}
    for trained in train_members(plan, **how):
        for number, entry in enumerate(trained.members):
            outcome = jax.device_get(trained.outcome)
            mine = jax.tree.map(lambda leaf, n=number: leaf[n], outcome)
            found[str(entry)] = mine._asdict()
    return [(entry, found[str(entry)]) for entry in plan.members if str(entry) in found]


def single(settings: Settings, data: Dataset) -> tuple[Best, int, Phase]:
    """The run by itself: the best, the epochs, how it ended."""
    run = prepare(settings, data)
    state = start(run)
    best, training, epoch = nothing_yet(state.params), settings.training, 0
    programs = compile_programs(run)
    try:
        for progress in fit(run, programs, state, epochs=training.epochs):
            best = better(best, progress, training.min_change)
            epoch = progress.epoch
            if progress.finite and 0 < training.patience <= best.waited:
                return best, epoch, Phase.STOPPED
    except Diverged:
        return best, epoch, Phase.DIVERGED
    return best, epoch, Phase.DONE


def assert_equal(entry: Entry, found: Found, settings: Settings, data: Dataset) -> Best:
    """A member is its single run: to rounding, which 32 steps carry on."""
    best, epochs, phase = single(settings_of(settings, entry), data)
    assert (found["epoch"], found["phase"], found["best"].epoch) == (
        epochs,
        phase,
        best.epoch,
    )
    np.testing.assert_allclose(found["best"].loss, best.loss, rtol=1e-4)
    scales = jax.tree.map(lambda leaf: np.abs(leaf).max() + 1e-6, best.params)
    relative = jax.tree.map(
        lambda a, b, scale: (a - b) / scale, found["best"].params, best.params, scales
    )
    zeros = jax.tree.map(np.zeros_like, best.params)
    chex.assert_trees_all_close(relative, zeros, rtol=0, atol=1e-4)
    return best


CASES: dict[str, dict[str, Any]] = {
    "adamw, cosine, decay": {
        "optimizer__name": "adamw",
        "optimizer__schedule": Schedule("cosine_decay_schedule", {"alpha": 0.1}),
        "sweep__values": {
            "optimizer.weight_decay": [0, 0.5],
            "optimizer.learning_rate": [1e-3, 1e-2],
        },
        "sweep__seeds": 2,
    },
    "sgd, momentum, decay, smoothing, clipping": {
        "optimizer__name": "sgd",
        "training__class_weights": "balanced",
        "sweep__values": {
            "optimizer.arguments.momentum": [0, 0.9],
            "training.label_smoothing": [0, 0.2],
            "optimizer.clip_norm": [0, 0.5],
            "optimizer.weight_decay": [0, 0.1],
            "optimizer.learning_rate": [0.1],
        },
    },
    "dropout, warm-up": {
        "sweep__values": {
            "model.hidden_dropout": [0, 0.5],
            "model.input_dropout": [0, 0.2],
            "optimizer.schedule.warmup_steps": [0, 10],
        },
        "sweep__seeds": 2,
        "sweep__members": 5,  # the second chunk is filled, the last as well
    },
    "average, clipped samples": {
        "sweep__values": {
            "optimizer.average": [0, 0.9],
            "optimizer.clip_samples": [0, 0.3],
        },
        "sweep__members": 1,
    },
    "a stack": {
        "model__hidden": (8,) * 5,
        "model__stack_above": 1,
        "sweep__values": {"model.hidden_dropout": [0, 0.2]},
        "sweep__seeds": 2,
    },
    "noise": {"optimizer__name": "noisy_sgd", "sweep__seeds": 2},
}


@pytest.mark.parametrize("case", CASES)
def test_a_member_is_its_single_run(
    settings: Settings, data: Dataset, case: str
) -> None:
    """The first has every value at 0, where there is a 0; the last, none."""
    settings = with_all(settings, training__epochs=8, **CASES[case])
    members = swept(settings, data)
    counts = [len(values) for values in settings.sweep.values.values()]
    assert len(members) == settings.sweep.seeds * math.prod(counts)
    first, last = (
        assert_equal(*member, settings, data) for member in (members[0], members[-1])
    )
    assert np.any(first.params[0].weight != last.params[0].weight)
    losses = {float(found["best"].loss) for _, found in members}
    assert len(losses) == len(members), "every setting matters"


def test_members_stop_early_each_by_itself(settings: Settings, data: Dataset) -> None:
    """In one chunk: some stop at once, some later, some never, one diverges."""
    settings = with_all(
        settings,
        optimizer__name="sgd",
        training__epochs=12,
        training__min_change=1e-4,
        sweep__members=6,
        sweep__values={
            "training.patience": [1, 4],
            "optimizer.learning_rate": [1e-2, 2.0, 1e30],
        },
    )
    members = swept(settings, data)
    assert {int(found["phase"]) for _, found in members} == {1, 2, 3}
    assert len({int(found["epoch"]) for _, found in members}) > 2
    for entry, found in members:
        best, epochs, phase = single(settings_of(settings, entry), data)
        assert (found["epoch"], found["phase"]) == (epochs, phase)
        assert found["best"].epoch == best.epoch


def test_a_member_that_ended_is_frozen(settings: Settings, data: Dataset) -> None:
    settings = with_all(settings, sweep__seeds=2, sweep__members=2)
    plan = plan_sweep(settings, data)
    programs = make_programs(plan.task, plan.size)
    point = points(plan, plan.members)
    members = jax.jit(programs.begin)(point)
    members = members._replace(phase=jnp.array([Phase.STOPPED, Phase.RUNNING]))
    after = jax.jit(programs.advance)(point, members, plan.parts, 0, 6)
    frozen, moved = (
        [
            jax.tree.map(lambda leaf, n=n: leaf[n], jax.device_get(tree))
            for tree in (members, after)
        ]
        for n in (0, 1)
    )
    chex.assert_trees_all_equal(*frozen)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_close(*(each.state.params for each in moved))
    assert (after.epoch[1], after.state.step[1]) == (1, 6)


def test_how_the_steps_are_cut_changes_no_bit(
    settings: Settings, data: Dataset
) -> None:
    """Within epochs of 4 steps, and across them."""
    plan = plan_sweep(with_all(settings, sweep__seeds=2, sweep__members=2), data)
    begin, advance, _ = map(jax.jit, make_programs(plan.task, plan.size))
    point = points(plan, plan.members)
    ends = []
    for cuts in ([12], [1, 3, 6, 8, 12]):
        members = begin(point)
        for done, until in zip([0, *cuts], cuts, strict=False):
            members = advance(point, members, plan.parts, done, until)
        ends.append(members)
    chex.assert_trees_all_equal(*ends)
    assert ends[0].epoch.tolist() == [3, 3]


@given(
    st.lists(
        st.tuples(
            st.floats(0, 4, width=32) | st.just(math.nan),
            st.sampled_from([1.0, math.nan]),
        ),
        max_size=12,
    ),
    st.sampled_from([0.0, 0.5]),
)
def test_the_best_on_the_device_is_that_of_a_run(
    losses: list[tuple[float, float]], min_change: float
) -> None:
    params = (handgrad.Layer(jnp.zeros((1, 1)), jnp.zeros(1)),)
    expected = found = nothing_yet(params)
    for epoch, (loss, train) in enumerate(losses, start=1):
        params = jax.tree.map(lambda leaf: leaf + 1, params)
        record = EpochRecord(epoch, epoch, 1.0, train, 0.5, loss, 0.5, 0.1)
        progress = Progress(None, epoch, epoch, record=record, params=params)  # pyright: ignore[reportArgumentType]
        expected = better(expected, progress, min_change)
        found = BETTER(
            found,
            np.int32(epoch),
            params,
            np.float32(train),
            np.float32(loss),
            min_change,
        )
    chex.assert_trees_all_equal(expected, found)


BETTER = jax.jit(on_device.better)


@pytest.mark.parametrize(
    ("key", "values", "reason"),
    [
        ("seed", [1, 2], "`sweep.seeds` says how many"),
        ("data.split_seed", [1, 2], "share the data"),
        ("training.batch_size", [8, 16], "changes the shapes"),
        ("training.chunk_steps", [8, 16], "changes no network"),
        ("records.keep", [1, 2], "changes no network"),
        ("training.epochs", [1, 2], "must be known to the compiler"),
        ("optimizer.accumulate", [1, 2], "must be known to the compiler"),
        ("optimizer.schedule.arguments.decay_steps", [10, 20], "cosine_decay_schedule"),
    ],
)
def test_what_all_members_share_is_refused_by_its_key(
    settings: Settings, data: Dataset, key: str, values: list[float], reason: str
) -> None:
    settings = with_all(
        settings,
        optimizer__schedule=Schedule("cosine_decay_schedule"),
        sweep__values={key: values},
    )
    with pytest.raises(TrainingError, match=f"^`sweep.values.{key}` must be left out"):
        plan_sweep(settings, data)
    with pytest.raises(TrainingError, match=reason):
        plan_sweep(settings, data)


def test_combinations_that_cannot_work_are_refused(
    settings: Settings, data: Dataset
) -> None:
    beyond = with_all(
        settings,
        training__min_change=0.1,
        training__patience=1,
        sweep__values={"training.patience": [2, 0]},
    )
    with pytest.raises(TrainingError, match="`training.min_change` must be 0 without"):
        plan_sweep(beyond, data)
    seeds = replace(settings, seed=2**32 - 2, sweep=Sweep(seeds=3))
    with pytest.raises(TrainingError, match="`seed` must be"):
        plan_sweep(seeds, data)
    with pytest.raises(TrainingError, match=r"`data.stream` must be 'off'"):
        plan_sweep(settings, data._replace(streamed=True))


def test_the_highest_seeds_are_those_of_runs(settings: Settings, data: Dataset) -> None:
    settings = replace(settings, seed=2**32 - 1)
    plan = plan_sweep(settings, data)
    member = jax.jit(make_programs(plan.task, 1).begin)(points(plan, plan.members))
    run = prepare(settings, data)
    found = jax.tree.map(lambda leaf: leaf[0], jax.device_get(member.state.params))
    chex.assert_trees_all_close(found, start(run).params, rtol=1e-6)


def test_the_last_chunk_is_filled_and_progress_told(
    settings: Settings, data: Dataset
) -> None:
    settings = with_all(settings, sweep__seeds=5, sweep__members=2)
    plan = plan_sweep(settings, data)
    assert (plan.size, len(plan.members)) == (2, 5)
    shares: list[float] = []
    chunks = list(train_members(plan, tell=shares.append))
    assert sorted(len(chunk.members) for chunk in chunks) == [1, 2, 2]
    assert shares[-1] == 1.0
    assert shares == sorted(shares)


def test_a_request_to_stop_keeps_what_is_done(
    settings: Settings, data: Dataset
) -> None:
    """Asked after the first chunk; those at work are given up."""
    settings = with_all(
        settings, training__epochs=100_000, training__patience=1, sweep__members=1
    )
    settings = with_all(
        settings, sweep__values={"training.patience": [1, *[50_000] * 5]}
    )
    done: list[Any] = []
    for chunk in train_members(plan_sweep(settings, data), stop=lambda: bool(done)):
        done.append(chunk)
    assert [chunk.members[0].values["training.patience"] for chunk in done] == [1]


def test_chunks_fit_memory_and_cache(settings: Settings, data: Dataset) -> None:
    plan = plan_sweep(settings, data)
    point = jax.tree.map(lambda leaf: leaf[0], points(plan, plan.members))
    small = member_bytes(plan.task, plan.parts, point)
    wide = with_all(settings, model__hidden=(3000, 3000))
    task = plan.task._replace(settings=wide)
    large = member_bytes(task, plan.parts, point)
    copies = 2 * (3 + 1) + 3  # two states and their best; gradient, update, next
    assert copies < large / (4 * 3000**2) < copies + 0.5  # and the activations
    assert small < large / 1000
    assert 2**20 < free_bytes(jax.devices()[0]) < 2**50
    many = chunk_size(plan.task, plan.parts, point, 10_000)
    if jax.default_backend() == "cpu":
        assert 1 < many[0] <= CACHE // small
        assert chunk_size(task, plan.parts, point, 10)[0] == 1
    assert chunk_size(plan.task, plan.parts, point, 10, wanted=7) == (
        5,
        min(2, many[1]),
    )
