"""The reference is checked too: does the loss change as its own gradient says it does?

Autodiff is right about a program, not about a function: a `stop_gradient`, a custom
rule or a kink makes the two differ. So the slope of the loss itself is measured
(`slope`) along random directions. A direction is scaled leaf by leaf, so that each leaf
is moved by the same share of its own size and all of them count.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.reference.slope import MARGIN, Line, line_at
from handgrad.gradcheck.reference.tolerance import rms
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


def audit_loss(point: Point, reference: Reference) -> Audit:
    """Compare the reference with differences of the loss; a kink here is no fault.

    Args:
      point: the loss, and where.
      reference: its value and gradient.
    """
    truth, paths = reference.truth, point.split.paths
    if not np.isfinite(truth.value):
        fault = f"the loss is {truth.value} at this point, where no gradient is right."
        return Audit((fault,), affected=paths)
    if not all(np.isfinite(g).all() for g in truth.gradient):
        fault = (
            f"jax.grad of the loss in {reference.dtype} is not finite at this point."
        )
        return Audit((fault,), affected=paths)
    line = line_at(point, reference)
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
    """Normal, and as large as each leaf; a leaf of zeros is moved like the others."""
    sizes = [rms(leaf) for leaf in theta]
    usual = max(sizes, default=0.0) or 1.0  # mutants: without leaves nothing is moved
    generator = np.random.default_rng(0)
    for _ in range(count):
        yield [
            (size or usual) * generator.standard_normal(leaf.shape)
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
    shown, rest = affected[:6], affected[6:]
    where = f" at {', '.join(shown)}" if shown else ""
    more = f" and {len(rest)} more" if rest else ""
    return (
        f"jax.grad of the loss is not its derivative{where}{more}: finite differences "
        "in float64 disagree. Look in the loss for stop_gradient, a custom_vjp or "
        "custom_jvp, rounding, or a cast to integers."
    )


def audit_value(value: object, reference: Reference) -> list[str]:
    """Is the value beside the gradient the loss, up to rounding?"""
    if value is None:
        return []
    given = float(np.asarray(value).astype(np.float64))
    truth = reference.truth.value
    # mutants: all are of one dtype
    unit = float(jnp.finfo(reference.probes[0].dtype).eps)
    lost = max(abs(probe.value - truth) for probe in reference.probes)
    if abs(given - truth) <= MARGIN * max(lost, unit * abs(truth)):
        return []
    return [f"the value that came with the gradient is {given:.6g}, not {truth:.6g}."]
