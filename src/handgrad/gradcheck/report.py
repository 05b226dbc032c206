"""What a check found: one `Leaf` per leaf of the parameters, in a `Report`."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from handgrad.gradcheck.table import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Verdict = Literal["right", "wrong", "untested", "not differentiable"]


@dataclass(frozen=True)
class Leaf:
    """The finding on one leaf.

    Attributes:
      path: its name in the pytree, such as ``[0].weight``.
      verdict: "right" within rounding; "wrong"; "untested" if a gradient of zero would
        have passed as well; "not differentiable" for integers and static leaves.
      shape, dtype: of the parameter.
      relative_error: |candidate - truth| / |truth|, Euclidean norms.
      floor: the relative error that is still rounding here (T2 of `tolerance`).
      excess: the error in units of its floor, in the strictest of four measures; the
        leaf is wrong where it is above 1.
      scale: the factor k for which k truth is nearest to the candidate.
      cosine: of the angle between candidate and truth.
      worst_index: the entry where they are furthest apart.
      got, expected: the two values there.
      cause: a code of `causes`, or None where nothing is wrong.
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
    got: float = float("nan")
    expected: float = float("nan")
    cause: str | None = None
    explanation: str = ""

    @property
    def ok(self) -> bool | None:
        """True if right, False if wrong, None if nothing could be said."""
        return {"right": True, "wrong": False}.get(self.verdict)


@dataclass(frozen=True)
class Report:
    """The findings of a check.

    Attributes:
      leaves: one per leaf of the parameters, and one per leaf too many.
      faults: what is wrong outside the leaves: in the loss itself, or in the value
        that came with the gradient.
      notes: what a reader should know that is no fault.
      judge: the dtype of the judge, "float64" unless a note says otherwise.
    """

    leaves: tuple[Leaf, ...]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    judge: str = "float64"

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong, and something was tested."""
        verdicts = [leaf.verdict for leaf in self.leaves]
        return "wrong" not in verdicts and "right" in verdicts and not self.faults

    @property
    def wrong(self) -> tuple[Leaf, ...]:
        """The leaves that are wrong."""
        return tuple(leaf for leaf in self.leaves if leaf.verdict == "wrong")

    @property
    def untested(self) -> tuple[Leaf, ...]:
        """The leaves about which nothing could be said."""
        return tuple(leaf for leaf in self.leaves if leaf.verdict == "untested")

    def __str__(self) -> str:
        return table(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, as JSON takes them (NaN and infinity excepted)."""
        return {
            "ok": self.ok,
            "judge": self.judge,
            "faults": list(self.faults),
            "notes": list(self.notes),
            "leaves": [{"ok": leaf.ok, **asdict(leaf)} for leaf in self.leaves],
        }

    def figure(self) -> "Figure":
        """Error against rounding floor, leaf by leaf (needs matplotlib)."""
        from handgrad.gradcheck.figure import figure

        return figure(self)
