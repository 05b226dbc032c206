"""The `Report` that a check returns, and one made of several."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from handgrad.gradcheck.report.figure import figure
from handgrad.gradcheck.report.results import Leaf, Results
from handgrad.gradcheck.report.table import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Report(Results):
    """The findings of a check.

    Attributes:
      leaves: one per leaf of the parameters, and one per leaf too many.
      faults: what is wrong outside the leaves: in the loss itself, or in the value
        that came with the gradient.
      notes: what a reader should know that is no fault.
      judge: the dtype of the reference, "float64" unless a note says otherwise.
      excused: those of the faults that are the loss's alone: the gradient is right
        although jax.grad of the loss is not.
    """

    def __str__(self) -> str:
        return table(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, as JSON takes them (NaN and infinity excepted)."""
        return {
            "ok": self.ok,
            "judge": self.judge,
            "faults": list(self.faults),
            "notes": list(self.notes),
            "leaves": [_plain({"ok": leaf.ok, **asdict(leaf)}) for leaf in self.leaves],
        }

    def figure(self) -> "Figure":
        """Error against rounding floor, leaf by leaf (needs matplotlib)."""
        return figure(self)


def merge(reports: Sequence[Report]) -> Report:
    """One report: of each leaf the worst finding; untested only if untested in all."""
    by_path: dict[str, list[Leaf]] = {}
    for report in reports:
        for leaf in report.leaves:
            by_path.setdefault(leaf.path, []).append(leaf)
    return Report(
        leaves=tuple(max(leaves, key=_severity) for leaves in by_path.values()),
        faults=_distinct(fault for report in reports for fault in report.faults),
        notes=_distinct(note for report in reports for note in report.notes),
        judge=reports[0].judge,
        excused=_excused(reports),
    )


def _excused(reports: Sequence[Report]) -> tuple[str, ...]:
    """The faults that are excused wherever they occur."""
    blamed = {f for r in reports for f in r.faults if f not in r.excused}
    found = (fault for report in reports for fault in report.excused)
    return tuple(fault for fault in _distinct(found) if fault not in blamed)


def _plain(leaf: dict[str, Any]) -> dict[str, Any]:
    """Complex numbers as pairs, which JSON takes."""
    return {
        name: [value.real, value.imag] if isinstance(value, complex) else value
        for name, value in leaf.items()
    }


def _severity(leaf: Leaf) -> tuple[int, bool, float]:
    order = ("not differentiable", "untested", "right", "convention", "wrong")
    known = leaf.cause != "unknown"
    excess = 0.0 if np.isnan(leaf.excess) else leaf.excess
    return order.index(leaf.verdict), known, excess


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
