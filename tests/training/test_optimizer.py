"""Every optimiser and schedule of Optax by name, or a plain reason why not."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import handgrad
from handgrad.training import TrainingError
from handgrad.training.optimizer import (
    evaluation_params,
    initial_state,
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
KEY = jax.random.key(7)
PARAMS = handgrad.init(jax.random.key(0), (4, 3))
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

    carry = (PARAMS, initial_state(optimizer, PARAMS))
    (params, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, length=3))(carry)
    return params


@pytest.mark.parametrize("name", sorted(optimizer_names().keys() - REFUSED.keys()))
def test_every_optimizer_takes_steps(name: str) -> None:
    params = three_steps(make_optimizer(Optimizer(name, 0.1), 3, KEY))
    chex.assert_tree_all_finite(params)
    chex.assert_trees_all_equal_shapes_and_dtypes(params, PARAMS)
    assert np.any(params[0].weight != PARAMS[0].weight)


@pytest.mark.parametrize("name", REFUSED)
def test_the_others_say_why_not(name: str) -> None:
    with pytest.raises(TrainingError) as refused:
        make_optimizer(Optimizer(name, 0.1), 3, KEY)
    assert REFUSED[name] in str(refused.value)


def test_the_names_are_those_of_optax() -> None:
    names = optimizer_names()
    assert {"adam", "sgd", "lbfgs", "polyak_sgd", "muon", "prodigy"} <= names.keys()
    assert names["adam"] is optax.adam
    assert not any(name.startswith("scale_by") for name in names)


def test_arguments_reach_the_optimizer() -> None:
    optimizer = make_optimizer(Optimizer("sgd", 0.1, {"momentum": 0.9}), 3, KEY)
    expected = optax.sgd(0.1, momentum=0.9)
    chex.assert_trees_all_equal(
        optimizer.init(PARAMS), jax.tree.map(jnp.asarray, expected.init(PARAMS))
    )


def test_the_seed_drives_the_noise() -> None:
    first, again, other = (
        three_steps(
            make_optimizer(Optimizer("noisy_sgd", 0.1), 3, jax.random.key(seed))
        )
        for seed in (0, 0, 1)
    )
    chex.assert_trees_all_equal(first, again)
    assert np.any(first[0].weight != other[0].weight)


def test_the_state_shares_no_buffer_with_the_parameters() -> None:
    # Prodigy keeps the initial parameters; both are donated by the training loop.
    optimizer = make_optimizer(Optimizer("prodigy", 1.0), 3, KEY)
    state = initial_state(optimizer, PARAMS)
    buffers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state)]
    for leaf in jax.tree.leaves(PARAMS):
        assert leaf.unsafe_buffer_pointer() not in buffers


def test_schedule_free_is_evaluated_at_its_average() -> None:
    optimizer = make_optimizer(Optimizer("schedule_free_sgd", 0.1), 3, KEY)
    state = optimizer.init(PARAMS)
    moved = jax.tree.map(lambda leaf: leaf + 1, PARAMS)
    expected = optax.contrib.schedule_free_eval_params(state, moved)
    chex.assert_trees_all_equal(evaluation_params(state, moved), expected)
    assert np.any(expected[0].weight != moved[0].weight)


def test_other_optimizers_are_evaluated_where_they_train() -> None:
    state = make_optimizer(Optimizer("adam", 0.1), 3, KEY).init(PARAMS)
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
            Optimizer("adam", 1.0, {"mu_dtype": "float31"}),
            "`optimizer.arguments` do not suit adam: ",
        ),
    ],
)
def test_what_optax_does_not_know_is_refused(
    optimizer: Optimizer, message: str
) -> None:
    with pytest.raises(TrainingError) as refused:
        make_optimizer(optimizer, 3, KEY)
    assert message in str(refused.value)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(TrainingError, match="Did you mean 'adamw'"):
        make_optimizer(Optimizer("adamW", 1.0), 3, KEY)


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


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_learning_rate_is_the_peak_of_every_schedule(name: str) -> None:
    schedule = make_schedule(Schedule(name, SCHEDULES[name]), peak=0.3, steps=100)
    values = [
        np.asarray(schedule(i) if callable(schedule) else schedule) for i in range(101)
    ]
    assert max(values) == pytest.approx(0.3, rel=1e-6)


def test_a_decay_lasts_the_whole_run() -> None:
    schedule = make_schedule(Schedule("cosine_decay_schedule"), peak=0.3, steps=100)
    assert callable(schedule)
    assert [np.asarray(schedule(i)) for i in (0, 50, 100)] == pytest.approx(
        [0.3, 0.15, 0]
    )


def test_a_warm_up_starts_at_0() -> None:
    settings = Schedule("warmup_cosine_decay_schedule", {"warmup_steps": 10})
    schedule = make_schedule(settings, peak=0.3, steps=100)
    assert callable(schedule)
    assert [np.asarray(schedule(i)) for i in (0, 5, 10)] == pytest.approx(
        [0, 0.15, 0.3]
    )


def test_given_arguments_come_before_the_defaults() -> None:
    settings = Schedule("cosine_decay_schedule", {"decay_steps": 10})
    schedule = make_schedule(settings, peak=0.3, steps=100)
    assert callable(schedule)
    assert [np.asarray(schedule(i)) for i in (0, 10)] == pytest.approx([0.3, 0])


def test_a_constant_schedule_is_a_number() -> None:
    assert make_schedule(Schedule(), peak=0.3, steps=100) == 0.3
