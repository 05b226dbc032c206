"""The gradient in float64, by autodiff: what a candidate is compared with.

float64 is switched on locally, for the calling thread and the time of the call; no
flag is left changed. On a platform without float64 the CPU does the work.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.trees import (
    Split,
    Tree,
    batch_size,
    is_array,
    map_floating,
    split,
    to_numpy,
)

Loss = Callable[..., Any]

_HAVE_FLOAT64 = ("cpu", "gpu", "cuda", "rocm")


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """64-bit types, and a device that has them, for a while.

    Types are promoted and products computed in JAX's standard ways meanwhile, whatever
    the caller has set.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(True))
        stack.enter_context(jax.numpy_dtype_promotion("standard"))
        stack.enter_context(jax.default_matmul_precision("highest"))
        if jax.default_backend() not in _HAVE_FLOAT64:
            # mutants: there is one
            stack.enter_context(jax.default_device(jax.devices("cpu")[0]))
        yield


def widen(tree: Tree) -> Tree:
    """Floating arrays as float64 (call it inside `float64`); the rest as it is."""
    return map_floating(lambda leaf: jnp.asarray(to_numpy(leaf)), tree)


def like(exact: np.ndarray, leaf: Any) -> Any:
    """``exact`` in the dtype, and on the device, of ``leaf``."""
    if not is_array(leaf):
        return float(exact)
    cast = exact.astype(leaf.dtype)
    return jax.device_put(cast, leaf.sharding) if isinstance(leaf, jax.Array) else cast


def scalar(output: Any) -> jax.Array:
    """The loss itself: ``output``, or its first part where aux comes with it."""
    value = output[0] if isinstance(output, tuple) and output else output
    # mutants: no tuple is below ()
    if np.shape(value) != () or not jnp.issubdtype(jnp.result_type(value), np.floating):
        raise TypeError(
            "`loss` must return a real scalar, or a pair (scalar, aux), got shape "
            f"{np.shape(value)} and dtype {jnp.result_type(value)}. Sum or average it."
        )
    return jnp.asarray(value)


@dataclass(frozen=True, eq=False)
class Point:
    """A loss, and where it is differentiated.

    Attributes:
      loss: params, *args -> scalar, or (scalar, aux).
      params: any pytree.
      args: the other arguments.
    """

    loss: Loss
    params: Tree
    args: tuple[Any, ...] = ()

    @cached_property
    def split(self) -> Split:
        """The parameters, taken apart."""
        return split(self.params)

    @property
    def batch(self) -> int | None:
        """m, the leading size that the arguments share."""
        return batch_size(self.args)

    def objective(self, values: Sequence[Any]) -> jax.Array:
        """J as a function of the floating leaves alone."""
        return scalar(self.loss(self.split.merge(values), *self.args))

    def at(self, values: Sequence[Any], args: Sequence[Any]) -> "Point":
        """The same loss with these floating leaves and these arguments."""
        return replace(self, params=self.split.merge(values), args=tuple(args))

    def widened(self) -> "Point":
        """The same point in float64 (call it inside `float64`)."""
        return self.at(widen(self.split.values), widen(self.args))


class Evaluated(NamedTuple):
    """A loss and its gradient at one point.

    Attributes:
      value: J.
      gradient: dJ/dleaf of every floating leaf, float64 on the host.
      dtype: the dtype that the loss came out in.
    """

    value: float
    gradient: list[np.ndarray]
    dtype: np.dtype


def differentiate(point: Point) -> Evaluated:
    """Autodiff of the loss with respect to the floating leaves, in their own dtype."""
    value, gradient = jax.value_and_grad(point.objective)(point.split.values)
    return Evaluated(float(value), [to_numpy(g) for g in gradient], value.dtype)


def differentiate_wide(point: Point) -> Evaluated:
    """Autodiff of the loss in float64, whatever the dtypes of the point."""
    with float64():
        return differentiate(point.widened())


def true_gradient(point: Point) -> dict[str, np.ndarray]:
    """The gradient in float64 of every floating leaf, by path."""
    gradient = differentiate_wide(point).gradient
    return dict(zip(point.split.floating_paths, gradient, strict=True))
