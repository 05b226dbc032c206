"""The gradient in float64, by autodiff: what a candidate is compared with.

The program that autodiff makes of the loss is traced in the dtypes of the point, and
run in float64 (`program`, `arithmetic`). A loss that cannot be traced, since it looks
at numbers, is differentiated step by step, at arrays of float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.reference.devices import float64 as float64
from handgrad.gradcheck.reference.devices import like as like
from handgrad.gradcheck.reference.devices import wide_array
from handgrad.gradcheck.reference.program import Traced, trace
from handgrad.gradcheck.trees import (
    Split,
    Tree,
    batch_size,
    map_differentiable,
    split,
    to_numpy,
)

Loss = Callable[..., Any]


def widen(tree: Tree) -> Tree:
    """Floating arrays as float64 (call it inside `float64`); the rest as it is."""
    return map_differentiable(lambda leaf: jnp.asarray(wide_array(leaf)), tree)


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

    def value_and_gradient(self, values: Sequence[Any]) -> list[jax.Array]:
        """J and its gradient by autodiff, as functions of the floating leaves."""
        value, gradient = jax.value_and_grad(self.objective)(list(values))
        return [value, *gradient]

    @cached_property
    def traced_loss(self) -> Traced:
        """The program of `objective`."""
        return trace(self.objective, self.split.values)

    @cached_property
    def traced_gradient(self) -> Traced:
        """The program of `value_and_gradient`; by forward mode if there is no other."""
        try:
            return trace(self.value_and_gradient, self.split.values)
        except Exception as error:  # whatever reverse mode raises where there is none
            entries = sum(int(np.size(leaf)) for leaf in self.split.values)
            try:
                if entries > MOST_FORWARD:
                    raise error
                forward = partial(forward_gradient, self.objective)
                return trace(forward, self.split.values)._replace(mode="forward")
            except Exception:  # the first error says more
                raise error from None

    def at(self, values: Sequence[Any], args: Sequence[Any]) -> "Point":
        """The same loss with these floating leaves and these arguments."""
        return replace(self, params=self.split.merge(values), args=tuple(args))

    def widened(self) -> "Point":
        """The same point in float64 (call it inside `float64`)."""
        return self.at(widen(self.split.values), widen(self.args))


MOST_FORWARD = 4096
"""Entries for which forward mode is worth one evaluation each."""


def forward_gradient(objective: Loss, values: Sequence[Any]) -> list[jax.Array]:
    """J and its gradient by forward mode, by entry: dJ/dx - i dJ/dy if complex."""
    values = [jnp.asarray(value) for value in values]

    def slope(k: int, direction: jax.Array) -> jax.Array:
        tangents = [jnp.zeros_like(value) for value in values]
        tangents[k] = direction.reshape(values[k].shape)
        return jax.jvp(objective, (values,), (tangents,))[1]

    def gradient(k: int) -> jax.Array:
        size, dtype = values[k].size, values[k].dtype

        def entry(i: jax.Array) -> jax.Array:
            one = (jnp.arange(size) == i).astype(dtype)
            if not jnp.iscomplexobj(one):
                return slope(k, one).astype(dtype)
            return (slope(k, one) - 1j * slope(k, 1j * one)).astype(dtype)

        return jax.lax.map(entry, jnp.arange(size)).reshape(values[k].shape)

    return [objective(values), *(gradient(k) for k in range(len(values)))]


class Evaluated(NamedTuple):
    """A loss and its gradient at one point.

    Attributes:
      value: J.
      gradient: dJ/dleaf of every floating leaf, 64 bits on the host.
      dtype: of the arithmetic, or the coarsest that it was held up by.
    """

    value: float
    gradient: list[np.ndarray]
    dtype: np.dtype

    @classmethod
    def of(cls, results: Sequence[np.ndarray], dtype: Any) -> "Evaluated":
        """From the results of a program of value and gradient."""
        value, *gradient = results
        return cls(float(value), gradient, np.dtype(dtype))


def differentiate(point: Point) -> Evaluated:
    """Autodiff of the loss with respect to the floating leaves, in their own dtype."""
    traced = point.traced_gradient
    return Evaluated.of(traced.as_written(point.split.values), traced.dtype)


def differentiate_wide(point: Point, *, drawn: bool = False) -> Evaluated:
    """Autodiff of the loss in float64, whatever the dtypes of the point.

    Args:
      point: where.
      drawn: whether the same is run in random rounding too, so that one compiled
        program does.
    """
    traced = point.traced_gradient
    moves = traced.unmoved if drawn else None
    results = traced.in_float64(point.split.values, None, moves)
    return Evaluated.of(results, coarsest(traced))


def coarsest(traced: Traced) -> np.dtype:
    """float64, or the narrowest dtype that `in_float64` could not leave."""
    kinds = [np.dtype(np.float64), *traced.islands]
    return max(kinds, key=lambda kind: jnp.finfo(kind).eps)


def differentiate_by_steps(point: Point) -> Evaluated:
    """`differentiate` where the loss cannot be traced."""
    value, *gradient = point.value_and_gradient(point.split.values)
    return Evaluated.of([to_numpy(x) for x in (value, *gradient)], value.dtype)


def undifferentiated(point: Point) -> tuple[Evaluated, bool]:
    """The loss where there is no autodiff of it; and whether it was run in float64.

    NaN stands for its gradient.
    """
    unknown = [np.full_like(to_numpy(leaf), np.nan) for leaf in point.split.values]
    try:
        traced = point.traced_loss
        value = float(traced.in_float64(point.split.values)[0])
        return Evaluated(value, unknown, coarsest(traced)), True
    except Exception:  # it cannot be traced
        found = point.objective(point.split.values)
        return Evaluated(float(found), unknown, np.dtype(found.dtype)), False


def true_gradient(point: Point) -> dict[str, np.ndarray]:
    """The gradient in float64 of every floating leaf, by path."""
    try:
        gradient = differentiate_wide(point).gradient
    except Exception:  # it cannot be traced, whatever it raises then
        with float64():
            gradient = differentiate_by_steps(point.widened()).gradient
    return dict(zip(point.split.floating_paths, gradient, strict=True))
