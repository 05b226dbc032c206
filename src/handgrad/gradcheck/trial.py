"""One comparison at one point: evaluate, measure, judge, explain."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from handgrad.gradcheck.audit import Audit, audit_loss, audit_value
from handgrad.gradcheck.bench import Bench, assemble
from handgrad.gradcheck.causes import Finding
from handgrad.gradcheck.diagnose import diagnose
from handgrad.gradcheck.evidence import Evidence
from handgrad.gradcheck.measure import measure
from handgrad.gradcheck.question import Question
from handgrad.gradcheck.report import Leaf, Report
from handgrad.gradcheck.structure import align, unpack
from handgrad.gradcheck.tolerance import projection, rms
from handgrad.gradcheck.trees import dtype_of


class Grounds(NamedTuple):
    """What a verdict rests on; the same for every gradient of one loss at one point."""

    bench: Bench
    audit: Audit


def trial(question: Question) -> Report:
    """Compare at one point, and explain what differs.

    Costs one evaluation of the gradient under test, four of autodiff and nine of the
    loss. Explaining a difference costs more, see `diagnose`; so does a loss at fault.
    """
    return examine(question, prepare(question))


def prepare(question: Question) -> Grounds:
    """Ask autodiff, and ask the loss whether autodiff is right."""
    bench = assemble(question)
    return Grounds(bench, audit_loss(question, bench))


def examine(question: Question, grounds: Grounds) -> Report:
    """Hold the gradient of the question against grounds prepared for its loss."""
    split, (bench, audit) = question.split, grounds
    candidate = question.gradient(question.params, *question.args)
    value, tree = unpack(candidate, split)
    aligned = align(split, tree)
    evidence = measure(question, aligned, bench)
    judged = {p: found for p, found in evidence.items() if p not in audit.blamed}
    findings, notes = diagnose(question, aligned, judged, kinks=audit.kink)
    leaves = [
        _leaf(question, i, evidence, findings, audit.blamed)
        for i in range(len(split.paths))
    ]
    leaves += [
        Leaf(path, "wrong", cause="structure", explanation=said)
        for path, said in aligned.extra.items()
    ]
    return Report(
        tuple(leaves),
        (*aligned.general, *audit.faults, *audit_value(value, bench)),
        (*bench.notes, *audit.notes, *notes),
        bench.judge,
    )


def _leaf(
    question: Question,
    i: int,
    evidence: dict[str, Evidence],
    findings: dict[str, Finding],
    blamed: tuple[str, ...],
) -> Leaf:
    split = question.split
    path, parameter = split.paths[i], split.leaves[i]
    if i not in split.floating:
        return Leaf(path, "not differentiable", dtype=type(parameter).__name__)
    form = {"shape": np.shape(parameter), "dtype": str(dtype_of(parameter))}
    found = findings.get(path)
    if path not in evidence or evidence[path].misshapen:
        assert found is not None
        return Leaf(
            path, "wrong", cause=found.cause, explanation=found.explanation, **form
        )
    if evidence[path].truth.size == 0:
        return Leaf(path, "untested", explanation="untested: it is empty.", **form)
    leaf = _figures(Leaf(path, "right", **form), evidence[path])
    if path in blamed:
        said = "untested: the loss is at fault here, so there is no truth to compare."
        return replace(leaf, verdict="untested", explanation=said)
    if found is not None:
        return replace(
            leaf, verdict="wrong", cause=found.cause, explanation=found.explanation
        )
    if evidence[path].blind:
        said = _untested(evidence[path], leaf.floor)
        return replace(leaf, verdict="untested", explanation=said)
    return leaf


def _figures(leaf: Leaf, found: Evidence) -> Leaf:
    """Fill in the numbers of the table."""
    size, norm = rms(found.truth), rms(found.candidate)
    with np.errstate(all="ignore"):
        scale = projection(found.candidate, found.truth)
        return replace(
            leaf,
            relative_error=_over(rms(found.residual), size),
            floor=_over(found.floor.rms, size),
            excess=found.excess,
            scale=scale if size > 0 else float("nan"),
            cosine=scale * size / norm if norm > 0 and size > 0 else float("nan"),
            worst_index=found.worst_index,
            got=float(found.candidate[found.worst_index]),
            expected=float(found.truth[found.worst_index]),
        )


def _over(error: float, size: float) -> float:
    if size > 0:
        return error / size
    return 0.0 if error == 0 else float("inf")


def _untested(found: Evidence, floor: float) -> str:
    if not found.truth.any():
        return "untested: the true gradient is zero here, so nothing was compared."
    share = f"{floor:.1g} of this gradient"
    return f"untested: in {found.dtype} rounding alone may do {share}."
