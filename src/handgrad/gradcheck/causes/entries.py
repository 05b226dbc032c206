"""Causes read off the entries: NaN and infinity, zeros, a single wrong entry."""

from collections.abc import Iterator

import numpy as np

from handgrad.gradcheck.causes.claims import Claim, Mismatch, listed
from handgrad.gradcheck.comparison import Comparison


def nonfinite(mismatch: Mismatch) -> Iterator[Claim]:
    """NaN or infinity; the other entries may be right or not."""
    bad = {s.path: ~np.isfinite(s.candidate) for s in mismatch.unexplained}
    bad = {path: where for path, where in bad.items() if where.any()}
    if bad:
        first = next(iter(bad))
        yield Claim(
            "nonfinite",
            {
                path: f"{_count(where)} not finite, the first at {_index(where)}; the "
                f"first such leaf is {first}. The true gradient is finite: look for "
                "a division by a probability, or exp and log that overflow."
                for path, where in bad.items()
            },
        )


def _count(where: np.ndarray) -> str:
    n = int(where.sum())
    return f"{n} of {where.size} entries {'is' if n == 1 else 'are'}"


def _index(where: np.ndarray) -> list[int]:
    return [int(i) for i in np.argwhere(where)[0]]


def zero(mismatch: Mismatch) -> Iterator[Claim]:
    """Zero where the gradient is not: the whole leaf, or some rows or columns."""
    leaves = mismatch.unexplained
    whole = [s.path for s in leaves if not s.candidate.any() and s.truth.any()]
    if whole:
        text = "The leaf is zero: nothing is carried back to it, or it is forgotten."
        yield Claim.same("zero", whole, text)
    for axis, name in ((0, "row"), (1, "column")):
        texts = {s.path: _zero_lines(s, axis, name) for s in leaves}
        texts = {path: text for path, text in texts.items() if text}
        if texts:
            yield Claim("zero", texts)


def _zero_lines(leaf: Comparison, axis: int, name: str) -> str:
    """A sentence if lines along ``axis`` are exactly zero and all else is right."""
    if leaf.truth.ndim < 2 or not leaf.candidate.any():
        return ""
    others = tuple(i for i in range(leaf.truth.ndim) if i != axis)
    empty = ~leaf.candidate.any(axis=others) & leaf.truth.any(axis=others)
    if not empty.any():
        return ""
    prediction = np.where(np.expand_dims(empty, others), 0.0, leaf.truth)
    if not leaf.explained_by(prediction):
        return ""
    return (
        f"{listed(name, np.flatnonzero(empty))} of {empty.size} zero, the rest right."
    )


def one_entry(mismatch: Mismatch) -> Iterator[Claim]:
    """All entries right but one."""
    texts = {}
    for s in mismatch.unexplained:
        if s.truth.size < 2:
            continue
        prediction = s.truth.copy()
        prediction[s.worst_index] = s.candidate[s.worst_index]
        if s.explained_by(prediction):
            texts[s.path] = (
                f"Only entry {list(s.worst_index)} is wrong: "
                f"{s.candidate[s.worst_index]:.6g} where "
                f"{s.truth[s.worst_index]:.6g} must be."
            )
    if texts:
        yield Claim("one_entry", texts)


def where_wrong(leaf: Comparison) -> str:
    """The entry furthest off, and the lines that hold all that is wrong."""
    off = np.abs(leaf.residual) > leaf.floor.worst
    text = f"The largest difference is at {list(leaf.worst_index)}."
    if leaf.truth.ndim != 2 or not off.any():
        return text
    for axis, name in ((0, "row"), (1, "column")):
        lines = np.flatnonzero(off.any(axis=1 - axis))
        if len(lines) <= leaf.truth.shape[axis] / 2:
            return f"{text} All that is wrong lies in {listed(name, lines)}."
    return text
