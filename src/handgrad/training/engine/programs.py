"""The compiled programs of a run, and the proof that they can be made."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import handgrad
from handgrad.training.engine.evaluate import Samples, Score, evaluate
from handgrad.training.engine.optimizer import evaluation_params, learning_rate
from handgrad.training.engine.order import shuffled
from handgrad.training.engine.prepare import Run
from handgrad.training.engine.step import Block, Chunk, Epoch, State, Step, make_chunk
from handgrad.training.errors import TrainingError

QUICKLY = {"xla_backend_optimization_level": 0}
"""For a program that runs once, or once an epoch: XLA compiles it sooner."""


@dataclass(frozen=True)
class Compiling:
    """A program that is compiled in the background: its first call waits for it."""

    compiled: Future[Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.compiled.result()(*arguments)


class Programs(NamedTuple):
    """The compiled programs of a run."""

    begin: Callable[[jax.Array], State]
    chunk: Chunk
    order: Callable[[jax.Array, Any], tuple[jax.Array, jax.Array]]
    score: Callable[[State, Samples, Samples | None], Any]
    evaluate: Callable[[handgrad.Params, Samples], Score]  # of a block from the disk

    def close(self) -> None:
        """Leave what has not begun to compile: the end of the process waits for it."""
        for program in self:
            if isinstance(program, Compiling):
                program.compiled.cancel()


def compile_programs(run: Run) -> Programs:
    """Trace what a run needs, and compile it in the background, first what is wanted
    first. The chunks of a stream are compiled when the first has come."""
    begin, chunk, order, score, scored = _jitted(run)
    if not isinstance(run.train, Samples):
        return Programs(begin, chunk, order, score, scored)
    state, one = jax.eval_shape(begin, run.key), np.int32(1)
    shuffle = jax.eval_shape(order, run.key, one)
    epoch = Epoch(*run.train, *shuffle, first=one)
    pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1))  # one core is in use

    def later(program: Any, *arguments: Any) -> Compiling:
        return Compiling(pool.submit(program.lower(*arguments).compile))

    begin = later(begin, run.key)
    chunk = later(chunk, state, run.key, epoch, one)
    order = later(order, run.key, one)
    score = later(score, state, run.seen, run.validation)
    pool.shutdown(wait=False)
    return Programs(begin, chunk, order, score, scored)


def _jitted(run: Run) -> Any:
    """`Programs`, to be compiled."""
    step = run.step
    order = partial(shuffled, samples=run.samples, batch_size=run.batch_size)
    score = partial(evaluate, step.objective, step.scaling, layout=step.layout)
    lies = _shardings(run)
    return Programs(
        jax.jit(run.begin, compiler_options=QUICKLY, **lies.begin),
        jax.jit(make_chunk(step), donate_argnums=0, **lies.chunk),
        jax.jit(order, compiler_options=QUICKLY, **lies.order),
        jax.jit(partial(scores, step), **lies.score),
        jax.jit(score, **lies.evaluate),
    )


def _shardings(run: Run) -> Any:
    """What `jax.jit` is told of each program: on a mesh where its arguments and its
    results lie, else nothing. Scored parameters come whole: the host keeps the best."""
    layout = run.step.layout
    if layout is None:
        return Programs({}, {}, {}, {}, {})  # pyright: ignore[reportArgumentType]
    state, whole = layout.state, layout.whole
    block = Block(layout.blocks, whole, whole, whole)
    source = whole if isinstance(run.train, Samples) else block
    places = (
        (whole, state),
        ((state, whole, source, whole), state),
        (whole, whole),
        ((state, whole, whole), whole),
        ((whole, Samples(layout.rows, whole, whole)), whole),
    )
    return Programs(*({"in_shardings": i, "out_shardings": o} for i, o in places))  # pyright: ignore[reportArgumentType]


def start(run: Run) -> State:
    """The state before the first step, on one device."""
    return jax.jit(run.begin, compiler_options=QUICKLY)(run.key)


def prove(run: Run, name: str) -> None:
    """Evaluate the shapes of a step and compile nothing, so that what does not fit is
    known before anything is written.

    Args:
      run: of `prepare`.
      name: of the optimiser, for the message.

    Raises:
      TrainingError: for an optimiser that cannot begin, or take a step, with its
        arguments.
    """
    doing = "begin"
    try:
        state = jax.eval_shape(run.begin, run.key)
        doing = "take a step"
        one = jax.ShapeDtypeStruct((), jnp.int32)
        x, y, shape = run.seen.x, run.seen.y, (1, run.batch_size)
        block = Block(
            jax.ShapeDtypeStruct((*shape, x.shape[1]), x.dtype),
            jax.ShapeDtypeStruct(shape, y.dtype),
            jax.ShapeDtypeStruct(shape, jnp.float32),
            one,
        )
        jax.eval_shape(make_chunk(run.step), state, run.key, block, one)
    except Exception as error:
        raise TrainingError(
            f"`optimizer.name` {name} cannot {doing} with these arguments and this "
            f"schedule: {error}"
        ) from error


def scores(
    step: Step, state: State, seen: Samples, validation: Samples | None
) -> tuple[handgrad.Params, Score, Score | None, jax.Array]:
    """The parameters to predict with, how good they are, and the learning rate."""
    params = evaluation_params(state.opt_state, state.params)
    params = params if state.average is None else state.average
    score = partial(evaluate, step.objective, step.scaling, params, layout=step.layout)
    rate = learning_rate(state.opt_state)
    return params, score(seen), None if validation is None else score(validation), rate
