"""What was asked: a loss, a gradient, and the point at which they are compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from handgrad.gradcheck.judge import Loss, judge
from handgrad.gradcheck.trees import Split, Tree, batch_size, split

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


@dataclass(frozen=True)
class Question:
    """One loss and one gradient, at one point.

    Attributes:
      loss: params, *args -> scalar.
      gradient: params, *args -> gradient, or (value, gradient).
      params: the point, any pytree.
      args: the other arguments.
      alternatives: other points, for the cause `stale`.
      catalogue: known wrong gradients, for what the numbers alone do not tell.
    """

    loss: Loss
    gradient: Callable[..., Any]
    params: Tree
    args: tuple[Any, ...]
    alternatives: Alternatives = field(default_factory=dict)
    catalogue: Sequence[Variant] = ()

    @property
    def split(self) -> Split:
        """The parameters, taken apart."""
        return split(self.params)

    @property
    def batch(self) -> int | None:
        """m, the leading size that the arguments share."""
        return batch_size(self.args)

    def truth_at(self, params: Tree, args: Sequence[Any]) -> dict[str, np.ndarray]:
        """The gradient in float64 at another point, by path."""
        parts = split(params)
        found = judge(self.loss, parts, parts.values, args).gradient
        return dict(zip([parts.paths[i] for i in parts.floating], found, strict=True))
