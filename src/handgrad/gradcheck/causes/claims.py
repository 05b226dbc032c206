"""Claims about wrong leaves, and the fewest of them that explain a gradient.

A hypothesis predicts the candidate from the truth. It is accepted for a leaf only if
what is left is within rounding. A free number is fitted on the leaf that says most
about it and must then hold on the others; a leaf of few entries cannot confirm one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.check import Check
from handgrad.gradcheck.comparison import Comparison
from handgrad.gradcheck.reference.norms import projection, rms
from handgrad.gradcheck.trees import is_array, is_differentiable, to_numpy

CAUSES = {
    "structure": "wrong structure, shape or dtype",
    "nonfinite": "NaN or infinity",
    "zero": "zero, whole or in rows or columns",
    "sign": "the opposite sign",
    "conjugate": "the complex conjugate",
    "transposed": "the transpose",
    "scale": "a wrong factor",
    "one_entry": "a single wrong entry",
    "reduced": "summed over an axis too many, or too few",
    "overwritten": "rows that several samples write, and one wins",
    "entries_swapped": "right entries in the wrong places",
    "weight_decay": "a multiple of the parameter left in",
    "projection": "a part along an argument or the output, line by line",
    "label_smoothing": "targets mixed with the uniform distribution",
    "weights_ignored": "sample weights or a mask not applied",
    "samples_dropped": "samples left out or counted twice",
    "stale": "the gradient at another point",
    "missing_activation_derivative": "h' left out",
    "wrong_activation_derivative": "h' wrong, or of something else",
    "low_precision": "computed in a narrower dtype",
    "kink": "at a kink, and not one of its derivatives, or not that of jax.grad",
    "straight_through": "a gradient where the true one is zero",
    "unknown": "wrong, in a way that the numbers do not tell",
}
"""The causes that a check may name, and what each means in one line."""

MOSTLY = 0.2
"""What a fitted number may leave of a residual: less than that is no explanation."""

CONFIRMED = 4
"""Entries that a leaf must have to confirm a fitted number: one fits, three confirm."""


class Finding(NamedTuple):
    """A cause, and a sentence with the numbers behind it."""

    cause: str
    explanation: str


class Claim(NamedTuple):
    """One cause, for the leaves that it explains.

    Attributes:
      cause: its code.
      explanations: path -> sentence, for each leaf explained.
    """

    cause: str
    explanations: Mapping[str, str]

    @classmethod
    def same(cls, cause: str, paths: Iterable[str], explanation: str) -> "Claim":
        """A claim with one sentence for all its leaves."""
        return cls(cause, dict.fromkeys(paths, explanation))


@dataclass(frozen=True)
class Mismatch:
    """A wrong gradient: everything a hypothesis may look at.

    Attributes:
      check: loss, gradient and point.
      leaves: all of them, compared, by path, in order.
      wrong: the paths to explain, in order.
    """

    check: Check
    leaves: Mapping[str, Comparison]
    wrong: Sequence[str]

    @cached_property
    def others(self) -> Mapping[str, np.ndarray]:
        """The other arrays that play a part, by a name for people, in 64 bits.

        Those of the arguments, and what the check knows besides, as of an output.
        """
        leaves = jax.tree.leaves(self.check.point.args)
        name = "cotangent" if self.check.product else "argument"
        found = {
            f"{name} leaf {i}": _exact(leaf)
            for i, leaf in enumerate(leaves)
            if is_array(leaf) and not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
        }
        try:
            related, params = self.check.related, self.check.point.params
            more = related(params) if related else {}
        except Exception:  # it does not run at this point
            more = {}
        return {**{name: _exact(value) for name, value in more.items()}, **found}

    @property
    def unexplained(self) -> list[Comparison]:
        """The leaves to explain that have the right shape."""
        leaves = (self.leaves[path] for path in self.wrong if path in self.leaves)
        return [leaf for leaf in leaves if not leaf.misshapen]

    def explained(self, predict: Callable[[Comparison], np.ndarray]) -> list[str]:
        """The wrong leaves that ``predict`` explains."""
        leaves = self.unexplained
        return [leaf.path for leaf in leaves if leaf.explained_by(predict(leaf))]


def _exact(leaf: Any) -> np.ndarray:
    return to_numpy(leaf) if is_differentiable(leaf) else np.asarray(leaf)


def explains_most(leaf: Comparison, prediction: np.ndarray) -> bool:
    """Whether a prediction with fitted numbers leaves little of the residual."""
    return rms(leaf.candidate - prediction) <= MOSTLY * rms(leaf.residual)


def fitted(
    mismatch: Mismatch,
    direction: Callable[[Comparison], np.ndarray],
    *,
    turned: bool = False,
) -> list[tuple[Any, list[str]]]:
    """All (t, paths) for which candidate = truth + t direction holds on the paths.

    t is fitted on the largest leaf not yet explained, and tried on all the others. It
    is real, or complex on complex leaves if it may be ``turned``.
    """
    found: list[tuple[Any, list[str]]] = []
    # mutants: ~n orders as -n
    for leaf in sorted(mismatch.unexplained, key=lambda leaf: -leaf.truth.size):
        known = any(leaf.path in paths for _, paths in found)
        if leaf.truth.size < CONFIRMED or known:
            continue
        t = projection(leaf.residual, direction(leaf))
        t = t if turned else t.real
        if not np.isfinite(t):
            continue
        paths = mismatch.explained(lambda leaf, t=t: leaf.truth + t * direction(leaf))
        if leaf.path in paths and explains_most(leaf, leaf.truth + t * direction(leaf)):
            found.append((t, paths))
    return found


def cover(claims: Sequence[Claim], wrong: Sequence[str]) -> dict[str, Finding]:
    """The fewest claims that explain the leaves: most leaves first, then the earlier.

    Args:
      claims: in order of parsimony.
      wrong: the paths to explain.
    """
    findings: dict[str, Finding] = {}
    while True:
        open_paths = [path for path in wrong if path not in findings]
        gains = [sum(p in claim.explanations for p in open_paths) for claim in claims]
        if not gains or max(gains) == 0:  # mutants: counts are 0 or more
            return findings
        best = claims[gains.index(max(gains))]
        for path in open_paths:
            if path in best.explanations:
                findings[path] = Finding(best.cause, best.explanations[path])


def listed(name: str, indices: np.ndarray, limit: int = 8) -> str:
    """Such as "rows 0, 3 and 5 more": a few of the indices, and how many there are."""
    shown = ", ".join(str(int(i)) for i in indices[:limit])
    more = f" and {len(indices) - limit} more" if len(indices) > limit else ""
    # mutants: there is one at least
    return f"{name}{'s' if len(indices) > 1 else ''} {shown}{more}"
