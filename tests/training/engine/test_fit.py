"""From settings and data to parameters: reproducible, able to learn, loud."""

import math
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import handgrad
from handgrad.training import Dataset, Part, Settings, TrainingError, prepare, start
from handgrad.training.data import scale
from handgrad.training.engine.fit import Pace, Progress, fit
from handgrad.training.engine.programs import (
    Compiling,
    Programs,
    compile_programs,
    prove,
)
from handgrad.training.errors import Diverged
from handgrad.training.settings import Schedule


def trained(settings: Settings, data: Dataset, **how: Any) -> list[Progress]:
    """What `fit` yields, each state copied before the next chunk consumes it."""
    run = prepare(settings, data)
    state = start(run)
    programs = compile_programs(run)
    epochs = settings.training.epochs
    return [
        progress._replace(state=jax.tree.map(np.array, progress.state))
        for progress in fit(run, programs, state, epochs=epochs, **how)
    ]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lion"])
def test_twenty_steps_by_hand_and_by_autodiff_stay_together(name: str) -> None:
    """In float64, where rounding cannot grow far in twenty steps."""
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 2)
        how: Any = {"activation": "tanh", "dtype": jnp.float64}
        begin = jax.jit(lambda key: handgrad.init(key, (5, 8, 3), **how))(keys[0])
        x = jax.random.normal(keys[1], (12, 5), jnp.float64)
        y = jnp.arange(12) % 3
        optimizer = getattr(optax, name)(1e-2)

        def steps(function: Any) -> Any:
            def step(_: Any, carry: Any) -> Any:
                params, state = carry
                _, grads = function(params, x, y, activation="tanh")
                updates, state = optimizer.update(grads, state, params)
                return optax.apply_updates(params, updates), state

            carry = begin, optimizer.init(begin)
            return jax.jit(lambda: jax.lax.fori_loop(0, 20, step, carry))()[0]

        ends = [
            steps(function)
            for function in (handgrad.value_and_grad, jax.value_and_grad(handgrad.loss))
        ]
        chex.assert_trees_all_close(*ends, rtol=1e-10, atol=1e-12)
        moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), begin, ends[0])
        assert min(jax.tree.leaves(moved)) > 1e-3


def test_sixteen_samples_are_learnt_by_heart(settings: Settings, data: Dataset) -> None:
    few = Part(data.train.x[:16], (np.arange(16) % 3).astype(np.int32))
    settings = replace(settings, training=replace(settings.training, epochs=400))
    data = data._replace(train=few, validation=few)
    records = [each.record for each in trained(settings, data) if each.record]
    assert [record.epoch for record in records] == list(range(1, 401))
    assert [record.steps for record in records] == list(range(1, 401))
    first, last = records[0], records[-1]
    assert last.train_accuracy == last.validation_accuracy == 1
    assert last.train_loss == last.validation_loss < 0.05 < first.train_loss
    assert last.objective < 0.05
    assert last.learning_rate == np.float32(0.01)


def test_the_same_seed_gives_the_same_bits(settings: Settings, data: Dataset) -> None:
    model = replace(settings.model, hidden_dropout=0.5)
    settings = replace(settings, model=model)
    once, again = (trained(settings, data, chunk_steps=steps)[-1] for steps in (0, 3))
    chex.assert_trees_all_equal(once.state, again.state)
    assert once.record == again.record
    differs = trained(replace(settings, seed=1), data)[-1]
    weight, other = (each.state.params[0].weight for each in (once, differs))
    assert not np.array_equal(weight, other)


def test_every_chunk_is_told_and_every_epoch_recorded(
    settings: Settings, data: Dataset
) -> None:
    told = trained(settings, data, chunk_steps=3)
    assert [(each.steps, each.epoch) for each in told] == [
        *((3, 1), (4, 1), (7, 2), (8, 2), (11, 3), (12, 3))
    ]
    assert [each.record is not None for each in told] == [False, True] * 3
    assert [each.last for each in told] == [False] * 5 + [True]
    assert all(int(each.state.step) == each.steps for each in told)


@pytest.mark.parametrize("chunk_classes", [0, 2])
def test_it_goes_on_from_any_state(
    settings: Settings, data: Dataset, chunk_classes: int
) -> None:
    """Within an epoch too: the rest of the steps, and the same record."""
    training = replace(settings.training, chunk_classes=chunk_classes)
    settings = replace(settings, training=training)
    run = prepare(settings, data)
    state = start(run)
    programs = compile_programs(run)
    whole = trained(settings, data, chunk_steps=3)
    for middle in (whole[0], whole[1], whole[4]):
        state = jax.device_put(middle.state)
        rest = list(fit(run, programs, state, epochs=3, chunk_steps=2))
        assert rest[-1].record == whole[-1].record
        chex.assert_trees_all_equal(rest[-1].state, whole[-1].state)


def test_records_are_comparable(settings: Settings, data: Dataset) -> None:
    """Plain negative log-likelihood on every part, whatever the objective adds."""
    plain = trained(settings, data)[-1]
    training = replace(settings.training, label_smoothing=0.3, class_weights="balanced")
    model = replace(settings.model, hidden_dropout=0.2)
    record = trained(replace(settings, training=training, model=model), data)[-1].record
    assert record is not None
    assert plain.record is not None
    last = plain.params
    assert last is not None
    x, y, _ = data.validation
    loss = jax.jit(handgrad.loss)(last, scale(data.scaling, x), y)
    assert plain.record.validation_loss == pytest.approx(float(loss), rel=1e-6)
    smoothed = -math.log(1 - 0.3 + 0.1) * (1 - 0.3)  # no objective is below
    assert record.objective > smoothed
    assert record.objective != record.train_loss


def test_a_loss_that_is_not_finite_is_recorded_and_then_an_error(
    settings: Settings, data: Dataset
) -> None:
    optimizer = replace(settings.optimizer, name="sgd", learning_rate=1e30)
    settings = replace(settings, optimizer=optimizer)
    run = prepare(settings, data)
    state = start(run)
    told: list[Progress] = []
    progresses = fit(run, compile_programs(run), state, epochs=3)
    with pytest.raises(Diverged, match="in epoch 1 it became") as raised:
        told.extend(progresses)
    assert not told[-1].finite
    assert all(progress.finite for progress in told[:-1])
    assert raised.value.steps == told[-1].steps


def test_no_validation_part_is_no_loss(settings: Settings, data: Dataset) -> None:
    nothing = Part(data.train.x[:0], data.train.y[:0])
    record = trained(settings, data._replace(validation=nothing))[-1].record
    assert record is not None
    assert math.isnan(record.validation_loss)
    assert math.isfinite(record.train_loss)


def test_what_does_not_fit_is_known_before_anything_is_compiled(
    settings: Settings, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("compiled")

    monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)
    prove(prepare(settings, data), "adam")
    arguments = {"end_value": 0.0, "power": "two"}
    schedule = Schedule("polynomial_schedule", arguments)
    optimizer = replace(settings.optimizer, schedule=schedule)
    bad = replace(settings, optimizer=optimizer)
    run = prepare(bad, data)
    with pytest.raises(TrainingError, match=r"`optimizer.*adam cannot"):
        prove(run, "adam")


def test_the_schedule_may_be_longer_than_the_run(
    settings: Settings, data: Dataset
) -> None:
    cosine = replace(settings.optimizer.schedule, name="cosine_decay_schedule")
    longer = replace(cosine, epochs=6)
    rates = []
    for schedule in (cosine, longer):
        optimizer = replace(settings.optimizer, schedule=schedule)
        record = trained(replace(settings, optimizer=optimizer), data)[-1].record
        assert record is not None
        rates.append(record.learning_rate)
    # The 12th step of 12, and of 24.
    expected = [0.005 * (1 + math.cos(math.pi * 11 / steps)) for steps in (12, 24)]
    assert rates == pytest.approx(expected, rel=1e-5)


def test_chunks_grow_to_their_time() -> None:
    pace = Pace(0)
    steps = []
    for _ in range(4):
        with pace:
            pass
        steps.append(pace.steps)
    assert steps == [1, 8, 64, 512]
    fixed = Pace(5)
    with fixed:
        pass
    assert fixed.steps == 5


def test_what_has_not_begun_to_compile_is_left() -> None:
    """Or the end of the process would wait for it."""
    done, waiting = Compiling(Future()), Compiling(Future())
    done.compiled.set_result(abs)
    Programs(abs, done, waiting, waiting, abs).close()  # pyright: ignore[reportArgumentType]
    assert done(-1) == 1
    assert waiting.compiled.cancelled()
