"""The compiled epoch against a plain loop; nothing dropped, nothing counted twice."""

from dataclasses import replace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import handgrad
from handgrad.training import Dataset, Part, Settings, prepare
from handgrad.training.loop import State, evaluate, make_epoch, shuffled_batches
from handgrad.training.optimizer import initial_state

KEY = jax.random.key(0)


@given(samples=st.integers(1, 40), batch_size=st.integers(1, 50))
def test_an_epoch_meets_every_sample_once(samples: int, batch_size: int) -> None:
    batches = shuffled_batches(KEY, 1, samples, batch_size)
    size = min(samples, batch_size)
    steps = -(-samples // size)
    assert batches.rows.shape == batches.present.shape == (steps, size)
    assert batches.keys.shape == (steps,)
    met = np.asarray(batches.rows)[np.asarray(batches.present) == 1]
    assert sorted(met) == list(range(samples))
    assert float(batches.present.sum()) == samples


def test_epochs_shuffle_differently_and_the_same_again() -> None:
    first, again, other = (shuffled_batches(KEY, n, 40, 8) for n in (1, 1, 2))
    np.testing.assert_array_equal(first.rows, again.rows)
    assert np.any(first.rows != other.rows)


def test_no_key_is_used_twice() -> None:
    keys = [shuffled_batches(KEY, n, 40, 8).keys for n in (1, 2)]
    bits = np.concatenate([jax.random.key_data(key) for key in keys])
    assert len(np.unique(bits, axis=0)) == 10


def plain_epoch(
    params: Any, data: Dataset, rate: float, batch_size: int, smoothing: float
) -> tuple[Any, float, int]:
    """An epoch of gradient descent written without handgrad and without padding."""
    order = np.asarray(shuffled_batches(KEY, 1, len(data.train.y), batch_size).rows)
    order = order.ravel()[: len(data.train.y)]
    loss_sum, hits = 0.0, 0
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        x, y = jnp.asarray(data.train.x[rows]), data.train.y[rows]
        q = np.eye(3)[y] * (1 - smoothing) + smoothing / 3

        def losses(params: Any, x: jax.Array = x, q: Any = q) -> tuple[Any, Any]:
            for k, (weight, bias) in enumerate(params):
                x = x @ weight + bias
                x = jax.nn.relu(x) if k < len(params) - 1 else x
            return optax.softmax_cross_entropy(x, jnp.float32(q)).mean(), x

        (loss, logits), grads = jax.value_and_grad(losses, has_aux=True)(params)
        params = jax.tree.map(lambda p, g: p - rate * g, params, grads)
        loss_sum += float(loss) * len(rows)
        hits += int((np.argmax(logits, axis=1) == y).sum())
    return params, loss_sum / len(order), hits


@pytest.mark.parametrize("batch_size", [16, 50, 64, 1])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_an_epoch_is_the_plain_loop(
    settings: Settings, data: Dataset, batch_size: int, smoothing: float
) -> None:
    settings = replace(
        settings,
        optimizer=replace(settings.optimizer, name="sgd", learning_rate=0.1),
        training=replace(settings.training, label_smoothing=smoothing),
    )
    start = prepare(settings, data)
    state = State(start.params, initial_state(start.optimizer, start.params))
    epoch = jax.jit(make_epoch(start.objective, start.optimizer, batch_size))
    after, metrics = epoch(state, KEY, 1, data.train, data.validation)
    params, loss, hits = plain_epoch(
        tuple(map(tuple, start.params)), data, 0.1, batch_size, smoothing
    )
    expected = tuple(handgrad.Layer(*layer) for layer in params)
    chex.assert_trees_all_close(after.params, expected, rtol=1e-5, atol=1e-6)
    assert float(metrics.train_loss) == pytest.approx(loss, rel=1e-5)
    assert int(metrics.train_correct) == hits


def test_class_weights_weigh_the_train_loss(settings: Settings, data: Dataset) -> None:
    """With a learning rate that moves nothing, the epoch's loss is that of the part."""
    few = Part(*(array[np.flatnonzero(data.train.y > 0)] for array in data.train))
    x = np.concatenate([few.x, data.train.x[data.train.y == 0][:3]])
    train = Part(x, np.append(few.y, np.zeros(3, np.int32)))
    settings = replace(
        settings,
        optimizer=replace(settings.optimizer, name="sgd", learning_rate=1e-30),
        training=replace(settings.training, class_weights="balanced"),
    )
    start = prepare(settings, data._replace(train=train))
    state = State(start.params, initial_state(start.optimizer, start.params))
    epoch = jax.jit(make_epoch(start.objective, start.optimizer, 16))
    _, metrics = epoch(state, KEY, 1, train, train)
    per_class = [handgrad.loss(start.params, x[train.y == c], train.y[train.y == c])
                 for c in range(3)]  # fmt: skip
    assert float(metrics.train_loss) == pytest.approx(
        float(np.mean(per_class)), rel=1e-5
    )
    assert float(metrics.validation_loss) == pytest.approx(
        float(metrics.train_loss), rel=1e-5
    )


def test_optimisers_differentiate_the_loss_by_hand(
    settings: Settings, data: Dataset
) -> None:
    """A derivative that is not h' shows in the gradient, and in that of the objective
    that an optimiser may differentiate itself."""
    straight = handgrad.Activation(jnp.sign, lambda d, a: jnp.ones_like(d))
    start = prepare(settings, data)
    objective: Any = start.objective._replace(activation=straight)

    def update(grads: Any, state: Any, params: Any, **extra: Any) -> Any:
        del state
        (value, again) = jax.value_and_grad(extra["value_fn"])(params)
        of_obj = jax.grad(lambda p: extra["obj_fn"](p, obj_fn=extra["obj_fn"]))(params)
        found = {"value": value - extra["value"], "grads": (grads, again, of_obj)}
        return jax.tree.map(jnp.zeros_like, grads), found

    copies = (start.params,) * 3
    seen = {"value": jnp.float32(1), "grads": copies}
    probe = optax.GradientTransformationExtraArgs(lambda params: seen, update)  # type: ignore[arg-type]
    state = State(start.params, probe.init(start.params))
    epoch = jax.jit(make_epoch(objective, probe, 16))
    after, _ = epoch(state, KEY, 1, data.train, data.validation)
    found: Any = after.opt_state
    grads, again, of_obj = found["grads"]
    assert float(found["value"]) == 0
    chex.assert_trees_all_close(again, grads, rtol=1e-6, atol=1e-8)
    chex.assert_trees_all_close(of_obj, grads, rtol=1e-6, atol=1e-8)
    assert np.any(grads[0].weight != 0), "autodiff finds 0 below a sign"


def test_epochs_are_traced_once(settings: Settings, data: Dataset) -> None:
    start = prepare(settings, data)
    epoch = make_epoch(start.objective, start.optimizer, 16)
    program = jax.jit(chex.assert_max_traces(epoch, n=1), donate_argnums=0)
    state = State(start.params, initial_state(start.optimizer, start.params))
    for number in (1, 2, 3):
        number = jnp.int32(number)
        state, _ = program(state, KEY, number, data.train, data.validation)


def test_dropout_acts_in_training_and_not_in_validation(
    settings: Settings, data: Dataset
) -> None:
    settings = replace(settings, model=replace(settings.model, hidden_dropout=0.5))
    start = prepare(settings, data)
    loss, _ = evaluate(start.objective, start.params, data.validation)
    plain = handgrad.loss(start.params, *data.validation)
    assert float(loss) == pytest.approx(float(plain), rel=1e-6)
    ends = []
    for rate in (0.0, 0.5):
        objective = start.objective._replace(hidden_dropout=rate)
        epoch = jax.jit(make_epoch(objective, start.optimizer, 16))
        state = State(start.params, initial_state(start.optimizer, start.params))
        ends.append(epoch(state, KEY, 1, data.train, data.validation)[0].params)
    assert np.any(ends[0][0].weight != ends[1][0].weight)


def test_evaluation_counts_hits(settings: Settings, data: Dataset) -> None:
    start = prepare(settings, data)
    _, hits = evaluate(start.objective, start.params, data.test)
    probabilities = handgrad.predict_proba(start.params, data.test.x)
    assert int(hits) == (np.argmax(probabilities, axis=1) == data.test.y).sum()
