"""Every optimiser and schedule of Optax by name, or a plain reason why not."""

from collections.abc import Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import handgrad
from handgrad.training import TrainingError
from handgrad.training.engine.optimizer import (
    evaluation_params,
    learning_rate,
    make_optimizer,
    make_schedule,
    optimizer_names,
    schedule_names,
)
from handgrad.training.settings import Optimizer, Schedule

REFUSED = {
    "schedule_free": "must hold base_optimizer for schedule_free",
    "optimistic_adam": "is deprecated",  # a warning of Optax, an error in these tests
}
SEED = 7
PARAMS = jax.jit(lambda key: handgrad.init(key, (4, 3)))(jax.random.key(0))
X = jax.random.normal(jax.random.key(1), (8, 4))
Y = jnp.arange(8) % 3


def objective(params: handgrad.Params) -> tuple[jax.Array, handgrad.Params]:
    return handgrad.value_and_grad(params, X, Y)


def three_steps(optimizer: optax.GradientTransformationExtraArgs) -> handgrad.Params:
    """As the training loop takes them: scanned, with everything Optax may ask for."""

    def value_fn(params: handgrad.Params, obj_fn: object = None) -> jax.Array:
        del obj_fn
        return handgrad.loss_by_hand(params, X, Y)

    def step(carry: Any, _: None) -> tuple[Any, jax.Array]:
        params, state = carry
        value, grads = objective(params)
        updates, state = optimizer.update(
            *(grads, state, params),
            value=value,
            grad=grads,
            value_fn=value_fn,
            obj_fn=value_fn,
        )
        return (optax.apply_updates(params, updates), state), value

    carry = (PARAMS, optimizer.init(PARAMS))
    (params, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, length=3))(carry)
    return params


@pytest.mark.parametrize("name", sorted(optimizer_names().keys() - REFUSED.keys()))
def test_every_optimizer_takes_steps(name: str) -> None:
    params = three_steps(make_optimizer(Optimizer(name, 0.1), 3, SEED))
    chex.assert_tree_all_finite(params)
    chex.assert_trees_all_equal_shapes_and_dtypes(params, PARAMS)
    assert np.any(params[0].weight != PARAMS[0].weight)


@pytest.mark.parametrize("name", REFUSED)
def test_the_others_say_why_not(name: str) -> None:
    with pytest.raises(TrainingError) as refused:
        make_optimizer(Optimizer(name, 0.1), 3, SEED)
    assert REFUSED[name] in str(refused.value)


def test_the_names_are_those_of_optax() -> None:
    names = optimizer_names()
    assert {"adam", "sgd", "lbfgs", "polyak_sgd", "muon", "prodigy"} <= names.keys()
    assert names["adam"] is optax.adam
    assert not any(name.startswith("scale_by") for name in names)


def test_arguments_reach_the_optimizer() -> None:
    given = three_steps(
        make_optimizer(Optimizer("sgd", 0.1, {"momentum": 0.9}), 3, SEED)
    )
    expected = three_steps(optax.with_extra_args_support(optax.sgd(0.1, momentum=0.9)))
    chex.assert_trees_all_close(given, expected, rtol=1e-6)


def test_the_seed_drives_the_noise() -> None:
    first, again, other = (
        three_steps(make_optimizer(Optimizer("noisy_sgd", 0.1), 3, seed))
        for seed in (0, 0, 1)
    )
    chex.assert_trees_all_equal(first, again)
    assert np.any(first[0].weight != other[0].weight)


def moved_by(settings: Optimizer, grads: handgrad.Params) -> Any:
    """The first update."""
    optimizer = make_optimizer(settings, 3, SEED)
    return optimizer.update(grads, optimizer.init(PARAMS), PARAMS)[0]


@pytest.mark.parametrize("name", ["sgd", "adamw", "lion", "muon", "lars", "adadelta"])
def test_weights_decay_and_biases_do_not(name: str) -> None:
    """With a gradient of zeros, what moves is what decays; at 0, nothing but by the
    optimiser's own default, which spares the biases as well."""
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    params = jax.tree.map(jnp.ones_like, PARAMS)
    ends = []
    for decay in (0.0, 0.5):
        optimizer = make_optimizer(Optimizer(name, 0.1, weight_decay=decay), 3, SEED)
        update: Any = optimizer.update(zeros, optimizer.init(params), params)[0]
        assert not np.any(update[0].bias), "biases decay"
        ends.append(update[0].weight)
    assert np.all(ends[1] < ends[0])


def test_a_decay_that_would_reach_the_biases_is_refused() -> None:
    with pytest.raises(
        TrainingError, match="`optimizer.weight_decay` must be 0 for pro"
    ):
        make_optimizer(Optimizer("prodigy", 1.0, weight_decay=0.1), 3, SEED)
    twice = Optimizer("adamw", 1.0, {"weight_decay": 0.1}, weight_decay=0.1)
    with pytest.raises(TrainingError, match="`optimizer.arguments.weight_decay` must"):
        make_optimizer(twice, 3, SEED)


def test_a_step_is_no_longer_than_its_bound() -> None:
    grads = jax.tree.map(lambda leaf: jnp.full_like(leaf, 3.0), PARAMS)
    update = moved_by(Optimizer("sgd", 1.0, clip_norm=2.0), grads)
    assert float(optax.tree.norm(update)) == pytest.approx(2.0, rel=1e-6)
    update = moved_by(Optimizer("sgd", 1.0), grads)
    assert float(optax.tree.norm(update)) == pytest.approx(3 * 15**0.5, rel=1e-6)


def test_gradients_of_several_minibatches_make_one_update() -> None:
    optimizer = make_optimizer(Optimizer("sgd", 1.0, accumulate=3), 9, SEED)
    state = optimizer.init(PARAMS)
    for k in range(1, 4):
        grads = jax.tree.map(lambda leaf, k=k: jnp.full_like(leaf, k), PARAMS)
        update, state = optimizer.update(grads, state, PARAMS)
        expected = -2.0 if k == 3 else 0.0
        chex.assert_trees_all_close(
            update,
            jax.tree.map(lambda leaf: jnp.full_like(leaf, expected), PARAMS),  # noqa: B023
        )


def test_the_schedule_counts_updates_not_minibatches() -> None:
    schedule = Schedule("linear_schedule", {"end_value": 0.0})
    settings = Optimizer("sgd", 1.0, schedule=schedule, accumulate=3)
    optimizer = make_optimizer(settings, 12, SEED)
    state, rates = optimizer.init(PARAMS), []
    update: Any = jax.jit(optimizer.update)
    for _ in range(12):
        _, state = update(PARAMS, state, PARAMS)
        rates.append(float(learning_rate(state)))
    assert rates[2::3] == pytest.approx([1.0, 0.75, 0.5, 0.25])


@pytest.mark.parametrize("name", sorted(optimizer_names().keys() - REFUSED.keys()))
def test_the_learning_rate_is_in_every_state(name: str) -> None:
    optimizer = make_optimizer(Optimizer(name, 0.125), 3, SEED)
    assert float(learning_rate(optimizer.init(PARAMS))) == 0.125


def test_the_rate_rises_before_the_schedule_begins() -> None:
    schedule = make_schedule(
        Schedule("linear_schedule", {"end_value": 0.0}, warmup_steps=3), 0.8, 11
    )
    assert of_steps(schedule, range(12)) == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0], abs=1e-6
    )
    constant = make_schedule(Schedule(warmup_steps=1), 0.8, 5)
    assert of_steps(constant, range(3)) == pytest.approx([0.4, 0.8, 0.8])


def test_a_warm_up_as_long_as_the_schedule_is_refused() -> None:
    with pytest.raises(
        TrainingError, match=r"`optimizer.schedule.warmup_steps` must be"
    ):
        make_schedule(Schedule(warmup_steps=5), 0.8, 5)


def test_schedule_free_is_evaluated_at_its_average() -> None:
    optimizer = make_optimizer(Optimizer("schedule_free_sgd", 0.1), 3, SEED)
    state = optimizer.init(PARAMS)
    inner = state.inner_state  # pyright: ignore[reportAttributeAccessIssue]
    moved = jax.tree.map(lambda leaf: leaf + 1, PARAMS)
    expected = optax.contrib.schedule_free_eval_params(inner, moved)
    chex.assert_trees_all_equal(evaluation_params(state, moved), expected)
    assert np.any(expected[0].weight != moved[0].weight)


def test_other_optimizers_are_evaluated_where_they_train() -> None:
    state = make_optimizer(Optimizer("adam", 0.1), 3, SEED).init(PARAMS)
    assert evaluation_params(state, PARAMS) is PARAMS


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (
            Optimizer("adm", 1.0),
            "`optimizer.name` must be a function of Optax, got 'ad",
        ),
        (Optimizer("scale_by_adam", 1.0), "got 'scale_by_adam'."),
        (
            Optimizer("adam", 1.0, {"beta1": 0.9}),
            "`optimizer.arguments.beta1` is not an argument of adam. ",
        ),
        (
            Optimizer("adam", 1.0, schedule=Schedule("cosine")),
            "`optimizer.schedule.name` must be a function of Optax, got 'cosine'.",
        ),
        (
            Optimizer("adam", 1.0, schedule=Schedule("linear_schedule")),
            "`optimizer.schedule.arguments` must hold end_value for linear_schedule, "
            "got transition_steps, init_value.",
        ),
        (Optimizer("dpsgd", 1.0), "`optimizer.name` must be a function of Optax, got"),
        (
            Optimizer("adam", 1.0, {"learning_rate": 2.0}),
            "`optimizer.arguments.learning_rate` must be left out: `optimizer."
            "learning_rate` sets it. Got 2.0.",
        ),
        (
            Optimizer("adam", 1.0, {}, Schedule("linear_schedule", {"init_value": 2})),
            "`optimizer.schedule.arguments.init_value` must be left out: `optim",
        ),
        (
            Optimizer("sgd", 1.0, {"nesterov": "maybe"}),
            "`optimizer.arguments.nesterov` must be true or false, got 'maybe'.",
        ),
        (
            Optimizer("sgd", 1.0, {"nesterov": 1}),
            "`optimizer.arguments.nesterov` must be true or false, got 1.",
        ),
        (
            Optimizer("adam", 1.0, {"b1": "high"}),
            "`optimizer.arguments.b1` must be a number, got 'high'.",
        ),
        (
            Optimizer("adam", 1.0, {"b1": True}),
            "`optimizer.arguments.b1` must be a number, got True.",
        ),
        (
            Optimizer("adam", 1.0, {"mu_dtype": "float31"}),
            "`optimizer.arguments` do not suit adam: ",
        ),
    ],
)
def test_what_optax_does_not_know_is_refused(
    optimizer: Optimizer, message: str
) -> None:
    with pytest.raises(TrainingError) as refused:
        make_optimizer(optimizer, 3, SEED)
    assert message in str(refused.value)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(TrainingError, match="Did you mean 'adamw'"):
        make_optimizer(Optimizer("adamW", 1.0), 3, SEED)


SCHEDULES: dict[str, dict[str, Any]] = {
    "constant_schedule": {},
    "cosine_decay_schedule": {},
    "cosine_onecycle_schedule": {},
    "exponential_decay": {"decay_rate": 0.1},
    "linear_onecycle_schedule": {},
    "linear_schedule": {"end_value": 0.0},
    "piecewise_constant_schedule": {"boundaries_and_scales": {"50": 0.1}},
    "piecewise_interpolate_schedule": {
        "interpolate_type": "linear",
        "boundaries_and_scales": {"50": 0.1},
    },
    "polynomial_schedule": {"end_value": 0.0, "power": 2},
    "sgdr_schedule": {
        "cosine_kwargs": [
            {"init_value": 0.0, "peak_value": 0.3, "decay_steps": 50, "warmup_steps": 9}
        ]
    },
    "warmup_constant_schedule": {"warmup_steps": 10},
    "warmup_cosine_decay_schedule": {"warmup_steps": 10},
    "warmup_exponential_decay_schedule": {"warmup_steps": 10, "decay_rate": 0.1},
}


def test_every_schedule_of_optax_is_in_the_table() -> None:
    assert SCHEDULES.keys() == schedule_names().keys()


def of_steps(schedule: Any, steps: Sequence[int]) -> np.ndarray:
    """The learning rate at each step, by one program."""
    rate = schedule if callable(schedule) else lambda _: jnp.asarray(schedule)
    return np.asarray(jax.jit(jax.vmap(rate))(np.asarray(steps)))


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_learning_rate_is_the_peak_of_every_schedule(name: str) -> None:
    schedule = make_schedule(Schedule(name, SCHEDULES[name]), peak=0.3, steps=100)
    assert np.max(of_steps(schedule, range(101))) == pytest.approx(0.3, rel=1e-6)


def test_a_decay_lasts_the_whole_run() -> None:
    schedule = make_schedule(Schedule("cosine_decay_schedule"), peak=0.3, steps=100)
    assert of_steps(schedule, [0, 50, 100]) == pytest.approx([0.3, 0.15, 0])


def test_a_warm_up_starts_at_0() -> None:
    settings = Schedule("warmup_cosine_decay_schedule", {"warmup_steps": 10})
    schedule = make_schedule(settings, peak=0.3, steps=100)
    assert of_steps(schedule, [0, 5, 10]) == pytest.approx([0, 0.15, 0.3])


def test_given_arguments_come_before_the_defaults() -> None:
    settings = Schedule("cosine_decay_schedule", {"decay_steps": 10})
    schedule = make_schedule(settings, peak=0.3, steps=100)
    assert of_steps(schedule, [0, 10]) == pytest.approx([0.3, 0])


def test_a_constant_schedule_is_a_number() -> None:
    assert make_schedule(Schedule(), peak=0.3, steps=100) == 0.3
