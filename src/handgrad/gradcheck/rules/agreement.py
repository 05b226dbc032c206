"""Do two ways to compute the same thing agree, up to rounding, and if not, why?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.causes.claims import Mismatch
from handgrad.gradcheck.causes.diagnose import STAGES, explain
from handgrad.gradcheck.causes.entries import where_wrong
from handgrad.gradcheck.check import Check
from handgrad.gradcheck.comparison import Comparison
from handgrad.gradcheck.reference.norms import finite, largest, rms
from handgrad.gradcheck.reference.tolerance import Floor
from handgrad.gradcheck.rules.subject import Subject
from handgrad.gradcheck.rules.table import Row
from handgrad.gradcheck.trees import dtype_of, to_numpy

Measured = Mapping[str, Sequence[Any]]
"""Kind of quantity ("value", "vjp", "jvp", ...) -> its leaves."""

FLOORS = {"value in vjp": "value", "value in jvp": "value"}
"""The kinds that have the floor of another."""

UNKNOWN_FLOOR = 256.0
"""Unit roundoffs that two evaluations may differ by where no floor was measured."""


@dataclass
class Findings:
    """What is wrong with a row, collected: sentences, and their causes in order."""

    causes: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    compared: int = 0

    def add(self, cause: str, text: str) -> None:
        """One thing that is wrong."""
        if cause not in self.causes:
            self.causes.append(cause)
        self.texts.append(text)

    def row(self, name: str, nothing: str = "") -> Row:
        """The row: wrong, right, or untested because there was nothing to compare."""
        if self.texts:
            more = len(self.texts) - SHOWN
            texts = [*self.texts[:SHOWN], *([f"And {more} more."] if more > 0 else [])]
            return Row(name, "wrong", ", ".join(self.causes), " ".join(texts))
        if not self.compared:
            return Row(
                name,
                "untested",
                explanation=nothing or "all is zero here, or not finite.",
            )
        return Row(name, "right")


SHOWN = 3
"""How many sentences a row shows."""


def agree(
    findings: Findings, subject: Subject, where: str, expected: Measured, got: Measured
) -> None:
    """Compare leaf by leaf; add a sentence for each kind that differs.

    Args:
      findings: what is added to.
      subject: the function, for names and floors.
      where: what was done, such as ``vmap of [0]``.
      expected, got: the same kinds of quantities, computed in two ways.
    """
    for kind, leaves in expected.items():
        names = subject.names if kind == "vjp" else subject.outputs
        if kind == "whole":
            _equal(findings, where, leaves, got[kind])
            continue
        known = subject.floors.get(FLOORS.get(kind, kind))
        compared = {}
        for i, (one, other) in enumerate(zip(leaves, got[kind], strict=True)):
            path = names[i] if len(names) == len(leaves) else f"[{i}]"
            floor = known[i] if known else None
            compared[path] = comparison_of(path, one, other, floor)
        findings.compared += sum(bool(c.truth.any()) for c in compared.values())
        _explain(findings, subject, f"{where}, {kind}", compared)


def comparison_of(path: str, expected: Any, got: Any, known: Any) -> Comparison:
    """One leaf that was computed in two ways.

    Args:
      path: of the leaf.
      expected, got: the two; what is the same NaN or infinity in both is right.
      known: (floor, leaf at the point), or None where no floor was measured.
    """
    truth, candidate = to_numpy(expected), to_numpy(got)
    floor, at_point = known if known else (None, truth)
    same = truth.shape == candidate.shape
    if same:  # what is not a number in both is the same
        both = ~np.isfinite(truth) & ~np.isfinite(candidate)
        alike = both & ((truth == candidate) | (np.isnan(truth) & np.isnan(candidate)))
        truth, candidate = (np.where(alike, 0.0, a) for a in (truth, candidate))
    dtype = dtype_of(expected)
    room = widened(floor, at_point, finite(truth), dtype)
    return Comparison(path, np.zeros_like(truth), candidate, truth, room, dtype)


def widened(
    floor: Floor | None, truth: np.ndarray, expected: np.ndarray, dtype: np.dtype
) -> Floor:
    """The floor between two evaluations of a leaf, each of which may be off by one.

    Args:
      floor: of the leaf at the point; None if it is not known.
      truth: the leaf at the point.
      expected: the leaf that is compared, which may be larger, or a stack of such.
      dtype: in which it is computed.
    """
    size, peak = rms(expected), largest(expected)
    if floor is None:
        unit = UNKNOWN_FLOOR * float(jnp.finfo(dtype).eps)
        return Floor(unit * size, unit * peak, np.inf, np.inf)
    times = 2 * max(1.0, size / rms(truth) if rms(truth) > 0 else 1.0)
    more = 2 * max(1.0, peak / largest(truth) if largest(truth) > 0 else 1.0)
    return Floor(floor.rms * times, floor.worst * more, np.inf, np.inf)


def _explain(
    findings: Findings, subject: Subject, where: str, leaves: Mapping[str, Comparison]
) -> None:
    wrong = [path for path, leaf in leaves.items() if leaf.wrong]
    if not wrong:
        return
    check = Check(subject.value_point, lambda *args: None)
    shaped = [path for path in wrong if not leaves[path].misshapen]
    found = explain(Mismatch(check, leaves, shaped), STAGES[:1]) if shaped else {}
    for path in wrong:
        leaf = leaves[path]
        if leaf.misshapen:
            text = f"shape {leaf.candidate.shape} where {leaf.truth.shape} must be."
            findings.add("structure", f"{where} at {path}: {text}")
        elif path in found:
            cause, text = found[path]
            findings.add(cause, f"{where} at {path}: {text}")
        else:
            findings.add("unknown", f"{where} at {path}: {_figures(leaf)}")


def _figures(leaf: Comparison) -> str:
    i = leaf.worst_index
    return (
        f"{leaf.candidate[i]:.6g} where {leaf.truth[i]:.6g} is expected. "
        f"{where_wrong(leaf)}"
    )


def _equal(
    findings: Findings, where: str, expected: Sequence[Any], got: Sequence[Any]
) -> None:
    """Leaves that are whole must be equal."""
    for i, (one, other) in enumerate(zip(expected, got, strict=True)):
        if not np.array_equal(np.asarray(one), np.asarray(other)):
            findings.add("unknown", f"{where}: integer output {i} differs.")
