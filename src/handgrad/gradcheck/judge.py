"""The judge: autodiff of the loss in float64, and what autodiff loses without it.

float64 is switched on locally, for the calling thread and the time of the call; no
flag is left changed. On a platform without float64 the judge runs on the CPU.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.tolerance import PROBES
from handgrad.gradcheck.trees import (
    Split,
    Tree,
    dtype_of,
    is_array,
    map_floating,
    to_numpy,
)

Loss = Callable[..., Any]

_HAVE_FLOAT64 = ("cpu", "gpu", "cuda", "rocm")


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """64-bit types, and a device that has them, for a while.

    Types are promoted and products computed in JAX's standard ways meanwhile, whatever
    the caller set for his own.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(True))
        stack.enter_context(jax.numpy_dtype_promotion("standard"))
        stack.enter_context(jax.default_matmul_precision("highest"))
        if jax.default_backend() not in _HAVE_FLOAT64:
            stack.enter_context(jax.default_device(jax.devices("cpu")[0]))
        yield


def widen(tree: Tree) -> Tree:
    """Floating arrays as float64 (call it inside `float64`); the rest as it is."""
    return map_floating(lambda leaf: jnp.asarray(to_numpy(leaf)), tree)


def scalar(output: Any) -> jax.Array:
    """The loss itself: ``output``, or its first part where aux comes with it."""
    value = output[0] if isinstance(output, tuple) and output else output
    if np.shape(value) != () or not jnp.issubdtype(jnp.result_type(value), np.floating):
        raise TypeError(
            "`loss` must return a real scalar, or a pair (scalar, aux), got shape "
            f"{np.shape(value)} and dtype {jnp.result_type(value)}. Sum or average it."
        )
    return jnp.asarray(value)


@dataclass(frozen=True)
class Evaluated:
    """A loss and its gradient at one point.

    Attributes:
      value: J.
      gradient: dJ/dleaf of every floating leaf, float64 on the host.
      dtype: the dtype that the loss came out in.
    """

    value: float
    gradient: list[np.ndarray]
    dtype: np.dtype


def differentiate(
    loss: Loss, split: Split, values: Sequence[Any], args: Sequence[Any]
) -> Evaluated:
    """Autodiff of the loss with respect to the floating leaves, in their own dtype."""

    def objective(leaves: Sequence[Any]) -> jax.Array:
        return scalar(loss(split.merge(leaves), *args))

    value, gradient = jax.value_and_grad(objective)(list(values))
    return Evaluated(float(value), [to_numpy(g) for g in gradient], value.dtype)


def judge(
    loss: Loss, split: Split, values: Sequence[Any], args: Sequence[Any]
) -> Evaluated:
    """Autodiff of the loss in float64.

    Args:
      loss: params, args -> scalar.
      split: of the parameters.
      values: the floating leaves to differentiate at, of any dtype.
      args: the other arguments; floating arrays among them are cast to float64.
    """
    with float64():
        return differentiate(loss, split, widen(list(values)), widen(list(args)))


def probes(loss: Loss, split: Split, args: Sequence[Any]) -> list[Evaluated]:
    """Autodiff in the working dtype at `PROBES` points beside the point."""
    found = []
    for seed in range(PROBES):
        generator = np.random.default_rng(seed)
        values = [_nudge(leaf, generator) for leaf in split.values]
        moved = map_floating(lambda leaf, g=generator: _nudge(leaf, g), list(args))
        found.append(differentiate(loss, split, values, moved))
    return found


def noise_of_float64(
    loss: Loss, split: Split, args: Sequence[Any], truth: Evaluated
) -> Evaluated:
    """What autodiff loses in float64, where it cannot be compared with anything wider.

    At parameters moved by +delta and -delta, delta = 2^-26 relative, the gradient moves
    by equal and opposite amounts up to delta^2 = u, but its rounding errors are drawn
    anew. So g(+) + g(-) - 2 g is noise, of variance 1 + 1 + 4 times that of one g.
    """
    generator = np.random.default_rng(PROBES)
    exact = [to_numpy(leaf) for leaf in split.values]
    steps = [2.0**-26 * x * generator.standard_normal(x.shape) for x in exact]
    pairs = list(zip(exact, steps, strict=True))
    plus = judge(loss, split, [x + step for x, step in pairs], args)
    minus = judge(loss, split, [x - step for x, step in pairs], args)

    def noisy(up: Any, down: Any, here: Any) -> Any:
        return here + (up + down - 2 * here) / np.sqrt(6)

    gradient = list(map(noisy, plus.gradient, minus.gradient, truth.gradient))
    value = noisy(plus.value, minus.value, truth.value)
    return Evaluated(value, gradient, truth.dtype)


def _nudge(leaf: Any, generator: np.random.Generator) -> Any:
    """One entry in four moved by one unit in the last place, up or down.

    So an entry moves by half a unit, root mean square: what rounding may do to it.
    Whole numbers stay: they may be codes, masks or labels, and are exact anyway.
    """
    exact = to_numpy(leaf)
    steps = generator.choice((-1, 1, 0, 0, 0, 0, 0, 0), exact.shape)
    unit = 0.6 * float(jnp.finfo(dtype_of(leaf)).eps)  # rounds to one unit everywhere
    moved = np.where(exact == np.round(exact), exact, exact * (1 + steps * unit))
    return like(moved, leaf)


def like(exact: np.ndarray, leaf: Any) -> Any:
    """``exact`` in the dtype, and on the device, of ``leaf``."""
    if not is_array(leaf):
        return float(exact)
    cast = exact.astype(leaf.dtype)
    return jax.device_put(cast, leaf.sharding) if isinstance(leaf, jax.Array) else cast
