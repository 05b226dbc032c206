"""`model.stack_above`: a run whose equal hidden layers are one stack."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import chex
import jax
import pytest

import handgrad
from handgrad.training import (
    Dataset,
    Settings,
    TrainingError,
    compile_programs,
    fit,
    load_model,
    prepare,
    start,
)
from handgrad.training.commands.train import main
from handgrad.training.engine.check import check_first_gradient
from handgrad.training.engine.stacks import check_stacks
from handgrad.training.engine.sweep.plan import plan_sweep
from handgrad.training.settings import Model, Optimizer, Sweep

WITHOUT_SCALES = {"multiply_by_parameter_scale": False, "clipping_threshold": 1e9}
"""Of adafactor: it factors what is large, and looks at nothing else as a whole."""


@pytest.fixture
def stacked(settings: Settings) -> Settings:
    model = Model((8,) * 6, activation="tanh", hidden_dropout=0.1, stack_above=2)
    return replace(settings, model=model)


def apart(settings: Settings) -> Settings:
    return replace(settings, model=replace(settings.model, stack_above=0))


def ends(settings: Settings, data: Dataset) -> Any:
    """Parameters and record at the end of the last epoch."""
    run = prepare(settings, data)
    for progress in fit(run, compile_programs(run), start(run), epochs=3):
        if progress.record and progress.record.epoch == 3:
            return jax.device_get((progress.state.params, progress.record))
    return None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer.clip_samples": 0.5, "optimizer.weight_decay": 0.01},
        {"training.chunk_classes": 2, "optimizer.average": 0.9},
        {"optimizer.clip_norm": 0.5, "optimizer.accumulate": 2},
        {"scale.data": 2, "scale.zero": True},
        {"scale.data": 2, "scale.model": 2},
    ],
)
def test_the_curve_is_that_of_layers_kept_apart(
    stacked: Settings, data: Dataset, changes: dict[str, Any]
) -> None:
    for key, value in changes.items():
        table, name = key.split(".")
        changed = replace(getattr(stacked, table), **{name: value})
        stacked = replace(stacked, **{table: changed})
    params, record = ends(stacked, data)
    assert params[1].weight.shape == (4, 8, 8)
    expected, other = ends(apart(stacked), data)
    chex.assert_trees_all_close(
        handgrad.unstack_layers(params), expected, rtol=1e-3, atol=1e-5
    )
    for name in ("objective", "train_loss", "validation_loss"):
        assert getattr(record, name) == pytest.approx(getattr(other, name), rel=1e-4)


def test_the_check_compares_every_layer(
    stacked: Settings, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in one layer of the stack is an error."""
    run = prepare(stacked, data)
    assert "[1].weight" in check_first_gradient(run, start(run), data.train)
    right = handgrad.value_and_grad

    def wrong(*arguments: Any, **options: Any) -> Any:
        value, grads = right(*arguments, **options)
        weight = grads[1].weight.at[2].multiply(1.01)
        return value, (grads[0], grads[1]._replace(weight=weight), *grads[2:])

    monkeypatch.setattr(handgrad, "value_and_grad", wrong)
    with pytest.raises(TrainingError, match=r"must equal jax.grad"):
        check_first_gradient(run, start(run), data.train)


def test_a_run_goes_on_with_its_stack_and_saves_layers(tmp_path: Path) -> None:
    """Two epochs, and two more: as four at once, to the bit."""
    root = Path(__file__).parents[3]
    widths = ["--model.hidden", *["16"] * 5, "--model.stack-above", "1"]
    length = ["--optimizer.schedule.epochs", "4", "--training.check", "off"]
    given = [str(root / "configs" / "digits.toml"), *widths, *length]

    def ends(folder: str, epochs: int) -> Path:
        runs = ["--runs", str(tmp_path / folder), "--training.epochs", str(epochs)]
        assert main([*given, *runs]) == 0
        return tmp_path / folder / "digits"

    whole, half = ends("whole", 4), ends("half", 2)
    assert ends("half", 4) == half
    models = [load_model(folder / "model.safetensors") for folder in (whole, half)]
    shapes = [layer.weight.shape for layer in models[0].params]
    assert shapes == [(64, 16), *[(16, 16)] * 4, (16, 10)]
    chex.assert_trees_all_equal(models[0].params, models[1].params)


@pytest.mark.parametrize(
    ("name", "arguments", "fits"),
    [
        *((name, {}, True) for name in ("adamw", "sgd", "lion", "rprop", "lbfgs")),
        ("schedule_free_adamw", {}, True),
        *((name, {}, False) for name in ("lamb", "lars", "adafactor", "muon")),
        *((name, {}, False) for name in ("noisy_sgd", "sophia")),
        ("adafactor", WITHOUT_SCALES, False),
    ],
)
def test_an_optimiser_that_sees_arrays_as_a_whole_is_refused(
    stacked: Settings, name: str, arguments: dict[str, Any], fits: bool
) -> None:
    settings = replace(stacked, optimizer=Optimizer(name, arguments=arguments))
    layers = handgrad.init(jax.random.key(0), (5, *[200] * 6, 3))
    if fits:
        check_stacks(settings, lambda: handgrad.stack_layers(layers, above=1))
    else:
        with pytest.raises(
            TrainingError, match=f"`model.stack_above` must be 0 with {name}"
        ):
            check_stacks(settings, lambda: handgrad.stack_layers(layers, above=1))
    check_stacks(settings, lambda: layers)


def test_a_run_asks_whether_its_optimiser_fits(
    stacked: Settings, data: Dataset
) -> None:
    with pytest.raises(TrainingError, match=r"must be 0 with lamb"):
        prepare(replace(stacked, optimizer=Optimizer("lamb")), data)


def test_members_of_a_sweep_have_one_program(stacked: Settings, data: Dataset) -> None:
    swept = Sweep(values={"model.stack_above": [1.0, 2.0]})
    with pytest.raises(TrainingError, match=r"changes the shapes of the program"):
        plan_sweep(replace(stacked, sweep=swept), data)
