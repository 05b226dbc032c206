"""What is checked: a loss and a gradient at a point, and what is known beforehand."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from handgrad.gradcheck.reference.float64 import Point, like
from handgrad.gradcheck.reference.tolerance import rms
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
    """

    point: Point
    gradient: Callable[..., Any]
    alternatives: Alternatives = MappingProxyType({})
    catalogue: Sequence[Variant] = ()


def move(check: Check, key: jax.Array) -> Check:
    """The same check at parameters moved by normal noise of `MOVE` their size.

    A leaf of zeros is moved as much as the largest leaf.
    """
    values = check.point.split.values
    seed = np.asarray(jax.random.key_data(key)).ravel().tolist()
    generator = np.random.default_rng(seed)
    exact = [to_numpy(leaf) for leaf in values]
    # mutants: without leaves nothing is moved
    usual = max((rms(value) for value in exact), default=0.0) or 1.0
    moved = []
    for value, leaf in zip(exact, values, strict=True):
        step = MOVE * (rms(value) or usual)
        noise = generator.standard_normal(value.shape)
        moved.append(like(value + step * noise, leaf))
    return check._replace(point=check.point.at(moved, check.point.args))
