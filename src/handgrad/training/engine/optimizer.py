"""Optimisers and schedules of Optax, by name and with arguments by name.

What turns gradients into updates is a chain: clip the gradient, then the optimiser, its
learning rate injected into its state, of the objective and, where it decays no weights
itself, an L2 penalty; and around them the accumulation over minibatches.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from handgrad.network import Layer, Params
from handgrad.training.engine.named import call, lookup
from handgrad.training.engine.numbers import known, off
from handgrad.training.engine.order import Draw
from handgrad.training.engine.penalty import with_penalty
from handgrad.training.errors import TrainingError
from handgrad.training.settings import Optimizer, Schedule

_RATES = ("learning_rate", "max_learning_rate")
_PEAKS = ("peak_value", "init_value", "value")
_LENGTHS = ("decay_steps", "transition_steps")
_DECAY_MASKS = ("weight_decay_mask", "mask")


@cache
def optimizer_names() -> dict[str, Callable[..., Any]]:
    """Every public function of optax and optax.contrib that takes a learning rate, but
    those that take per-sample gradients in the place of their mean (dpsgd)."""
    return {
        name: function
        for module in (optax.contrib, optax)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith(("_", "scale_by_", "dpsgd"))
        and any(rate in inspect.signature(function).parameters for rate in _RATES)
    }


@cache
def schedule_names() -> dict[str, Callable[..., Any]]:
    """Every public function of optax.schedules that makes a schedule from numbers."""
    return {
        name: function
        for name, function in inspect.getmembers(optax.schedules, inspect.isfunction)
        if not name.startswith(("_", "inject_", "join_"))
    }


def make_schedule(
    settings: Schedule, peak: float | jax.Array, steps: int
) -> optax.ScalarOrSchedule:
    """The learning rate over a run.

    Args:
      settings: the table [optimizer.schedule]. With ``warmup_steps`` the rate rises
        linearly from 0 to the first of the schedule, which has the rest of the steps.
      peak: the learning rate. It becomes `peak_value`, beside which `init_value`
        defaults to 0; without a `peak_value`, it becomes `init_value` or `value`.
      steps: updates of the whole schedule; without the warm-up, the default of
        `decay_steps` or `transition_steps`.

    Returns:
      ``peak`` itself if it is constant, otherwise step -> learning rate.

    Raises:
      TrainingError: for an unknown name or argument, or a missing argument.
    """
    key, warmup = "optimizer.schedule", settings.warmup_steps
    if known(warmup) and 0 < warmup >= steps:
        raise TrainingError(
            f"`{key}.warmup_steps` must be below the {steps} updates of the schedule, "
            f"got {warmup}. Warm up for less, or train for more epochs."
        )
    function = lookup(settings.name, schedule_names(), f"{key}.name")
    if settings.name == "constant_schedule" and not settings.arguments:
        schedule: Any = peak
    else:
        taken = inspect.signature(function).parameters
        peak_name = next((name for name in _PEAKS if name in taken), None)
        lengths = [name for name in _LENGTHS if name in taken]
        defaults: dict[str, Any] = dict.fromkeys(lengths, steps - warmup)
        if peak_name == "peak_value" and "init_value" in taken:
            defaults["init_value"] = 0.0
        peaks = {peak_name: peak} if peak_name else {}
        schedule = call(function, peaks, defaults, settings.arguments, key)
    if off(warmup):
        return schedule
    return lambda step: _warmed_up(schedule, warmup, step)


def make_optimizer(
    settings: Optimizer, steps: int, seed: int | jax.Array
) -> optax.GradientTransformationExtraArgs:
    """What the settings make of gradients.

    Args:
      settings: the table [optimizer]; its numbers may be traced, as far as Optax asks
        nothing of their values.
      steps: minibatches of the whole schedule.
      seed: of the run, for optimisers that draw noise.

    Returns:
      The optimiser; `update` takes value=, grad=, value_fn= and obj_fn= besides, for
      those that look at the objective.

    Raises:
      TrainingError: for an unknown name or argument, a missing argument, or a weight
        decay that would reach the biases.
    """
    function = lookup(settings.name, optimizer_names(), "optimizer.name")
    taken = inspect.signature(function).parameters
    updates = max(1, steps // settings.accumulate)
    rate = make_schedule(settings.schedule, settings.learning_rate, updates)
    rates = {name: rate for name in _RATES if name in taken}
    defaults, penalty = _decay(settings, taken)
    if "key" in taken:
        defaults["key"] = jax.random.fold_in(jax.random.key(seed), Draw.NOISE)
    inject = optax.inject_hyperparams(function, static_args=[*taken.keys() - rates])
    optimizer = call(function, rates, defaults, settings.arguments, "optimizer", inject)
    if not off(penalty):
        optimizer = with_penalty(penalty, optimizer)
    clip = _clip(settings.clip_norm)
    chained = optimizer if off(settings.clip_norm) else optax.chain(clip, optimizer)
    if settings.accumulate > 1:
        chained = optax.MultiSteps(
            chained, settings.accumulate
        ).gradient_transformation()
    return optax.with_extra_args_support(chained)


def learning_rate(opt_state: optax.OptState) -> jax.Array:
    """The rate of the last update, from the state of an optimiser made here."""
    return next(
        state.hyperparams[name]
        for state in _states(opt_state, "hyperparams")
        for name in _RATES
        if name in state.hyperparams
    )


def evaluation_params(opt_state: optax.OptState, params: Params) -> Params:
    """The parameters to predict with: those being trained, except under schedule-free
    optimisers, which evaluate at an average kept in their state."""
    for state in _states(opt_state, "z"):
        if isinstance(state, optax.contrib.ScheduleFreeState):
            return optax.contrib.schedule_free_eval_params(state, params)
    return params


def weights_alone(params: Params) -> Params:
    """True for a weight and False for a bias, in the structure of the parameters."""
    return tuple(Layer(True, False) for _ in params)  # pyright: ignore[reportArgumentType]


def _states(tree: Any, attribute: str) -> list[Any]:
    """The parts of an optimiser's state that have the attribute."""

    def found(node: Any) -> bool:
        return hasattr(node, attribute)

    return [node for node in jax.tree.leaves(tree, is_leaf=found) if found(node)]


def _warmed_up(schedule: Any, warmup: int, step: Any) -> jax.Array:
    rate: Any = schedule if callable(schedule) else lambda _: schedule
    first, after = rate(0), rate(step - warmup)
    return jnp.where(step < warmup, first * (step + 1) / (warmup + 1), after)


def _decay(
    settings: Optimizer, taken: Mapping[str, inspect.Parameter]
) -> tuple[dict[str, Any], Any]:
    """Arguments for an optimiser that decays weights itself; else the factor of the L2
    penalty that it gets to see."""
    decay = settings.weight_decay
    if not off(decay) and "weight_decay" in settings.arguments:
        raise TrainingError(
            "`optimizer.arguments.weight_decay` must be left out beside "
            "`optimizer.weight_decay`, which spares the biases."
        )
    mask = next((name for name in _DECAY_MASKS if name in taken), None)
    if "weight_decay" in taken and mask:
        return {mask: weights_alone, "weight_decay": decay}, 0.0
    if "weight_decay" in taken and not off(decay):
        raise TrainingError(
            f"`optimizer.weight_decay` must be 0 for {settings.name}, which cannot "
            f"leave biases out, got {decay}. Use another optimiser, or "
            "`optimizer.arguments.weight_decay`, which decays biases too."
        )
    return {}, decay


def _clip(norm: Any) -> optax.GradientTransformation:
    """By the global norm; a traced norm of 0 clips nothing, as one that is known."""
    clip = optax.clip_by_global_norm(norm)
    if known(norm):
        return clip

    def update(grads: Any, params: Any) -> Any:
        clipped, _ = clip.update(grads, optax.EmptyState(), params)
        return jax.tree.map(lambda c, g: jnp.where(norm > 0, c, g), clipped, grads)

    return optax.stateless(update)
