"""The judge: autodiff of the loss in float64.

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

from handgrad.gradcheck.trees import (
    Split,
    Tree,
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


def objective_of(
    loss: Loss, split: Split, args: Sequence[Any]
) -> Callable[[Sequence[Any]], jax.Array]:
    """The loss as a function of the floating leaves alone."""

    def objective(leaves: Sequence[Any]) -> jax.Array:
        return scalar(loss(split.merge(leaves), *args))

    return objective


def differentiate(
    loss: Loss, split: Split, values: Sequence[Any], args: Sequence[Any]
) -> Evaluated:
    """Autodiff of the loss with respect to the floating leaves, in their own dtype."""

    value, gradient = jax.value_and_grad(objective_of(loss, split, args))(list(values))
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


def like(exact: np.ndarray, leaf: Any) -> Any:
    """``exact`` in the dtype, and on the device, of ``leaf``."""
    if not is_array(leaf):
        return float(exact)
    cast = exact.astype(leaf.dtype)
    return jax.device_put(cast, leaf.sharding) if isinstance(leaf, jax.Array) else cast
