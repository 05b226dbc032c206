"""Claims about wrong leaves, and the fewest of them that explain a gradient.

A hypothesis predicts the candidate from the truth. It is accepted for a leaf only if
what is left is within rounding. A free number is fitted on the leaf that tells most
about it and must then hold on the others; a leaf of few entries cannot prove one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from handgrad.gradcheck.causes import Finding
from handgrad.gradcheck.evidence import Evidence
from handgrad.gradcheck.question import Question
from handgrad.gradcheck.tolerance import projection

PROOF = 4
"""Entries that a leaf must have to prove a fitted number: one fits, three confirm."""


@dataclass(frozen=True)
class Claim:
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
class Case:
    """A wrong gradient: everything a hypothesis may look at.

    Attributes:
      question: loss, gradient and point.
      evidence: of every leaf, by path, in order.
      wrong: the paths to explain, in order.
    """

    question: Question
    evidence: Mapping[str, Evidence]
    wrong: Sequence[str]

    @property
    def suspects(self) -> list[Evidence]:
        """The evidence on the leaves to explain that have the right shape."""
        leaves = (self.evidence[path] for path in self.wrong if path in self.evidence)
        return [leaf for leaf in leaves if not leaf.misshapen]

    def explained(self, predict: Callable[[Evidence], np.ndarray]) -> list[str]:
        """The wrong leaves that ``predict`` explains."""
        return [s.path for s in self.suspects if s.explained_by(predict(s))]


def fitted(
    case: Case, direction: Callable[[Evidence], np.ndarray]
) -> list[tuple[float, list[str]]]:
    """All (t, paths) for which candidate = truth + t direction holds on the paths.

    t is fitted on the largest leaf not yet explained, and tried on all the others.
    """
    found: list[tuple[float, list[str]]] = []
    for leaf in sorted(case.suspects, key=lambda s: -s.truth.size):
        if leaf.truth.size < PROOF or any(leaf.path in paths for _, paths in found):
            continue
        t = projection(leaf.residual, direction(leaf))
        if not np.isfinite(t):
            continue
        paths = case.explained(lambda s, t=t: s.truth + t * direction(s))
        if leaf.path in paths:
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
        if not gains or max(gains) == 0:
            return findings
        best = claims[gains.index(max(gains))]
        for path in open_paths:
            if path in best.explanations:
                findings[path] = Finding(best.cause, best.explanations[path])
