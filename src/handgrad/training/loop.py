"""One epoch as one program: shuffle, step through the minibatches, validate."""

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

import handgrad
from handgrad.training.data import Part
from handgrad.training.objective import Objective, loss_arguments
from handgrad.training.optimizer import evaluation_params


class State(NamedTuple):
    """What training carries from step to step."""

    params: handgrad.Params
    opt_state: optax.OptState


class Batches(NamedTuple):
    """An epoch's minibatches, stacked: S steps of at most B samples."""

    rows: jax.Array  # (S, B), int32: which samples; 0 where padded
    present: jax.Array  # (S, B), float32: 1 for a sample, 0 for padding
    keys: jax.Array  # (S,), a PRNG key per step


class Metrics(NamedTuple):
    """An epoch in four scalars: losses in nats, and counts of samples.

    Training's are over the epoch's minibatches as they were met, with dropout;
    validation's are of the same objective after the epoch, without.
    """

    train_loss: jax.Array
    train_correct: jax.Array
    validation_loss: jax.Array
    validation_correct: jax.Array


Epoch = Callable[[State, jax.Array, jax.Array, Part, Part], tuple[State, Metrics]]


def make_epoch(
    objective: Objective,
    optimizer: optax.GradientTransformationExtraArgs,
    batch_size: int,
) -> Epoch:
    """The function of one epoch, to be jitted once with its state donated.

    Args:
      objective: what the steps minimise.
      optimizer: what updates the parameters.
      batch_size: B, the samples per step.

    Returns:
      (state, key, epoch, train, validation) -> (state, metrics), where ``key`` is that
      of the whole run and ``epoch`` an integer that is folded into it.
    """

    def epoch(
        state: State,
        key: jax.Array,
        number: jax.Array,
        train: Part,
        validation: Part,
    ) -> tuple[State, Metrics]:
        batches = shuffled_batches(key, number, len(train.y), batch_size)

        def step(state: State, batch: Batches) -> tuple[State, tuple[jax.Array, ...]]:
            x, y = train.x[batch.rows], train.y[batch.rows]
            return _step(objective, optimizer, state, x, y, batch)

        state, (losses, weights, correct) = jax.lax.scan(step, state, batches)
        params = evaluation_params(state.opt_state, state.params)
        return state, Metrics(
            jnp.sum(losses) / jnp.sum(weights),
            jnp.sum(correct),
            *evaluate(objective, params, validation),
        )

    return epoch


def shuffled_batches(
    key: jax.Array, epoch: jax.Array | int, samples: int, batch_size: int
) -> Batches:
    """Every sample once, in random order, in minibatches of one size.

    The last minibatch is padded with sample 0 at weight 0, so that nothing is dropped
    and nothing is counted twice.

    Args:
      key: the run's; ``epoch`` is folded in.
      epoch: its number.
      samples: m.
      batch_size: B, cut to m if larger.

    Returns:
      ceil(m / B) minibatches.
    """
    shuffle_key, step_key = jax.random.split(jax.random.fold_in(key, epoch))
    batch_size = min(batch_size, samples)
    steps = -(-samples // batch_size)
    padding = (0, steps * batch_size - samples)
    rows = jnp.pad(jax.random.permutation(shuffle_key, samples), padding)
    present = jnp.pad(jnp.ones(samples, jnp.float32), padding)
    shape = (steps, batch_size)
    return Batches(
        rows.reshape(shape), present.reshape(shape), jax.random.split(step_key, steps)
    )


def evaluate(
    objective: Objective, params: handgrad.Params, part: Part
) -> tuple[jax.Array, jax.Array]:
    """The objective without dropout, and the hits, over a whole part.

    Args:
      objective: of training.
      params: the network.
      part: features (m, n_0) and labels (m,).

    Returns:
      The loss in nats and the number of samples classified right, scalars.
    """
    loss = handgrad.loss(params, part.x, **loss_arguments(objective, params, part.y))
    logits = handgrad.forward(params, part.x, activation=objective.activation).logits
    return loss, jnp.sum(jnp.argmax(logits, axis=1) == part.y)


def _step(
    objective: Objective,
    optimizer: optax.GradientTransformationExtraArgs,
    state: State,
    x: jax.Array,
    y: jax.Array,
    batch: Batches,
) -> tuple[State, tuple[jax.Array, jax.Array, jax.Array]]:
    """One update; and the step's sum_i w_i l_i, sum_i w_i and count of hits."""
    params, opt_state = state
    arguments = loss_arguments(
        objective, params, y, present=batch.present, key=batch.keys
    )

    (value, trace), grads = handgrad.value_and_grad(
        params, x, **arguments, has_aux=True
    )

    # L-BFGS differentiates the objective itself, and hands it an obj_fn as well.
    def value_fn(params: handgrad.Params, obj_fn: object = None) -> jax.Array:
        del obj_fn
        return handgrad.loss_by_hand(params, x, **arguments)

    updates, opt_state = optimizer.update(
        grads,
        opt_state,
        params,
        value=value,
        grad=grads,
        value_fn=value_fn,
        obj_fn=value_fn,
    )
    weight = jnp.sum(arguments["weights"])
    correct = jnp.sum((batch.present > 0) & (jnp.argmax(trace.logits, axis=1) == y))
    params = cast(handgrad.Params, optax.apply_updates(params, updates))
    return State(params, opt_state), (value * weight, weight, correct)
