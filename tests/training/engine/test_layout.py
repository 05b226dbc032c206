"""A run on a mesh against the same run on one device."""

from dataclasses import replace
from typing import Any

import chex
import jax
import numpy as np
import pytest
from meshes import FOUR_DEVICES

from handgrad.scale.hlo import collectives
from handgrad.training import Dataset, Settings, TrainingError, prepare
from handgrad.training.engine.evaluate import Samples
from handgrad.training.engine.fit import Progress, fit
from handgrad.training.engine.prepare import Run
from handgrad.training.engine.programs import compile_programs
from handgrad.training.engine.step import Epoch, make_chunk
from handgrad.training.settings import Scale

pytestmark = FOUR_DEVICES

MESHES = [Scale(4), Scale(1, 4), Scale(2, 2, zero=True)]
ONE, MIXED = Scale(), MESHES[-1]


def changed(settings: Settings, **tables: dict[str, Any]) -> Settings:
    """With some values of some tables replaced."""
    each = {name: replace(getattr(settings, name), **tables[name]) for name in tables}
    return replace(settings, **each)


@pytest.fixture
def small(settings: Settings) -> Settings:
    """Two epochs of 6-8-8-3, whose layers 2 and 4 devices can share."""
    return changed(settings, model={"hidden": (8, 8)}, training={"epochs": 2})


@pytest.fixture
def everything(small: Settings) -> Settings:
    """All that weighs, drops, clips, smooths and averages, at once; of 6-8-3."""
    return changed(
        small,
        model={"hidden": (8,), "hidden_dropout": 0.3, "input_dropout": 0.1},
        optimizer={
            "name": "adamw",
            "weight_decay": 0.1,
            "average": 0.9,
            "clip_norm": 0.5,
        },
        training={"class_weights": "balanced", "label_smoothing": 0.1},
    )


@pytest.fixture
def weighted(data: Dataset) -> Dataset:
    """Samples of different weights; the last batch of 16 is padded with 14 rows."""
    weights = np.random.default_rng(0).uniform(0, 2, len(data.train.y))
    train = data.train._replace(weights=weights.astype(np.float32))
    return data._replace(train=train)


def trained(settings: Settings, scale: Scale, data: Dataset) -> list[Progress]:
    """What `fit` yields at the ends of the epochs."""
    run = prepare(replace(settings, scale=scale), data)
    programs = compile_programs(run)
    state = programs.begin(run.key)
    epochs = settings.training.epochs
    return [each for each in fit(run, programs, state, epochs=epochs) if each.record]


@pytest.mark.parametrize("scale", [ONE, MIXED])
def test_a_run_shares_no_memory_with_its_data(
    small: Settings, data: Dataset, scale: Scale
) -> None:
    """A CPU device takes an array at such an address as it is, if it may."""
    memory = np.empty(data.train.x.nbytes + 64, np.uint8)
    x = memory[-memory.ctypes.data % 64 :][: data.train.x.nbytes]
    x = x.view(data.train.x.dtype).reshape(data.train.x.shape)
    x[:] = data.train.x
    own = data._replace(train=data.train._replace(x=x))
    run = prepare(replace(small, scale=scale), own)
    assert isinstance(run.train, Samples)
    x[:] = 0
    np.testing.assert_array_equal(run.train.x, data.train.x)


def assert_alike(
    found: list[Progress], wanted: list[Progress], rtol: float, atol: float = 2e-6
) -> None:
    """The records and the parameters that are scored."""
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        assert one.record is not None
        assert other.record is not None
        ours, theirs = (dict(vars(each.record)) for each in (one, other))
        if rtol > 1e-3:  # two classes may be as likely to rounding
            for name in ("train_accuracy", "validation_accuracy"):
                assert abs(ours.pop(name) - theirs.pop(name)) < 0.2
        chex.assert_trees_all_close(ours, theirs, rtol=rtol, atol=atol)
        params = jax.tree.map(np.asarray, (one.params, other.params))
        chex.assert_trees_all_close(*params, rtol=rtol, atol=atol)


def test_all_meshes_train_as_one_device_does(
    everything: Settings, weighted: Dataset
) -> None:
    plain = trained(everything, ONE, weighted)
    for scale in MESHES:
        assert_alike(trained(everything, scale, weighted), plain, rtol=1e-5)


OTHERS: dict[str, tuple[dict[str, dict[str, Any]], float]] = {
    # Its own rounding, 2^-8, of products of other shapes.
    "bfloat16": ({"model": {"dtype": "bfloat16"}}, 2**-8),
    # It turns the rounding of the loss into that of its step.
    "a line search": (
        {
            "model": {"hidden": (8,)},
            "optimizer": {"name": "lbfgs", "learning_rate": 1.0, "weight_decay": 0.01},
        },
        1e-4,
    ),
}
"""Settings, and how far rounding may take the losses, relatively."""


@pytest.mark.parametrize(("tables", "rtol"), OTHERS.values(), ids=OTHERS)
def test_whatever_the_settings_are(
    small: Settings, data: Dataset, tables: dict[str, dict[str, Any]], rtol: float
) -> None:
    settings = changed(small, **tables)
    plain = trained(settings, ONE, data)
    assert_alike(trained(settings, MIXED, data), plain, rtol, atol=rtol / 10)


def test_a_stream_is_split_as_well(small: Settings, data: Dataset) -> None:
    """With samples that are clipped, and two minibatches for an update."""
    settings = changed(small, optimizer={"clip_samples": 0.3, "accumulate": 2})
    streamed = data._replace(streamed=True)
    plain = trained(settings, ONE, streamed)
    assert_alike(trained(settings, MIXED, streamed), plain, rtol=1e-5)


def test_parts_of_the_state_lie_where_they_are_said_to(
    small: Settings, data: Dataset
) -> None:
    run = prepare(replace(small, scale=MIXED), data)
    layout = run.step.layout
    assert layout is not None
    specs = jax.tree.map(lambda leaf: leaf.spec, layout.state)
    adam = specs.opt_state.inner_state[0]
    axes = [tuple(layer.weight) for layer in specs.params]
    assert axes == [(None, "model"), ("model", None), ()]
    moments = [tuple(layer.weight) for layer in adam.mu]
    # 6 of layer 1 are 3 for each of 2 devices; 3 logits are not 2 halves, 8 units are.
    assert moments == [("data", "model"), ("model", "data"), ("data", None)]
    assert specs.step == jax.sharding.PartitionSpec()


def chunk_text(run: Run) -> str:
    """The compiled program of the loop."""
    return compile_programs(run).chunk.compiled.result().as_text()  # pyright: ignore[reportFunctionMemberAccess]


def test_one_step_sums_the_gradient_over_the_samples_once(
    small: Settings, data: Dataset
) -> None:
    """And two numbers: the sum of the weights, before it, and the loss."""
    run = prepare(replace(small, scale=Scale(4)), data)
    found = collectives(chunk_text(run))
    params = jax.eval_shape(run.begin, run.key).params
    size = sum(leaf.size * 4 for leaf in jax.tree.leaves(params))
    assert {one.kind for one in found} == {"all-reduce"}
    large = [one for one in found if one.size > 4]
    assert [one.times for one in large] == [1]
    assert size <= large[0].size <= size + 8
    assert sum(one.times for one in found) <= 3


def test_one_device_has_no_mesh(settings: Settings, data: Dataset) -> None:
    run = prepare(settings, data)
    assert run.step.layout is None
    state, one = jax.eval_shape(run.begin, run.key), np.int32(1)
    order: Any = jax.ShapeDtypeStruct((4, 16), np.int32)
    present: Any = jax.ShapeDtypeStruct((4, 16), np.float32)
    assert isinstance(run.train, Samples)
    epoch = Epoch(*run.train, order, present, one)
    traced = jax.make_jaxpr(make_chunk(run.step))(state, run.key, epoch, one)
    assert "sharding_constraint" not in str(traced)


BAD = {
    "scale.data": (Scale(3), "must divide the 16 samples"),
    "scale": (Scale(2, 64), "must take no more devices than there are"),
    "scale.model": (Scale(1, 3), "must divide the units of a hidden layer"),
}


@pytest.mark.parametrize(("key", "what"), BAD.items(), ids=BAD)
def test_what_devices_cannot_share_is_refused(
    settings: Settings, data: Dataset, key: str, what: tuple[Scale, str]
) -> None:
    scale, words = what
    with pytest.raises(TrainingError, match=rf"^`{key}` {words}"):
        prepare(replace(settings, scale=scale), data)
