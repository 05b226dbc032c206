"""What a check found, as data: one `Leaf` per leaf of the parameters, in `Results`."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["right", "convention", "wrong", "untested", "not differentiable"]


@dataclass(frozen=True)
class Leaf:
    """The finding on one leaf.

    Attributes:
      path: its name in the pytree, such as ``[0].weight``.
      verdict: "right" within rounding; "convention" where it differs from jax.grad at
        kinks of the loss alone, and lies between the one-sided derivatives; "wrong";
        "untested" if a gradient of zero would
        have passed as well; "not differentiable" for integers and static leaves.
      shape, dtype: of the parameter.
      relative_error: |candidate - truth| / |truth|, Euclidean norms.
      floor: the relative error that is still rounding here (T2 of
        `handgrad.gradcheck.reference.tolerance`).
      excess: the error in units of its floor, in the strictest of four measures; the
        leaf is wrong where it is above 1.
      scale: the factor k for which k truth is nearest to the candidate.
      cosine: of the angle between candidate and truth.
      worst_index: the entry where they are furthest apart.
      got, expected: the two values there; complex ones of a complex leaf.
      cause: a code of `handgrad.gradcheck.causes.claims.CAUSES`, or None where nothing
        is wrong.
      explanation: a sentence with the numbers behind the cause.
    """

    path: str
    verdict: Verdict
    shape: tuple[int, ...] = ()
    dtype: str = ""
    relative_error: float = float("nan")
    floor: float = float("nan")
    excess: float = float("nan")
    scale: float = float("nan")
    cosine: float = float("nan")
    worst_index: tuple[int, ...] | None = None
    got: complex = float("nan")
    expected: complex = float("nan")
    cause: str | None = None
    explanation: str = ""

    @property
    def ok(self) -> bool | None:
        """True if right, False if wrong, None if nothing could be said."""
        known = {"right": True, "convention": True, "wrong": False}
        return known.get(self.verdict)


@dataclass(frozen=True)
class Results:
    """The fields of a `Report`, and what follows from them: what is shown of it.

    Attributes: as those of `Report`.
    """

    leaves: tuple[Leaf, ...]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    judge: str = "float64"
    excused: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong, and something was tested."""
        found = [leaf.ok for leaf in self.leaves]
        blamed = set(self.faults) - set(self.excused)
        return False not in found and True in found and not blamed

    @property
    def wrong(self) -> tuple[Leaf, ...]:
        """The leaves that are wrong."""
        # mutants: the last in the alphabet
        return tuple(leaf for leaf in self.leaves if leaf.verdict == "wrong")

    @property
    def untested(self) -> tuple[Leaf, ...]:
        """The leaves about which nothing could be said."""
        return tuple(leaf for leaf in self.leaves if leaf.verdict == "untested")
