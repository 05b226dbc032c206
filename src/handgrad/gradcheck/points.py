"""The comparison at one point: evaluate, compare, explain, report."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from handgrad.gradcheck.causes.claims import Finding
from handgrad.gradcheck.causes.diagnose import diagnose
from handgrad.gradcheck.check import Check
from handgrad.gradcheck.comparison import Comparison, compare
from handgrad.gradcheck.kinks import Settled, settle
from handgrad.gradcheck.reference.audit import (
    OUTPUT,
    VALUE,
    Audit,
    audit_loss,
    audit_value,
)
from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.reference.norms import projection, rms
from handgrad.gradcheck.reference.slope import Line, line_at
from handgrad.gradcheck.reference.truth import Reference, reference_at
from handgrad.gradcheck.report.report import Report
from handgrad.gradcheck.report.results import Leaf
from handgrad.gradcheck.structure import Aligned, evaluate
from handgrad.gradcheck.trees import Split, dtype_of


class Basis(NamedTuple):
    """What is known of a loss at a point, whatever gradient is checked there."""

    reference: Reference
    audit: Audit
    line: Line


def check_point(check: Check) -> Report:
    """Compare at one point, and explain what differs.

    Costs one evaluation of the gradient under test, at most seven of autodiff and
    sixteen of the loss (`tests/gradcheck/test_cost.py`). Explaining a difference costs
    more, see `diagnose` and `settle`; so does a loss at fault.
    """
    return examine(check, prepare(check.point))


def prepare(point: Point) -> Basis:
    """Evaluate autodiff, and check that the loss changes as autodiff says."""
    reference = reference_at(point)
    line = line_at(point, reference)
    return Basis(reference, audit_loss(point, reference, line), line)


def examine(check: Check, basis: Basis) -> Report:
    """Compare the gradient with the basis that was prepared at its point."""
    reference, audit = basis.reference, basis.audit
    value, aligned = evaluate(check.gradient, check.point)
    compared = compare(check.point, aligned, reference, check.accuracy)
    settled = settle(check, compared, basis.line, audit)
    open_leaves = {
        path: leaf
        for path, leaf in settled.leaves.items()
        if path not in settled.verdicts
    }
    findings, notes = diagnose(check, aligned, open_leaves, kinks=audit.kink)
    of_value = audit_value(value, reference, OUTPUT if check.product else VALUE)
    return Report(
        _leaves(check.point.split, aligned, findings, settled),
        (*aligned.general, *audit.faults, *of_value),
        (*reference.notes, *audit.notes, *settled.notes, *notes),
        reference.dtype,
        excused=audit.faults if settled.excused else (),
    )


def _leaves(
    split: Split,
    aligned: Aligned,
    findings: Mapping[str, Finding],
    settled: Settled,
) -> tuple[Leaf, ...]:
    leaves = [
        _omitted(split, i, aligned.omitted[path])
        if path in aligned.omitted and i in split.floating
        else _leaf(split, i, findings, settled)
        for i, path in enumerate(split.paths)
    ]
    leaves += [
        Leaf(path, "wrong", cause="structure", explanation=explanation)
        for path, explanation in aligned.extra.items()
    ]
    return tuple(leaves)


def _leaf(
    split: Split,
    i: int,
    findings: Mapping[str, Finding],
    settled: Settled,
) -> Leaf:
    path, parameter = split.paths[i], split.leaves[i]
    if i not in split.floating:
        return Leaf(path, "not differentiable", dtype=type(parameter).__name__)
    leaf = Leaf(path, "right", np.shape(parameter), str(dtype_of(parameter)))
    comparison, finding = settled.leaves.get(path), findings.get(path)
    if comparison is None or comparison.misshapen:
        assert finding is not None
        return _wrong(leaf, finding)
    if comparison.truth.size == 0:
        return _untested(leaf, "it is empty.")
    leaf = _figures(leaf, comparison)
    if finding is not None:
        return _wrong(leaf, finding)
    if path in settled.verdicts:
        verdict, explanation = settled.verdicts[path]
        if verdict == "wrong":
            return _wrong(leaf, Finding("kink", explanation))
        return replace(leaf, verdict=verdict, explanation=explanation)
    return _untested(leaf, _why(comparison, leaf)) if comparison.blind else leaf


def _omitted(split: Split, i: int, why: str) -> Leaf:
    parameter = split.leaves[i]
    shape, dtype = np.shape(parameter), str(dtype_of(parameter))
    return _untested(Leaf(split.paths[i], "untested", shape, dtype), why)


def _wrong(leaf: Leaf, finding: Finding) -> Leaf:
    cause, explanation = finding
    return replace(leaf, verdict="wrong", cause=cause, explanation=explanation)


def _untested(leaf: Leaf, why: str) -> Leaf:
    return replace(leaf, verdict="untested", explanation=f"untested: {why}")


def _why(comparison: Comparison, leaf: Leaf) -> str:
    """Why a gradient of zero would pass as well."""
    if not comparison.truth.any():
        return "the true gradient is zero here, so nothing was compared."
    share = f"{leaf.floor:.1g} of this gradient"
    return f"in {comparison.dtype} rounding alone may do {share}."


def _figures(leaf: Leaf, found: Comparison) -> Leaf:
    """Fill in the numbers of the table."""
    size, norm = rms(found.truth), rms(found.candidate)
    with np.errstate(all="ignore"):
        scale = projection(found.candidate, found.truth).real
        return replace(
            leaf,
            relative_error=_over(rms(found.residual), size),
            floor=_over(found.floor.rms, size),
            excess=found.excess,
            scale=scale if size > 0 else float("nan"),
            cosine=scale * size / norm if norm > 0 and size > 0 else float("nan"),
            worst_index=found.worst_index,
            got=_plain(found.candidate[found.worst_index]),
            expected=_plain(found.truth[found.worst_index]),
        )


def _plain(number: Any) -> Any:
    return number.item()


def _over(error: float, size: float) -> float:
    if size > 0:
        return error / size
    return 0.0 if error == 0 else float("inf")
