"""What is wrong with a gradient that is wrong: hypotheses in order of parsimony.

They are asked in stages, the dearer ones only while a leaf is unexplained:

    1  from the numbers                        nothing more is evaluated
    2  from other arguments                    one gradient in float64 for each argument
    3  from the samples                        one gradient of one sample, m times
    4  from what it points along               nothing, or the output of a rule
    5  from points beside, if there is a kink  up to two checks
    6  from what rounding leaves behind        nothing
    7  from a catalogue, if one is given       one gradient for each entry
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from handgrad.gradcheck.causes import entries, factors, parts
from handgrad.gradcheck.causes.arguments import label_smoothing, stale, weights_ignored
from handgrad.gradcheck.causes.catalogue import known_variant
from handgrad.gradcheck.causes.claims import Claim, Finding, Mismatch, cover
from handgrad.gradcheck.causes.kink import kink
from handgrad.gradcheck.causes.precision import low_precision
from handgrad.gradcheck.causes.projections import projection_left
from handgrad.gradcheck.causes.samples import samples_dropped
from handgrad.gradcheck.check import Check
from handgrad.gradcheck.comparison import Comparison
from handgrad.gradcheck.structure import Aligned

Hypothesis = Callable[[Mismatch], Iterator[Claim]]

STAGES: tuple[tuple[Hypothesis, ...], ...] = (
    (
        entries.nonfinite,
        entries.zero,
        parts.zero_part,
        parts.straight_through,
        factors.sign,
        factors.conjugate,
        entries.transposed,
        entries.exchanged,
        factors.named_scale,
        entries.one_entry,
        parts.reduced,
        entries.permuted,
        factors.free_scale,
        parts.averaged,
        parts.overwritten,
        parts.scale_of_part,
        factors.weight_decay,
    ),
    (stale, weights_ignored, label_smoothing),
    (samples_dropped,),
    (projection_left,),
)

OF_A_PRODUCT: tuple[tuple[Hypothesis, ...], ...] = (
    STAGES[0],
    (stale,),
    (projection_left,),
)
"""The stages for a vector-Jacobian product, which has no samples and no targets."""


def diagnose(
    check: Check,
    aligned: Aligned,
    leaves: Mapping[str, Comparison],
    *,
    kinks: bool,
) -> tuple[dict[str, Finding], list[str]]:
    """A finding for every leaf that is wrong, and notes on the whole.

    Args:
      check: loss, gradient and point.
      aligned: what is wrong with the form of the gradient.
      leaves: every leaf that has values, compared, by path, in order.
      kinks: whether the loss has a kink at this point.

    Returns:
      path -> finding, `unknown` where nothing explains the leaf; and notes.
    """
    wrong = [path for path, leaf in leaves.items() if leaf.wrong]
    form = {path: Finding("structure", text) for path, text in aligned.findings.items()}
    if not wrong:
        return form, []
    mismatch = Mismatch(check, leaves, wrong)
    found = explain(mismatch, _stages(mismatch, kinks))
    shapes = {
        p: f for p, f in form.items() if p not in found or not _misshapen(leaves, p)
    }
    unknown = {
        path: Finding("unknown", _whereabouts(leaves[path]))
        for path in wrong
        if path not in found and (path not in shapes or not _misshapen(leaves, path))
    }
    known = {**found, **unknown}
    both = {
        path: _with_form(known[path], text)
        for path, text in aligned.findings.items()
        if path in wrong and not _misshapen(leaves, path)
    }
    notes = [] if check.product else _position(leaves, wrong)
    return {**found, **shapes, **unknown, **both}, notes


def _with_form(found: Finding, form: str) -> Finding:
    """What is wrong with the numbers, and the dtype too; the dtype if nothing else.

    Another dtype makes numbers wrong by itself.
    """
    if found.cause in ("low_precision", "unknown"):
        return Finding("structure", form)
    return Finding(found.cause, f"{found.explanation} {form}")


def explain(
    mismatch: Mismatch, stages: Sequence[Sequence[Hypothesis]]
) -> dict[str, Finding]:
    """Ask stage by stage until every wrong leaf has a finding."""
    claims: list[Claim] = []
    findings: dict[str, Finding] = {}
    for stage in stages:
        claims += [claim for hypothesis in stage for claim in hypothesis(mismatch)]
        findings = cover(claims, mismatch.wrong)
        if len(findings) == len(mismatch.wrong):  # mutants: only wrong leaves have one
            break
    return findings


def _stages(mismatch: Mismatch, kinks: bool) -> list[tuple[Hypothesis, ...]]:
    stages = list(OF_A_PRODUCT if mismatch.check.product else STAGES)
    if kinks:
        stages.append((kink,))
    stages.append((low_precision,))
    if mismatch.check.catalogue:
        stages.append((known_variant,))
    return stages


def _misshapen(leaves: Mapping[str, Comparison], path: str) -> bool:
    return path in leaves and leaves[path].misshapen


def _whereabouts(leaf: Comparison) -> str:
    """Where an unexplained leaf is wrong, as far as the numbers show it."""
    if leaf.misshapen:
        return "The shape is wrong."
    return f"The numbers do not tell the cause. {entries.where_wrong(leaf)}".rstrip()


def _position(leaves: Mapping[str, Comparison], wrong: Sequence[str]) -> list[str]:
    """A note where all leaves up to one are wrong and all after it right."""
    paths = list(leaves)
    n = len(wrong)
    # mutants: n is from 1 to len(paths)
    if 1 < n < len(paths) and list(wrong) == paths[:n]:
        last, first = paths[n - 1], paths[n]
        return [
            f"every leaf up to {last} is wrong and every one from {first} on right: if "
            "they stand in forward order, the error enters where the backward pass "
            f"goes from {first} to {last}."
        ]
    return []
