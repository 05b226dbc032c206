"""The compiled programs of an estimator: one set for each network and shapes, whatever
the hyperparameters are, kept for the next `fit`."""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import handgrad
from handgrad.training.data import Scaling
from handgrad.training.engine.objective import make_objective
from handgrad.training.engine.optimizer import make_optimizer
from handgrad.training.engine.order import Draw, shuffled, steps_of
from handgrad.training.engine.penalty import penalty, with_penalty
from handgrad.training.engine.prepare import Run
from handgrad.training.engine.programs import QUICKLY, Programs, scores
from handgrad.training.engine.step import Epoch, State, Step, first_state, make_chunk
from handgrad.training.estimator.network import Network, Numbers, settings_of

KEPT = 64
"""Networks and shapes whose programs are kept; the one used longest ago goes first."""


class _Shapes(NamedTuple):
    """Of the arguments of the programs, hashable."""

    tree: Any
    leaves: tuple[tuple[tuple[int, ...], Any], ...]


class _Order(NamedTuple):
    """What decides which samples make which minibatch."""

    shuffle: bool
    samples: int
    batch_size: int
    key: Any  # the dtype of the run's
    wide: bool  # whether JAX has 64 bits

    def rows(self, key: jax.Array, epoch: jax.Array) -> tuple[jax.Array, jax.Array]:
        """`shuffled`, or as they come."""
        make = shuffled if self.shuffle else _as_they_come
        return make(key, epoch, self.samples, self.batch_size)


class _Compiled(NamedTuple):
    """With the numbers as first arguments, where they have a part in it."""

    chunk: Any
    order: Any
    score: Any


def programs_of(network: Network, numbers: Numbers, run: Run, state: State) -> Programs:
    """Compiled programs for `fit`, from an earlier call where there was one.

    Args:
      network, numbers: of the estimator.
      run: gives the data, on the device.
      state: of `begin`.

    Returns:
      The programs, with the numbers as their first arguments.
    """
    arguments = (numbers, run.key, state, run.train, run.seen, run.validation)
    leaves, tree = jax.tree.flatten(arguments)
    shapes = _Shapes(tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves))
    made = _compiled(network, shapes, run.samples, run.batch_size)
    return Programs(
        run.begin,
        partial(made.chunk, numbers),
        made.order,
        partial(made.score, numbers),
        _unused,
    )


def begin(
    network: Network,
    numbers: Numbers,
    steps: int,
    key: jax.Array,
    params: handgrad.Params | None = None,
) -> State:
    """The state before the first step.

    Args:
      network, numbers: of the estimator.
      steps: S, of an epoch, for schedules that have a length.
      key: of the run.
      params: to go on from; drawn anew from the key unless given.

    Returns:
      A state whose arrays nobody else holds.
    """
    params = jax.tree.map(lambda leaf: jax.device_put(np.array(leaf)), params)
    return _begin(network, steps if network.epochs else 0)(numbers, key, params)


def penalty_of(numbers: Numbers, params: handgrad.Params) -> float:
    """What alpha adds to the objective."""
    return float(_penalty(numbers["alpha"], params)) if "alpha" in numbers else 0.0


@lru_cache(maxsize=KEPT)
def _begin(network: Network, steps: int) -> Any:
    def state(
        numbers: Numbers, key: jax.Array, params: handgrad.Params | None
    ) -> State:
        if params is None:
            params = handgrad.init(
                jax.random.fold_in(key, Draw.PARAMS),
                network.sizes,
                activation=network.activation,
                dtype=network.param_dtype,
            )
        return first_state(_step(network, numbers, steps), params)

    return jax.jit(state, compiler_options=QUICKLY)


_penalty = jax.jit(penalty)


@lru_cache(maxsize=KEPT)
def _compiled(
    network: Network, shapes: _Shapes, samples: int, batch_size: int
) -> _Compiled:
    """Compiled side by side, for arguments of these shapes."""
    leaves = [jax.ShapeDtypeStruct(*leaf) for leaf in shapes.leaves]
    numbers, key, state, train, seen, validation = jax.tree.unflatten(
        shapes.tree, leaves
    )
    steps = steps_of(samples, batch_size) if network.epochs else 0

    def chunk(numbers: Numbers, state: State, *rest: Any) -> State:
        return make_chunk(_step(network, numbers, steps))(state, *rest)

    def score(numbers: Numbers, state: State, *parts: Any) -> Any:
        return scores(_step(network, numbers, steps), state, *parts)

    one = np.int32(1)
    wide = network.dtype == "float64"
    order = _Order(network.shuffle, samples, batch_size, key.dtype, wide)
    rows: tuple[Any, ...] = (*train, *jax.eval_shape(order.rows, key, one), one)
    lowered = (
        jax.jit(chunk, donate_argnums=1).lower(numbers, state, key, Epoch(*rows), one),
        jax.jit(score).lower(numbers, state, seen, validation),
    )
    with ThreadPoolExecutor() as pool:
        rows_of = pool.submit(_compiled_order, order)
        steps_of_chunk, scored = pool.map(lambda each: each.compile(), lowered)
        return _Compiled(steps_of_chunk, rows_of.result(), scored)


@lru_cache(maxsize=KEPT)
def _compiled_order(order: _Order) -> Any:
    """Of one network as of another."""
    with jax.enable_x64(order.wide):
        key = jax.ShapeDtypeStruct((), order.key)
        return jax.jit(order.rows).lower(key, np.int32(1)).compile()


def _step(network: Network, numbers: Numbers, steps: int) -> Step:
    """What a step is made of, from numbers that are traced."""
    settings = settings_of(network, numbers)
    length = max(1, steps * network.epochs)
    optimizer = make_optimizer(settings.optimizer, length, numbers["seed"])
    if network.decay == "around" and "alpha" in numbers:
        optimizer = with_penalty(numbers["alpha"], optimizer)
    objective = make_objective(
        settings.model,
        settings.training,
        settings.optimizer,
        np.ones(network.sizes[-1]),
    )
    dtype = np.dtype(network.param_dtype).type
    scaling = Scaling(dtype(0), dtype(1))
    return Step(objective._replace(dtype=network.dtype), optimizer, scaling, 0.0)


def _unused(*_: Any) -> Any:
    """No part of an estimator stays on the disk."""
    raise AssertionError


def _as_they_come(
    key: jax.Array, epoch: jax.Array, samples: int, batch_size: int
) -> tuple[jax.Array, jax.Array]:
    """`shuffled`, without."""
    del key, epoch
    steps = steps_of(samples, batch_size)
    rows = jnp.arange(steps * batch_size).reshape(steps, batch_size)
    return rows % samples, (rows < samples).astype(jnp.float32)
