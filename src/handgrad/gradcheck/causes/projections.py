"""The cause `projection`: a part along something known, line by line, or everywhere.

A norm, a softmax or a constraint takes a part out of the gradient: along its argument,
its output or the ones, with another share c_l in every line l. Forgotten, or left in
twice, it shows as

    P1  candidate = truth + c_l p_l,    p an argument, the output, the ones, ...

c_l is fitted, and holds if nothing more than rounding is left of the line. An array of
the problem is met by no chance. The ones are: a constant that is added is everywhere
the same, and no projection. So for them c_l must vary, and the truth itself must have
no part along p, as what was taken out of it.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from handgrad.gradcheck.causes.claims import CONFIRMED, Claim, Mismatch, explains_most
from handgrad.gradcheck.comparison import Comparison
from handgrad.gradcheck.reference.norms import finite, rms

ALL = None
"""In the place of an axis: one share for the whole leaf."""

TAKEN_OUT = 0.05
"""The share of the truth that may lie along what was taken out of it: the epsilon of a
norm leaves some."""

ALIKE = 0.05
"""Shares that vary by no more than this, relative to their size, are one constant."""


class Direction(NamedTuple):
    """What may have been left in.

    Attributes:
      name: for people.
      arrays: p of P1; of two, the second has no part along the first, in any line.
      known: whether it is an array of the problem, and not only made of the ones.
    """

    name: str
    arrays: tuple[np.ndarray, ...]
    known: bool


def projection_left(mismatch: Mismatch) -> Iterator[Claim]:
    """A part along the parameter, the output, an argument or the ones."""
    texts = {}
    for leaf in mismatch.unexplained:
        axes: list[int | None] = [ALL, -1, 0] if leaf.truth.ndim > 1 else [ALL]
        found = (
            sentence(axis, leaf, direction.name)
            for axis in axes
            for direction in _directions(mismatch, leaf, axis)
            if _holds(leaf, direction, axis)
        )
        if (text := next(found, None)) is not None:
            texts[leaf.path] = text
    if texts:
        yield Claim("projection", texts)


def _directions(
    mismatch: Mismatch, leaf: Comparison, axis: int | None
) -> Iterator[Direction]:
    """The simpler first."""
    for name, array in related(mismatch, leaf).items():
        yield Direction(name, (array,), known=True)
    if axis is ALL and (leaf.truth.ndim != 1 or not mismatch.check.product):
        return
    ones = np.ones(leaf.truth.shape)
    yield Direction("the ones", (ones,), known=False)
    if mismatch.check.product:
        centred = leaf.parameter - np.mean(leaf.parameter, axis=axis, keepdims=True)
        yield Direction("the argument less its mean", (centred,), known=False)
        yield Direction("the ones and the argument", (ones, centred), known=False)


def related(mismatch: Mismatch, leaf: Comparison) -> Mapping[str, np.ndarray]:
    """Arrays of a leaf's shape that a part of its gradient may point along."""
    shape, found = leaf.truth.shape, {}
    if mismatch.check.product:
        found["the argument"] = leaf.parameter
    for name, value in mismatch.others.items():
        if value.shape == shape and not name.startswith("cotangent"):
            found[name] = finite(value)
    for path, other in mismatch.leaves.items():
        if path != leaf.path and other.parameter.shape == shape:
            found[path] = other.parameter
    return {name: p for name, p in found.items() if not _constant(p)}


def _constant(values: np.ndarray) -> bool:
    return bool(np.all(values == values.ravel()[:1]))


def _holds(leaf: Comparison, direction: Direction, axis: int | None) -> bool:
    """P1; and for the ones that it is a projection at all."""
    length = leaf.truth.size if axis is None else leaf.truth.shape[axis]
    if length < CONFIRMED * len(direction.arrays):
        return False
    if not np.isfinite(leaf.candidate).all():
        return False
    shares = [_shares(leaf.residual, p, axis) for p in direction.arrays]
    found = sum(c * p for c, p in zip(shares, direction.arrays, strict=True))
    prediction = leaf.truth + found
    if not leaf.explained_by(prediction) or not explains_most(leaf, prediction):
        return False
    return direction.known or all(
        _taken_out(leaf.truth, p, axis) and (axis is ALL or np.std(c) > ALIKE * rms(c))
        for c, p in zip(shares, direction.arrays, strict=True)
    )


def _taken_out(truth: np.ndarray, p: np.ndarray, axis: int | None) -> bool:
    """Whether the truth has hardly a part along p."""
    return rms(_shares(truth, p, axis) * p) <= TAKEN_OUT * rms(truth)


def _shares(values: np.ndarray, p: np.ndarray, axis: int | None) -> np.ndarray:
    """c_l of P1 by least squares; 0 where p is."""
    peak = np.max(np.abs(p), axis=axis, keepdims=True)
    unit = np.divide(p, peak, np.zeros_like(p * 1.0), where=peak > 0)
    square = np.sum(np.abs(unit) ** 2, axis=axis, keepdims=True) * peak
    inner = np.sum(np.conj(unit) * values, axis=axis, keepdims=True)
    # mutants: zeros of its kind
    return np.divide(inner, square, np.zeros_like(inner * 1.0), where=square > 0)


def sentence(axis: int | None, leaf: Comparison, name: str) -> str:
    """What is wrong with a leaf, in words: along ``name``, line by line of the axis."""
    lines = {None: "", -1: "in every row ", 0: "in every column "}[axis]
    if leaf.truth.ndim > 2 and axis is not None:
        lines = f"along axis {axis % leaf.truth.ndim} "
    return (
        f"What is wrong lies {lines}along {name}: a projection that is forgotten, or "
        "counted twice, as that of a norm or a softmax, or a part that does not belong "
        "here."
    )
