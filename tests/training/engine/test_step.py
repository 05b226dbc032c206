"""A chunk of steps against a plain loop, and against itself cut in other places."""

from dataclasses import replace
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import handgrad
from handgrad.training import Dataset, Part, Settings, prepare, start
from handgrad.training.data import scale
from handgrad.training.engine.evaluate import Samples
from handgrad.training.engine.order import shuffled, steps_of
from handgrad.training.engine.prepare import Run
from handgrad.training.engine.step import Block, Epoch, State, make_chunk, minibatch

SHUFFLED = jax.jit(shuffled, static_argnums=(2, 3))


def epoch_of(run: Run, number: int = 1, weights: Any = None) -> Epoch:
    """The minibatches of an epoch."""
    assert isinstance(run.train, Samples)
    order, present = SHUFFLED(run.key, number, run.samples, run.batch_size)
    first = (number - 1) * steps_of(run.samples, run.batch_size)
    x, y, _ = run.train
    return Epoch(x, y, weights, order, present, jnp.int32(first))


def sgd(settings: Settings, **training: Any) -> Settings:
    return replace(
        settings,
        optimizer=replace(settings.optimizer, name="sgd", learning_rate=0.1),
        training=replace(settings.training, **training),
    )


def after(run: Run, state: State, source: Any, count: int) -> State:
    return jax.jit(make_chunk(run.step))(state, run.key, source, count)


def plain_epoch(
    params: Any, data: Dataset, source: Epoch, rate: float, smoothing: float
) -> tuple[Any, float]:
    """An epoch of gradient descent written without handgrad and without padding."""
    loss_sum, rows_seen = 0.0, 0

    @jax.jit
    @partial(jax.value_and_grad, has_aux=False)
    def loss_and_grads(params: Any, x: Any, q: Any) -> Any:
        for k, (weight, bias) in enumerate(params):
            x = x @ weight + bias
            x = jax.nn.relu(x) if k < len(params) - 1 else x
        return optax.softmax_cross_entropy(x, q).mean()

    for order, present in zip(source.order, source.present, strict=True):
        rows = np.asarray(order)[np.asarray(present) == 1]
        x = jnp.asarray(scale(data.scaling, data.train.x[rows]))
        q = np.eye(3)[data.train.y[rows]] * (1 - smoothing) + smoothing / 3
        loss, grads = loss_and_grads(params, x, jnp.float32(q))
        params = jax.tree.map(lambda p, g: p - rate * g, params, grads)
        loss_sum, rows_seen = loss_sum + float(loss) * len(rows), rows_seen + len(rows)
    return params, loss_sum / rows_seen


@pytest.mark.parametrize(("batch_size", "smoothing"), [(16, 0.1), (64, 0.0), (7, 0.0)])
def test_an_epoch_is_the_plain_loop(
    settings: Settings, data: Dataset, batch_size: int, smoothing: float
) -> None:
    settings = sgd(settings, label_smoothing=smoothing, batch_size=batch_size)
    run = prepare(settings, data)
    state, source = start(run), epoch_of(run)
    end = after(run, state, source, len(source.order))
    params, loss = plain_epoch(
        tuple(map(tuple, state.params)), data, source, 0.1, smoothing
    )
    expected = tuple(handgrad.Layer(*layer) for layer in params)
    chex.assert_trees_all_close(end.params, expected, rtol=1e-5, atol=1e-6)
    assert float(end.sums.loss / end.sums.weight) == pytest.approx(loss, rel=1e-5)
    assert int(end.step) == len(source.order)


@pytest.mark.parametrize("name", ["adamw", "schedule_free_sgd"])
def test_where_chunks_are_cut_changes_no_bit(
    settings: Settings, data: Dataset, name: str
) -> None:
    settings = replace(
        settings,
        model=replace(settings.model, hidden_dropout=0.5),
        optimizer=replace(settings.optimizer, name=name, average=0.9),
    )
    run = prepare(settings, data)
    state, source = start(run), epoch_of(run)
    chex.clear_trace_counter()
    chunk = jax.jit(chex.assert_max_traces(make_chunk(run.step), n=1))
    whole = chunk(state, run.key, source, 4)
    for counts in ((1, 3), (2, 1, 1)):
        cut = state
        for count in counts:
            cut = chunk(cut, run.key, source, count)
        chex.assert_trees_all_equal(cut, whole)


def test_a_block_of_a_stream_is_the_same_minibatches(
    settings: Settings, data: Dataset
) -> None:
    settings = sgd(settings, batch_size=16)
    run = prepare(settings, data)
    state, source = start(run), epoch_of(run)
    drawn = [jax.jit(minibatch)(source, np.int32(step)) for step in range(4)]
    block = Block(*map(np.stack, zip(*drawn, strict=True)), first=np.int32(0))
    by_rows, by_block = (after(run, state, each, 4) for each in (source, block))
    chex.assert_trees_all_equal(by_rows, by_block)


def test_samples_of_weight_0_are_as_if_they_were_not_there(
    settings: Settings, data: Dataset
) -> None:
    settings = sgd(settings, batch_size=50)
    run = prepare(settings, data)
    state, source = start(run), epoch_of(run)
    weights = jnp.asarray(np.arange(50) % 2, jnp.float32)
    weighted = after(run, state, source._replace(weights=weights), 1)
    odd = Part(data.train.x[1::2], data.train.y[1::2])
    few = prepare(settings, data._replace(train=odd))
    alone = after(few, state, epoch_of(few), 1)
    chex.assert_trees_all_close(weighted.params, alone.params, rtol=1e-5, atol=1e-6)
    assert float(weighted.sums.weight) == 25


def test_classes_weigh_the_same_in_sum(settings: Settings, data: Dataset) -> None:
    """With a learning rate that moves nothing, the objective is the mean over classes
    of their mean losses."""
    rows = np.append(
        np.flatnonzero(data.train.y > 0), np.flatnonzero(data.train.y == 0)[:3]
    )
    train = Part(data.train.x[rows], data.train.y[rows])
    settings = sgd(settings, class_weights="balanced", batch_size=16)
    optimizer = replace(settings.optimizer, learning_rate=1e-30)
    settings = replace(settings, optimizer=optimizer)
    run = prepare(settings, data._replace(train=train))
    state, source = start(run), epoch_of(run)
    end = after(run, state, source, len(source.order))
    x = jnp.asarray(scale(data.scaling, train.x))
    of_class = jax.jit(
        lambda c: handgrad.loss(state.params, x, train.y, weights=train.y == c)
    )
    per_class = [of_class(c) for c in range(3)]
    found = float(end.sums.loss / end.sums.weight)
    assert found == pytest.approx(float(np.mean(per_class)), rel=1e-5)


def test_optimisers_differentiate_the_loss_by_hand(
    settings: Settings, data: Dataset
) -> None:
    """A derivative that is not h' shows in the gradient, and in that of the objective
    that an optimiser may differentiate itself."""
    straight = handgrad.Activation(jnp.sign, lambda d, a: jnp.ones_like(d))
    run = prepare(settings, data)
    state, source = start(run), epoch_of(run)

    def update(grads: Any, state: Any, params: Any, **extra: Any) -> Any:
        del state
        (value, again) = jax.value_and_grad(extra["value_fn"])(params)
        of_obj = jax.grad(lambda p: extra["obj_fn"](p, obj_fn=extra["obj_fn"]))(params)
        found = {"value": value - extra["value"], "grads": (grads, again, of_obj)}
        return jax.tree.map(jnp.zeros_like, grads), found

    seen = {"value": jnp.float32(1), "grads": (state.params,) * 3}
    probe = optax.GradientTransformationExtraArgs(lambda params: seen, update)  # pyright: ignore[reportArgumentType]
    objective: Any = run.step.objective._replace(activation=straight)
    step = run.step._replace(objective=objective, optimizer=probe)
    state = state._replace(opt_state=probe.init(state.params))
    found: Any = after(run._replace(step=step), state, source, 1).opt_state
    grads, again, of_obj = found["grads"]
    assert float(found["value"]) == 0
    chex.assert_trees_all_close(again, grads, rtol=1e-6, atol=1e-8)
    chex.assert_trees_all_close(of_obj, grads, rtol=1e-6, atol=1e-8)
    assert np.any(grads[0].weight != 0), "autodiff finds 0 below a sign"


def test_every_step_drops_other_units(settings: Settings, data: Dataset) -> None:
    """The same minibatch at two steps, from the same parameters."""
    settings = sgd(settings, batch_size=50)
    settings = replace(settings, model=replace(settings.model, hidden_dropout=0.5))
    run = prepare(settings, data)
    state, source = start(run), epoch_of(run)
    later = state._replace(step=jnp.int32(1))
    ends = [
        after(run, at, source._replace(first=at.step), 1).params
        for at in (state, later)
    ]
    assert np.any(ends[0][0].weight != ends[1][0].weight)


@pytest.mark.parametrize(("batch_size", "least"), [(1, 1 - 1e-3), (50, 0.1)])
def test_no_sample_moves_the_parameters_further_than_its_bound(
    settings: Settings, data: Dataset, batch_size: int, least: float
) -> None:
    """One sample alone as far, and the mean of 50 no further."""
    settings = sgd(settings, batch_size=batch_size)
    bounded = replace(settings.optimizer, clip_samples=1e-2)
    settings = replace(settings, optimizer=bounded)
    run = prepare(settings, data)
    state = start(run)
    end = after(run, state, epoch_of(run), 1)
    moved = jax.tree.map(
        lambda a, b: np.sum((np.asarray(a) - b) ** 2), state.params, end.params
    )
    assert least < sum(jax.tree.leaves(moved)) ** 0.5 / (0.1 * 1e-2) < 1 + 1e-3


def test_the_average_follows_the_parameters(settings: Settings, data: Dataset) -> None:
    settings = sgd(settings, batch_size=16)
    averaged = replace(settings.optimizer, average=0.5)
    settings = replace(settings, optimizer=averaged)
    run = prepare(settings, data)
    state, source = start(run), epoch_of(run)
    expected = state.average
    for step in range(4):
        state = after(run, state, source, 1)
        kept = min(0.5, (1 + step) / (10 + step))
        expected = jax.tree.map(
            lambda old, new, kept=kept: kept * old + (1 - kept) * new,
            expected,
            state.params,
        )
    chex.assert_trees_all_close(state.average, expected, rtol=1e-5, atol=1e-7)


def test_bfloat16_computes_narrow_and_keeps_wide(
    settings: Settings, data: Dataset
) -> None:
    settings = sgd(settings, batch_size=50)
    ends = []
    for dtype in ("float32", "bfloat16"):
        model = replace(settings.model, dtype=dtype)
        made = replace(settings, model=model)
        run = prepare(made, data)
        state = start(run)
        ends.append(after(run, state, epoch_of(run), 1).params)
        text = str(
            jax.make_jaxpr(make_chunk(run.step))(state, run.key, epoch_of(run), 1)
        )
        assert ("bf16" in text) == (dtype == "bfloat16")
    chex.assert_trees_all_equal_dtypes(*ends)
    chex.assert_trees_all_close(*ends, rtol=0.02, atol=0.01)
    assert np.any(ends[0][0].weight != ends[1][0].weight)
