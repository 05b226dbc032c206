"""Where autodiff is no judge: at a kink, and where it is no derivative of the loss.

The one-sided derivatives of the loss decide, entry by entry (`reference.sides`). What
lies between two that differ is a convention. What agrees with two that are one is
right, whatever autodiff says. So a candidate is compared with the nearest number that
they admit.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from handgrad.gradcheck.check import Check
from handgrad.gradcheck.comparison import Comparison
from handgrad.gradcheck.reference.audit import Audit
from handgrad.gradcheck.reference.dtypes import unit_of
from handgrad.gradcheck.reference.norms import rms
from handgrad.gradcheck.reference.sides import Sides, sides_at, turns
from handgrad.gradcheck.reference.slope import Line
from handgrad.gradcheck.reference.tolerance import Losses, floor_of
from handgrad.gradcheck.report.results import Verdict

MOST = 2048
"""Entries of a leaf whose one-sided derivatives are worth four losses each."""


UNMEASURED = 8.0
"""Unit roundoffs that a rule may lose where there is no autodiff to measure it by."""


class Settled(NamedTuple):
    """What the one-sided derivatives decided.

    Attributes:
      leaves: every leaf to explain, compared; with another truth where autodiff has
        none.
      verdicts: path -> (verdict, sentence) of the leaves that are settled; what is
        wrong has the cause `kink`.
      notes: on the whole.
      excused: whether no candidate depends on what is wrong with autodiff.
    """

    leaves: Mapping[str, Comparison]
    verdicts: Mapping[str, tuple[Verdict, str]]
    notes: tuple[str, ...] = ()
    excused: bool = False


class Admitted(NamedTuple):
    """The numbers nearest to a candidate that the loss admits as its gradient.

    Attributes:
      nearest: of the leaf's shape.
      error: how far they may be off, root mean square over the entries measured.
      kinks: how many entries stand at one.
    """

    nearest: np.ndarray
    error: float
    kinks: int


def settle(
    check: Check, compared: Mapping[str, Comparison], line: Line, audit: Audit
) -> Settled:
    """Decide on the leaves that differ from autodiff where it may be no judge.

    Costs four evaluations of the loss for a leaf that is plainly wrong, and four for
    each entry, of `MOST` at most, where autodiff is no judge.
    """
    places = {path: i for i, path in enumerate(check.point.split.floating_paths)}
    leaves, verdicts = dict(compared), dict[str, tuple[Verdict, str]]()
    for path, leaf in compared.items():
        if leaf.misshapen or leaf.truth.size == 0:  # mutants: an empty one is right
            continue
        if path in audit.affected:
            found, verdict = _without_autodiff(leaf, line, places[path])
        elif leaf.wrong:
            found, verdict = leaf, _at_kink(leaf, line, places[path], check.strict)
        else:
            continue
        leaves[path] = found
        if verdict is not None:
            verdicts[path] = verdict
    said = {verdict for verdict, _ in verdicts.values()}
    notes = (_CONVENTION,) if "convention" in said else ()
    untested = {p for p, (verdict, _) in verdicts.items() if verdict == "untested"}
    excused = bool(audit.affected) and not untested & set(audit.affected)
    return Settled(leaves, verdicts, notes, excused)


_CONVENTION = (
    "at a kink any number between the one-sided derivatives of the loss is a gradient; "
    "strict=True holds it to the convention of jax.grad."
)


def _at_kink(
    leaf: Comparison, line: Line, place: int, strict: bool
) -> tuple[Verdict, str] | None:
    """The verdict on a leaf that is wrong at kinks alone, and admitted there."""
    off = np.argwhere(np.abs(leaf.residual) > leaf.floor.worst)
    if not np.isfinite(leaf.candidate).all() or not 0 < len(off) <= MOST:
        return None
    order = np.argsort([-np.abs(leaf.residual[tuple(i)]) for i in off], kind="stable")
    found = _admitted(leaf, line, place, off[order], kinks_alone=True)
    if found is None or _against(leaf, found).wrong:
        return None
    where = (
        f"{found.kinks} of {leaf.truth.size} entries stand at a kink of the loss, the "
        f"first at {list(map(int, off[0]))}, and lie between its one-sided derivatives"
    )
    if strict:
        return "wrong", f"{where}, but jax.grad has others there."
    return "convention", f"convention: {where}."


def _without_autodiff(
    leaf: Comparison, line: Line, place: int
) -> tuple[Comparison, tuple[Verdict, str] | None]:
    """A leaf beside what the loss admits; and its verdict, unless it is wrong."""
    unknown = ~np.isfinite(leaf.truth)
    entries = np.argwhere(unknown if unknown.any() else np.ones_like(unknown))
    if not leaf.wrong or (unknown & ~np.isfinite(leaf.candidate)).any():
        return leaf, ("untested", f"untested: {_FAULT}")
    if len(entries) > MOST:
        return leaf, ("untested", f"untested: {_LONG.format(len(entries))}")
    found = _admitted(leaf, line, place, entries)
    if found is None:
        return leaf, ("untested", f"untested: {_JUMP}")
    against = _against(leaf, found)
    if against.wrong:
        return against, None
    return against, ("convention", _AT_KINK) if found.kinks else ("right", _LOSS)


_FAULT = "the loss is at fault here, so there is no truth to compare."
_LONG = "autodiff is no judge here, and {} entries are too many for differences."
_JUMP = "autodiff is no judge here, and the loss jumps, so nothing was compared."
_AT_KINK = (
    "convention: autodiff is no judge here, and this lies between the one-sided "
    "derivatives at a kink of the loss."
)
_LOSS = "autodiff is no judge here: this agrees with differences of the loss itself."


def _admitted(
    leaf: Comparison,
    line: Line,
    place: int,
    entries: np.ndarray,
    *,
    kinks_alone: bool = False,
) -> Admitted | None:
    """What the loss admits at some entries; None where it jumps.

    Args:
      leaf: with the candidate.
      line: the loss.
      place: of the leaf among the floating ones.
      entries: their indices.
      kinks_alone: whether to stop, with None, at an entry that has no kink.
    """
    nearest, errors, kinks = leaf.truth.copy(), [], 0
    for index in map(tuple, entries):
        number, kinked = 0.0, False
        for turn, value in turns(leaf.candidate[index]):
            sides = sides_at(line, place, index, turn)
            if sides is None or (kinks_alone and not sides.kink and turn == 1):
                return None
            number += _clipped(sides, float(value)) * np.conj(turn)
            errors.append(sides.error)
            kinked |= sides.kink
        nearest[index], kinks = number, kinks + kinked
    return Admitted(nearest, rms(np.array(errors)), kinks)


def _clipped(sides: Sides, value: float) -> float:
    low, high = sorted((sides.left, sides.right))
    return float(np.clip(value, low, high)) if np.isfinite(value) else low


def _against(leaf: Comparison, found: Admitted) -> Comparison:
    """The leaf beside what is admitted; what differences cannot tell in its floor."""
    size, floor = rms(found.nearest), leaf.floor
    if not np.isfinite(leaf.truth).all():
        unit = unit_of(leaf.dtype)
        lost = Losses.of(found.nearest, leaf.parameter, [])
        floor = floor_of(found.nearest, leaf.parameter, lost, unit, UNMEASURED * unit)
    if found.error > 0:
        share = found.error / size if size > 0 else 1.0
        floor = floor.loosened(share, found.nearest, leaf.parameter)
        floor = floor._replace(
            rms=floor.rms + found.error, worst=floor.worst + found.error
        )
    return replace(leaf, truth=found.nearest, floor=floor)
