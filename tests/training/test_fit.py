"""From settings and data to parameters: reproducible, able to learn, loud."""

from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import handgrad
from handgrad.training import Dataset, Settings, TrainingError
from handgrad.training.fit import check_first_batch, fit, prepare
from handgrad.training.folder import EpochRecord


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lion"])
def test_twenty_steps_by_hand_and_by_autodiff_stay_together(name: str) -> None:
    """In float64, where rounding cannot grow far in twenty steps."""
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 2)
        start = handgrad.init(keys[0], (5, 8, 3), activation="tanh", dtype=jnp.float64)
        x = jax.random.normal(keys[1], (12, 5), jnp.float64)
        y = jnp.arange(12) % 3
        optimizer = getattr(optax, name)(1e-2)
        ends = []
        for function in (handgrad.value_and_grad, jax.value_and_grad(handgrad.loss)):
            params, state = start, optimizer.init(start)
            step = jax.jit(function, static_argnames="activation")
            for _ in range(20):
                _, grads = step(params, x, y, activation="tanh")
                updates, state = optimizer.update(grads, state, params)
                params = optax.apply_updates(params, updates)
            ends.append(params)
        chex.assert_trees_all_close(*ends, rtol=1e-10, atol=1e-12)
        moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), start, ends[0])
        assert min(jax.tree.leaves(moved)) > 1e-3


def test_sixteen_samples_are_learnt_by_heart(settings: Settings, data: Dataset) -> None:
    few = data.train._replace(x=data.train.x[:16], y=np.arange(16) % 3)
    training = replace(settings.training, epochs=400)
    settings = replace(settings, training=training)
    data = data._replace(train=few)
    records: list[EpochRecord] = []
    fit(
        settings,
        data,
        prepare(settings, data),
        on_epoch=lambda record, params: records.append(record),
    )
    assert [record.epoch for record in records] == list(range(1, 401))
    assert records[-1].train_accuracy == 1
    assert records[-1].train_loss < 0.05 < records[0].train_loss


def test_the_same_seed_gives_the_same_bits(settings: Settings, data: Dataset) -> None:
    model = replace(settings.model, hidden_dropout=0.5)
    settings = replace(settings, model=model)
    once, again = (fit(settings, data, prepare(settings, data)) for _ in range(2))
    chex.assert_trees_all_equal(once, again)
    other = replace(settings, seed=1)
    differs = fit(other, data, prepare(other, data))
    assert not np.array_equal(once[0].weight, differs[0].weight)


def test_training_ends_where_it_is_told(settings: Settings, data: Dataset) -> None:
    records: list[EpochRecord] = []
    start = prepare(settings, data)
    fit(
        settings,
        data,
        start,
        on_epoch=lambda record, params: records.append(record),
        stop=lambda: len(records) == 2,
    )
    assert len(records) == 2
    assert np.isfinite(start.params[0].weight).all()  # not donated


def test_every_epoch_hands_out_its_parameters(
    settings: Settings, data: Dataset
) -> None:
    kept: list[handgrad.Params] = []

    def keep(record: EpochRecord, params: handgrad.Params) -> None:
        kept.append(jax.device_get(params))

    start = prepare(settings, data)
    last = fit(settings, data, start, on_epoch=keep, stop=lambda: len(kept) == 2)
    chex.assert_trees_all_equal(kept[1], jax.device_get(last))
    first = fit(settings, data, start, stop=lambda: True)
    chex.assert_trees_all_equal(kept[0], jax.device_get(first))


def test_a_loss_that_diverges_is_an_error(settings: Settings, data: Dataset) -> None:
    optimizer = replace(settings.optimizer, name="sgd", learning_rate=1e30)
    settings = replace(settings, optimizer=optimizer)
    with pytest.raises(TrainingError, match=r"`optimizer.learning_rate` 1e\+30 of sgd"):
        fit(settings, data, prepare(settings, data))


def test_the_first_batch_is_checked(settings: Settings, data: Dataset) -> None:
    table = check_first_batch(settings, data, prepare(settings, data))
    for path in ("[0].weight", "[0].bias", "[2].weight", "[2].bias"):
        assert path in table
