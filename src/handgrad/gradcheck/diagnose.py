"""What is wrong with a gradient that is wrong: hypotheses in order of parsimony.

They are asked in stages, the dearer ones only while a leaf is unexplained:

    1  from the numbers                        nothing more is evaluated
    2  from other arguments                    one gradient in float64 for each argument
    3  from the samples                        one gradient of one sample, m times
    4  from points beside, if there is a kink  up to two checks
    5  from what rounding leaves behind        nothing
    6  from a catalogue, if one is given       one gradient for each entry
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from handgrad.gradcheck import from_numbers as numbers
from handgrad.gradcheck.causes import Finding
from handgrad.gradcheck.claims import Case, Claim, cover
from handgrad.gradcheck.evidence import Evidence
from handgrad.gradcheck.from_arguments import label_smoothing, stale, weights_ignored
from handgrad.gradcheck.from_arrangement import exchanged, permuted, transposed
from handgrad.gradcheck.from_elsewhere import kink, known_variant
from handgrad.gradcheck.from_precision import low_precision
from handgrad.gradcheck.from_samples import samples_dropped
from handgrad.gradcheck.question import Question
from handgrad.gradcheck.structure import Aligned

Hypothesis = Callable[[Case], Iterator[Claim]]

STAGES: tuple[tuple[Hypothesis, ...], ...] = (
    (
        numbers.nonfinite,
        numbers.zero,
        numbers.sign,
        transposed,
        exchanged,
        numbers.named_scale,
        numbers.one_entry,
        permuted,
        numbers.free_scale,
        numbers.weight_decay,
    ),
    (stale, weights_ignored, label_smoothing),
    (samples_dropped,),
)


def diagnose(
    question: Question,
    aligned: Aligned,
    evidence: Mapping[str, Evidence],
    *,
    kinks: bool,
) -> tuple[dict[str, Finding], list[str]]:
    """A finding for every leaf that is wrong, and notes on the whole.

    Args:
      question: loss, gradient and point.
      aligned: what is wrong with the form of the gradient.
      evidence: of every leaf that has values, by path, in order.
      kinks: whether the loss has a kink at this point.

    Returns:
      path -> finding, `unknown` where nothing explains the leaf; and notes.
    """
    wrong = [path for path, leaf in evidence.items() if leaf.wrong]
    form = {path: Finding("structure", said) for path, said in aligned.findings.items()}
    if not wrong:
        return form, []
    case = Case(question, evidence, wrong)
    found = explain(case, _stages(case, kinks))
    shapes = {
        p: f for p, f in form.items() if p not in found or not _misshapen(case, p)
    }
    unknown = {
        path: Finding("unknown", _whereabouts(evidence[path]))
        for path in wrong
        if path not in found and path not in shapes
    }
    return {**found, **shapes, **unknown}, _position(evidence, wrong)


def explain(case: Case, stages: Sequence[Sequence[Hypothesis]]) -> dict[str, Finding]:
    """Ask stage by stage until every wrong leaf has a finding."""
    claims: list[Claim] = []
    findings: dict[str, Finding] = {}
    for stage in stages:
        claims += [claim for hypothesis in stage for claim in hypothesis(case)]
        findings = cover(claims, case.wrong)
        if len(findings) == len(case.wrong):
            break
    return findings


def _stages(case: Case, kinks: bool) -> list[tuple[Hypothesis, ...]]:
    stages = list(STAGES)
    if kinks:
        stages.append((kink,))
    stages.append((low_precision,))
    if case.question.catalogue:
        stages.append((known_variant,))
    return stages


def _misshapen(case: Case, path: str) -> bool:
    return path in case.evidence and case.evidence[path].misshapen


def _whereabouts(leaf: Evidence) -> str:
    """Where an unexplained leaf is wrong, as far as that is told."""
    if leaf.misshapen:
        return "The shape is wrong."
    said = numbers.where_wrong(leaf)
    return f"The numbers do not tell the cause. {said}".rstrip()


def _position(evidence: Mapping[str, Evidence], wrong: Sequence[str]) -> list[str]:
    """A note where all leaves up to one are wrong and all after it right."""
    paths = list(evidence)
    n = len(wrong)
    if 1 < n < len(paths) and list(wrong) == paths[:n]:
        last, first = paths[n - 1], paths[n]
        return [
            f"every leaf up to {last} is wrong and every one from {first} on right: if "
            "they stand in forward order, the error enters where the backward pass "
            f"goes from {first} to {last}."
        ]
    return []
