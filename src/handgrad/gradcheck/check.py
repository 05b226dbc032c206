"""What is checked: a loss and a gradient at a point, and what is known beforehand."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from handgrad.gradcheck.randomness import normal, seeds_of, stream
from handgrad.gradcheck.reference.float64 import Point, like
from handgrad.gradcheck.reference.norms import finite, rms
from handgrad.gradcheck.trees import to_numpy

MOVE = 0.1
"""How far parameters are moved, relative to their size: off a kink, not far away."""

Alternatives = Mapping[str, Sequence[Any]]
"""Name -> (params, *args): points whose gradient might have been returned instead."""


class Variant(NamedTuple):
    """A known wrong gradient, to match an unexplained one against.

    Attributes:
      name: what identifies it.
      cause: its code.
      explanation: a sentence for people.
      gradient: params, *args -> the wrong gradient, or a pair (value, gradient).
    """

    name: str
    cause: str
    explanation: str
    gradient: Callable[..., Any]


class Check(NamedTuple):
    """One gradient of one loss, at one point.

    Attributes:
      point: the loss, and where.
      gradient: params, *args -> gradient, or (value, gradient).
      alternatives: other points, for the cause `stale`.
      catalogue: known wrong gradients, for what the numbers alone do not tell.
      accuracy: how far a right gradient may be off by design, relative to its norm.
      strict: whether a convention at a kink other than that of autodiff is wrong.
      product: whether the gradient is a vector-Jacobian product, so that no argument
        is a batch, a class or a penalty.
      related: params -> other arrays that play a part, by name, such as the output.
    """

    point: Point
    gradient: Callable[..., Any]
    alternatives: Alternatives = MappingProxyType({})
    catalogue: Sequence[Variant] = ()
    accuracy: float = 0.0
    strict: bool = False
    product: bool = False
    related: Callable[[Any], Mapping[str, Any]] | None = None


def move(check: Check, key: jax.Array) -> Check:
    """The same check at parameters moved by normal noise of `MOVE` their size.

    A leaf of zeros is moved as much as the largest leaf.
    """
    values = check.point.split.values
    generator = stream("points", *seeds_of(key))
    exact = [to_numpy(leaf) for leaf in values]
    # mutants: without leaves nothing is moved
    usual = max((rms(finite(value)) for value in exact), default=0.0) or 1.0
    moved = []
    for value, leaf in zip(exact, values, strict=True):
        step = MOVE * (rms(finite(value)) or usual)
        noise = np.where(np.isfinite(value), step * normal(generator, value), 0.0)
        moved.append(like(value + noise, leaf))
    return check._replace(point=check.point.at(moved, check.point.args))
