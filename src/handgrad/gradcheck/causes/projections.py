"""The cause `projection`: a part along something known, line by line, or everywhere.

A norm, a softmax or a constraint takes a part out of the gradient: along its argument,
its output or the ones, with another share c_l in every line l. Forgotten, or left in
twice, it shows as

    P1  candidate = truth + c_l p_l,    p the parameter, the output, the ones, ...

c_l is fitted, and holds if nothing more than rounding is left of the line.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from handgrad.gradcheck.causes.claims import CONFIRMED, Claim, Mismatch, explains_most
from handgrad.gradcheck.comparison import Comparison
from handgrad.gradcheck.reference.tolerance import finite

ALL = None
"""In the place of an axis: one share for the whole leaf."""


def projection_left(mismatch: Mismatch) -> Iterator[Claim]:
    """A part along the parameter, the output, an argument or the ones."""
    texts = {}
    for leaf in mismatch.unexplained:
        for axis, name, direction in _directions(mismatch, leaf):
            found = _part(leaf, direction, axis)
            if found is None or not leaf.explained_by(leaf.truth + found):
                continue
            if explains_most(leaf, leaf.truth + found):
                texts[leaf.path] = _sentence(axis, leaf, name)
                break
    if texts:
        yield Claim("projection", texts)


def _directions(
    mismatch: Mismatch, leaf: Comparison
) -> Iterator[tuple[int | None, str, np.ndarray]]:
    """(axis, name, p) of P1; the simpler first."""
    known = related(mismatch, leaf)
    axes: list[int | None] = [ALL, -1, 0] if leaf.truth.ndim > 1 else [ALL]
    for axis in axes:
        for name, direction in known.items():
            yield axis, name, direction


def related(mismatch: Mismatch, leaf: Comparison) -> Mapping[str, np.ndarray]:
    """Arrays of a leaf's shape that a part of its gradient may point along."""
    shape = leaf.truth.shape
    found = {"the ones": np.ones(shape)}
    if mismatch.check.product:
        found = {"the argument": leaf.parameter, **found}
    for name, value in mismatch.others.items():
        if value.shape == shape:
            found[name] = finite(value)
    for path, other in mismatch.leaves.items():
        if path != leaf.path and other.parameter.shape == shape:
            found[path] = other.parameter
    return found


def _part(
    leaf: Comparison, direction: np.ndarray, axis: int | None
) -> np.ndarray | None:
    """c_l p_l by least squares; None where a line is too short to confirm its share."""
    length = leaf.truth.size if axis is None else leaf.truth.shape[axis]
    if length < CONFIRMED or not np.isfinite(leaf.candidate).all():
        return None
    peak = np.max(np.abs(direction), axis=axis, keepdims=True)
    unit = np.divide(direction, peak, np.zeros_like(direction * 1.0), where=peak > 0)
    square = np.sum(np.abs(unit) ** 2, axis=axis, keepdims=True)
    inner = np.sum(np.conj(unit) * leaf.residual, axis=axis, keepdims=True)
    return unit * np.divide(inner, square, np.zeros_like(inner), where=square > 0)


def _sentence(axis: int | None, leaf: Comparison, name: str) -> str:
    lines = {None: "", -1: "in every row ", 0: "in every column "}[axis]
    if leaf.truth.ndim > 2 and axis is not None:
        lines = f"along axis {axis % leaf.truth.ndim} "
    return (
        f"What is wrong lies {lines}along {name}: a projection that is forgotten, or "
        "counted twice, as that of a norm or a softmax."
    )
