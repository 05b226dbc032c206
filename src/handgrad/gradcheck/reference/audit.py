"""The reference is checked too: does the loss change as its own gradient says it does?

Autodiff is right about a program, not about a function: a `stop_gradient`, a custom
rule or a kink makes the two differ. So the slope of the loss itself is measured
(`slope`) along random directions. A direction is scaled leaf by leaf, so that each leaf
is moved by the same share of its own size and all of them count.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from handgrad.gradcheck.randomness import normal, stream
from handgrad.gradcheck.reference.dtypes import unit_of
from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.reference.norms import finite, rms
from handgrad.gradcheck.reference.slope import MARGIN, Line
from handgrad.gradcheck.reference.truth import Reference
from handgrad.gradcheck.trees import Split

DIRECTIONS = 2
"""Random directions along which the slope of the loss is measured."""


class Audit(NamedTuple):
    """What the differences of the loss show.

    Attributes:
      faults: what is wrong with the loss.
      notes: what is no fault.
      affected: the paths of the leaves where its gradient is not its derivative.
      kink: whether it has a kink at this very point.
    """

    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    affected: tuple[str, ...] = ()
    kink: bool = False


def audit_loss(point: Point, reference: Reference, line: Line) -> Audit:
    """Compare the reference with differences of the loss; a kink here is no fault.

    Args:
      point: the loss, and where.
      reference: its value and gradient.
      line: the lines through the point.
    """
    truth, paths = reference.truth, point.split.paths
    if not np.isfinite(truth.value):
        fault = f"the loss is {truth.value} at this point, where no gradient is right."
        return Audit((fault,), affected=paths)
    bad = [not np.isfinite(g).all() for g in truth.gradient]
    if any(bad):
        pairs = zip(point.split.floating_paths, bad, strict=True)
        affected = tuple(path for path, there in pairs if there)
        unknown = all(np.isnan(g).all() for g in truth.gradient)
        where = "" if len(affected) == len(bad) else f", at {listed(affected)}"
        fault = (
            f"jax.grad of the loss in {reference.dtype} is not finite at this "
            f"point{where}."
        )
        return Audit(() if reference.unknown and unknown else (fault,), (), affected)
    directions = _directions(line.theta, DIRECTIONS)
    found = [line.contradicts(direction) for direction in directions]
    if any(off and not kink for off, kink in found):
        affected = _affected(point.split, line)
        return Audit((_fault(affected),), affected=affected)
    kink = any(kink for _, kink in found)
    return Audit(notes=(_KINK,) if kink else (), kink=kink)


_KINK = (
    "the loss has a kink at this very point (zero biases and blank inputs make them), "
    "where the gradient is a convention. Repeat with trials=2 to leave it."
)


def _directions(theta: Sequence[np.ndarray], count: int) -> Iterator[list[np.ndarray]]:
    """Normal, and as large as each leaf; a leaf of zeros is moved like the others.

    What is infinite stays where it is.
    """
    sizes = [rms(finite(leaf)) for leaf in theta]
    usual = max(sizes, default=0.0) or 1.0  # mutants: without leaves nothing is moved
    generator = stream("directions")
    for _ in range(count):
        yield [
            (size or usual) * np.where(np.isfinite(leaf), normal(generator, leaf), 0.0)
            for size, leaf in zip(sizes, theta, strict=True)
        ]


def _affected(split: Split, line: Line) -> tuple[str, ...]:
    """The leaves with which the loss changes otherwise than its gradient says."""
    affected = []
    directions = _directions(line.theta, len(line.theta))
    for k, (path, direction) in enumerate(
        zip(split.floating_paths, directions, strict=True)
    ):
        alone = [v if j == k else np.zeros_like(v) for j, v in enumerate(direction)]
        off, _ = line.contradicts(alone)
        if off:
            affected.append(path)
    return tuple(affected)


def _fault(affected: Sequence[str]) -> str:
    where = f" at {listed(affected)}" if affected else ""
    return (
        f"jax.grad of the loss is not its derivative{where}: finite differences "
        "in float64 disagree. Look in the loss for stop_gradient, a custom_vjp or "
        "custom_jvp, rounding, or a cast to integers."
    )


def listed(paths: Sequence[str], most: int = 6) -> str:
    """The first few of some paths, and how many more there are."""
    shown, rest = paths[:most], paths[most:]
    return ", ".join(shown) + (f" and {len(rest)} more" if rest else "")


VALUE = "the value that came with the gradient is "
"""How a fault begins that is one of the value beside a gradient."""

OUTPUT = "`fwd` must return the output of the function: <u, output> is "
"""The same of a vector-Jacobian product, whose value is made of the output."""


def audit_value(value: object, reference: Reference, begins: str = VALUE) -> list[str]:
    """Is the value beside the gradient the loss, up to rounding?

    Args:
      value: what came; None if nothing did.
      reference: with the true value.
      begins: how a fault is begun: `VALUE` or `OUTPUT`.
    """
    if value is None:
        return []
    given = float(np.asarray(value).astype(np.float64))
    truth = reference.truth.value
    unit = 2 * unit_of(reference.probes[0].dtype)
    lost = max(abs(probe.value - truth) for probe in reference.probes)
    if abs(given - truth) <= MARGIN * max(lost, unit * abs(truth)):
        return []
    return [f"{begins}{given:.6g}, not {truth:.6g}."]
