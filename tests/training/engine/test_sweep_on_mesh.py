"""A sweep on a mesh against the same sweep on one device."""

from dataclasses import replace
from typing import Any

import chex
import jax
import numpy as np
import pytest
from meshes import FOUR_DEVICES

from handgrad.scale.hlo import collectives
from handgrad.training import Dataset, Settings, TrainingError
from handgrad.training.engine.sweep import plan_sweep, train_members
from handgrad.training.engine.sweep.chunks import compile_programs
from handgrad.training.engine.sweep.memory import chunk_size, member_bytes
from handgrad.training.engine.sweep.plan import points
from handgrad.training.settings import Model, Optimizer, Scale, Sweep

pytestmark = FOUR_DEVICES

MESHES = {
    "data": Scale(4),
    "model": Scale(1, 2),
    "both": Scale(2, 2),
    "zero": Scale(2, 2, zero=True),
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Two chunks, of three members and of two, in which most of what a run can do is
    swept; 4 devices can share the layers."""
    values: dict[str, list[float]] = {
        "optimizer.learning_rate": [1e-3, 3e-3, 1e-2, 2e-2, 3e-2],
        "optimizer.clip_samples": [0.5],
        "optimizer.average": [0.9],
        "model.hidden_dropout": [0.2],
        "training.label_smoothing": [0.1],
    }
    return replace(
        settings,
        model=Model(hidden=(8,)),
        optimizer=Optimizer(name="adamw", learning_rate=0.01, weight_decay=0.1),
        training=replace(settings.training, epochs=2, class_weights="balanced"),
        sweep=Sweep(values=values, members=3),
    )


@pytest.fixture
def weighted(data: Dataset) -> Dataset:
    """Samples of different weights; the last batch of 16 is padded with 14 rows."""
    weights = np.random.default_rng(0).uniform(0, 2, len(data.train.y))
    train = data.train._replace(weights=weights.astype(np.float32))
    return data._replace(train=train)


def outcomes(settings: Settings, data: Dataset) -> dict[str, Any]:
    """What is found of every member, by its values and seed."""
    return {
        str(entry): jax.tree.map(
            lambda leaf, n=n: leaf[n], jax.device_get(trained.outcome)
        )
        for trained in train_members(plan_sweep(settings, data))
        for n, entry in enumerate(trained.members)
    }


def test_all_meshes_train_all_members_as_one_device_does(
    settings: Settings, weighted: Dataset
) -> None:
    """Losses and parameters to the rounding of float32, and all that is counted."""
    plain = outcomes(settings, weighted)
    assert len({float(found.best.loss) for found in plain.values()}) == 5
    for name, scale in MESHES.items():
        alone = name == "both"  # the program of one member has no axis for them
        sweep = replace(settings.sweep, members=1 if alone else 3)
        found = outcomes(replace(settings, scale=scale, sweep=sweep), weighted)
        chex.assert_trees_all_close(found, plain, rtol=1e-5, atol=2e-6)


def test_members_lie_as_single_runs_do_and_are_whole_along_their_own_axis(
    settings: Settings, data: Dataset
) -> None:
    plan = plan_sweep(replace(settings, scale=MESHES["zero"]), data)
    assert (plan.size, plan.workers) == (3, 1)
    programs = compile_programs(plan)
    members = programs.begin(points(plan, plan.members[:3]))
    after = programs.advance(
        points(plan, plan.members[:3]), members, plan.parts, np.int32(0), np.int32(1)
    )
    specs = jax.tree.map(lambda leaf: tuple(leaf.sharding.spec), after)
    along = [
        [layer.weight for layer in tree]
        for tree in (specs.best.params, specs.state.params, specs.state.average)
    ]
    units = [(None, None, "model"), (None, "model", None)]
    shared = [(None, "data", "model"), (None, "model", None)]  # 3 classes are odd
    assert along == [units, units, shared]


def test_the_gradients_of_all_members_are_summed_at_once(
    settings: Settings, data: Dataset
) -> None:
    plan = plan_sweep(replace(settings, scale=MESHES["data"]), data)
    text = compile_programs(plan).advance.as_text()  # pyright: ignore[reportFunctionMemberAccess]
    size = 3 * 4 * (6 * 8 + 8 + 8 * 3 + 3)
    large = [one for one in collectives(text) if one.size > size / 4]
    assert [(one.kind, one.times) for one in large] == [("all-reduce", 1)]
    assert size <= large[0].size <= size + 3 * 8  # and the losses


def test_a_device_needs_memory_for_its_share_alone(
    settings: Settings, data: Dataset
) -> None:
    wide = replace(settings, model=Model(hidden=(512, 512)))
    sizes = []
    for scale in (Scale(), Scale(1, 4), Scale(4, zero=True)):
        plan = plan_sweep(replace(wide, scale=scale), data)
        point = jax.tree.map(lambda leaf: leaf[0], points(plan, plan.members))
        sizes.append(member_bytes(plan.task, plan.parts, point))
        if scale != Scale():
            assert chunk_size(plan.task, plan.parts, point, 8)[1] == 1
    whole, units, zero = sizes
    assert units < 0.35 * whole  # what is not split: the activations
    assert units < zero < 0.75 * whole  # 5 of 11 copies are split: moments, average


def test_what_devices_cannot_share_is_refused(
    settings: Settings, data: Dataset
) -> None:
    with pytest.raises(TrainingError, match=r"^`scale.data` must divide the 16"):
        plan_sweep(replace(settings, scale=Scale(3)), data)
