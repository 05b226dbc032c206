"""`training.chunk_classes`: a run with a chunk of the classes at a time."""

from dataclasses import replace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import handgrad
from handgrad.training import (
    Dataset,
    Settings,
    TrainingError,
    check_settings,
    compile_programs,
    fit,
    prepare,
    start,
)
from handgrad.training.engine.check import check_first_gradient
from handgrad.training.engine.evaluate import Samples, evaluate
from handgrad.training.engine.objective import loss_arguments, value_and_gradient
from handgrad.training.engine.programs import prove
from handgrad.training.engine.sweep.plan import plan_sweep
from handgrad.training.settings import Model, Sweep


@pytest.fixture
def chunked(settings: Settings) -> Settings:
    """Two of the three classes at a time, with all that changes targets and weights."""
    training = replace(
        settings.training,
        chunk_classes=2,
        label_smoothing=0.1,
        class_weights="balanced",
        check="always",
    )
    model = replace(settings.model, hidden_dropout=0.2)
    return replace(settings, training=training, model=model)


def whole(settings: Settings) -> Settings:
    return replace(settings, training=replace(settings.training, chunk_classes=0))


def ends(settings: Settings, data: Dataset, **how: Any) -> list[Any]:
    """The state and the record after every epoch."""
    run = prepare(settings, data)
    return [
        jax.device_get((progress.state, progress.record))
        for progress in fit(run, compile_programs(run), start(run), epochs=3, **how)
        if progress.record
    ]


def test_the_curve_is_that_of_all_classes_at_once(
    chunked: Settings, data: Dataset
) -> None:
    found, expected = ends(chunked, data)[-1], ends(whole(chunked), data)[-1]
    chex.assert_trees_all_close(found[0].params, expected[0].params, rtol=1e-3)
    record, other = found[1], expected[1]
    for name in ("objective", "train_loss", "validation_loss", "validation_accuracy"):
        assert getattr(record, name) == pytest.approx(getattr(other, name), rel=1e-4)


def test_how_the_steps_are_cut_changes_no_bit(chunked: Settings, data: Dataset) -> None:
    once, again = (ends(chunked, data, chunk_steps=steps)[-1] for steps in (0, 3))
    chex.assert_trees_all_equal(once, again)


def test_the_check_compares_the_gradient_that_is_used(
    chunked: Settings, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepare(chunked, data)
    assert "[2].weight" in check_first_gradient(run, start(run), data.train)
    right = handgrad.value_and_grad

    def wrong(*arguments: Any, chunk: int | None = None, **options: Any) -> Any:
        value, grads = right(*arguments, chunk=chunk, **options)
        return value, jax.tree.map(lambda leaf: leaf * (chunk or 1), grads)

    monkeypatch.setattr(handgrad, "value_and_grad", wrong)
    with pytest.raises(TrainingError, match=r"must equal jax.grad"):
        check_first_gradient(run, start(run), data.train)


def sizes_in(jaxpr: Any) -> set[tuple[int, ...]]:
    found = {v.aval.shape for equation in jaxpr.eqns for v in equation.outvars}
    for equation in jaxpr.eqns:
        for inner in jaxprs_in_params(equation.params):
            found |= sizes_in(inner)
    return found


def test_no_array_of_a_step_or_a_score_has_all_samples_and_all_classes(
    chunked: Settings, data: Dataset
) -> None:
    run = prepare(chunked, data)
    step = run.step
    params, key = start(run).params, jax.random.key(0)
    x, y = jnp.asarray(data.train.x[:7]), jnp.asarray(data.train.y[:7])

    def program(params: Any, x: Any, y: Any, key: Any) -> Any:
        arguments = loss_arguments(step.objective, params, y, key=key)
        score = evaluate(step.objective, step.scaling, params, Samples(x, y))
        return value_and_gradient(step.objective, params, x, arguments), score

    shapes = sizes_in(jax.make_jaxpr(program)(params, x, y, key).jaxpr)
    assert (7, 2) in shapes
    assert (7, 3) not in shapes


def test_auto_and_bfloat16_train(chunked: Settings, data: Dataset) -> None:
    training = replace(chunked.training, chunk_classes="auto")
    model = Model((), dtype="bfloat16")
    settings = replace(chunked, training=training, model=model)
    check_settings(settings)
    record = ends(settings, data)[-1][1]
    assert np.isfinite(record.validation_loss)


def test_what_needs_all_classes_is_refused(chunked: Settings, data: Dataset) -> None:
    clipped = replace(chunked.optimizer, clip_samples=1.0)
    with pytest.raises(TrainingError, match=r"`optimizer.clip_samples` must be 0 wher"):
        check_settings(replace(chunked, optimizer=clipped))
    searching = replace(chunked.optimizer, name="lbfgs", arguments={})
    run = prepare(replace(chunked, optimizer=searching), data)
    with pytest.raises(TrainingError, match=r"does not look at the objective"):
        prove(run, "lbfgs")
    swept = Sweep(values={"optimizer.clip_samples": [0.0]})
    with pytest.raises(TrainingError, match=r"`sweep.values.optimizer.clip_samples`"):
        plan_sweep(replace(chunked, sweep=swept), data)
    swept = Sweep(values={"training.chunk_classes": [1.0, 2.0]})
    with pytest.raises(TrainingError, match=r"changes the shapes of the program"):
        plan_sweep(replace(chunked, sweep=swept), data)


@pytest.mark.parametrize("value", [-1, "all", 1.5])
def test_it_is_a_number_of_classes_or_auto(settings: Settings, value: Any) -> None:
    training = replace(settings.training, chunk_classes=value)
    with pytest.raises(TrainingError, match=r"`training.chunk_classes` must be"):
        check_settings(replace(settings, training=training))
