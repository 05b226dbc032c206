"""The judge is judged: does the loss change as its own gradient says it does?

Autodiff is right about a program, not about a function: a `stop_gradient`, a custom
rule or a kink makes the two differ. So the loss itself is asked, in float64, by
central differences along random directions v, with Richardson's extrapolation:

    A1  D(h) = (J(theta + h v) - J(theta - h v)) / 2h = <g, v> + O(h^2)
    A2  D = (4 D(h/2) - D(h)) / 3 = <g, v> + O(h^4),  error about |D(h/2) - D(h)| / 3
    A3  at a kink, |J(theta + h v) - 2 J(theta) + J(theta - h v)| / h does not shrink
    A4  where A2 contradicts the judge, a step h / `FINER` may contradict A2

A loss that turns faster than h resolves is acquitted by A4.

J itself is only known up to rounding, which is measured (`rounding.noise_of_loss`): a
loss that is the difference of large numbers is off by more than a unit of its own.

The direction is scaled leaf by leaf, so that each leaf is moved by the same share of
its own size and all are heard.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.bench import Bench
from handgrad.gradcheck.judge import Evaluated, float64, like, scalar, widen
from handgrad.gradcheck.question import Question
from handgrad.gradcheck.rounding import noise_of_loss
from handgrad.gradcheck.tolerance import largest, rms
from handgrad.gradcheck.trees import Split, to_numpy

DIRECTIONS = 2
"""Random directions along which the loss is asked."""

ROUNDINGS = 100.0
"""How many unit roundoffs of J its evaluation may be off by, at the least."""

MARGIN = 10.0
"""How many times its error estimate an extrapolated difference may be off."""

LASTING = 0.8
"""What A3 keeps at a kink when h is halved; where the loss is smooth it keeps half."""

FINER = 100.0
"""How many times shorter the steps are that may acquit a loss."""

SLIGHT = 1e-6
"""The share of the largest part of <g, v> that a bend must exceed to be a kink."""

Objective = Callable[[Sequence[np.ndarray]], float]


class Audit(NamedTuple):
    """What the loss itself had to say.

    Attributes:
      faults: what is wrong with the loss.
      notes: what is no fault.
      blamed: the paths of the leaves where its gradient is not its derivative.
      kink: whether it has a kink at this very point.
    """

    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    blamed: tuple[str, ...] = ()
    kink: bool = False


def audit_loss(question: Question, bench: Bench) -> Audit:
    """Compare the judge with differences of the loss; a kink here is no fault.

    Args:
      question: the loss and the point.
      bench: the judge's value and gradient.
    """
    truth = bench.truth
    if not np.isfinite(truth.value):
        said = f"the loss is {truth.value} at this point, where no gradient is right."
        return Audit((said,), blamed=question.split.paths)
    if not all(np.isfinite(g).all() for g in truth.gradient):
        said = f"jax.grad of the loss in {bench.judge} is not finite at this point."
        return Audit((said,), blamed=question.split.paths)
    asked = _Asked(
        _objective(question, bench.wide),
        truth,
        [to_numpy(leaf) for leaf in question.split.values],
        _lost(question, bench),
    )
    directions = _directions(asked.theta, DIRECTIONS)
    seen = [asked.disagrees(direction) for direction in directions]
    if any(off and not kink for off, kink in seen):
        blamed = _blame(question.split, asked)
        return Audit((_fault(blamed),), blamed=blamed)
    kink = any(kink for _, kink in seen)
    return Audit(notes=(_KINK,) if kink else (), kink=kink)


_KINK = (
    "the loss has a kink at this very point (zero biases and blank inputs make them), "
    "where the gradient is a convention. Repeat with trials=2 to leave it."
)


def _objective(question: Question, wide: bool) -> Objective:
    """The loss of the floating leaves, in the arithmetic of the judge."""
    split = question.split

    def objective(values: Sequence[np.ndarray]) -> float:
        if not wide:
            cast = [like(v, leaf) for v, leaf in zip(values, split.values, strict=True)]
            return float(scalar(question.loss(split.merge(cast), *question.args)))
        with float64():
            leaves = [jnp.asarray(value) for value in values]
            args = widen(list(question.args))
            return float(scalar(question.loss(split.merge(leaves), *args)))

    return objective


def _directions(theta: Sequence[np.ndarray], count: int) -> Iterator[list[np.ndarray]]:
    """Normal, and as large as each leaf; a leaf of zeros is moved like the others."""
    sizes = [rms(leaf) for leaf in theta]
    usual = max(sizes, default=0.0) or 1.0
    generator = np.random.default_rng(0)
    for _ in range(count):
        yield [
            (size or usual) * generator.standard_normal(leaf.shape)
            for size, leaf in zip(sizes, theta, strict=True)
        ]


def _lost(question: Question, bench: Bench) -> float:
    """How far J is from its true value by rounding, in the arithmetic of the judge."""
    truth = bench.truth
    if not bench.wide:
        return max(abs(probe.value - truth.value) for probe in bench.probes)
    point = question.loss, question.split, question.args
    try:
        return noise_of_loss(*point, truth.value)
    except Exception:  # it cannot be traced, and `ROUNDINGS` alone are what is known
        return 0.0


class _Slope(NamedTuple):
    """<g, v> by A2, how far it may be off, and whether A3 sees a kink."""

    measured: float
    tolerance: float
    kink: bool


@dataclass(frozen=True)
class _Asked:
    """A loss that can be asked along a line.

    Attributes:
      objective: J.
      truth: J and its gradient, as the judge has them.
      theta: the point.
      lost: how far rounding moves J.
    """

    objective: Objective
    truth: Evaluated
    theta: Sequence[np.ndarray]
    lost: float

    def disagrees(self, direction: Sequence[np.ndarray]) -> tuple[bool, bool]:
        """(whether the loss contradicts the judge, whether it has a kink)."""
        pairs = zip(self.truth.gradient, direction, strict=True)
        parts = np.array([np.sum(g * v) for g, v in pairs])
        claimed, size = float(np.sum(parts)), largest(parts)
        h = float(np.cbrt(jnp.finfo(self.truth.dtype).eps))
        slope = self._slope(direction, h, size)
        if abs(slope.measured - claimed) <= slope.tolerance:
            return False, slope.kink
        finer = self._slope(direction, h / FINER, size)
        apart = abs(finer.measured - slope.measured)
        if abs(finer.measured - claimed) <= finer.tolerance < apart:  # A4
            return False, finer.kink
        return True, slope.kink

    def _slope(self, direction: Sequence[np.ndarray], h: float, size: float) -> _Slope:
        """By steps h and h/2; ``size`` is the largest part of <g, v>."""
        unit, here = float(jnp.finfo(self.truth.dtype).eps), self.truth.value
        ahead, behind = self._along(direction, h), self._along(direction, -h)
        near_ahead = self._along(direction, h / 2)
        near_behind = self._along(direction, -h / 2)

        coarse, fine = (ahead - behind) / (2 * h), (near_ahead - near_behind) / h  # A1
        measured, error = (4 * fine - coarse) / 3, abs(fine - coarse) / 3  # A2
        bend = abs(ahead + behind - 2 * here) / h  # A3
        near_bend = abs(near_ahead + near_behind - 2 * here) / (h / 2)

        values = np.array([ahead, behind, near_ahead, near_behind])
        lost = max(MARGIN * self.lost, ROUNDINGS * unit * largest(values)) / h
        tolerance = MARGIN * error + lost + float(np.sqrt(unit)) * size
        kink = near_bend > max(LASTING * bend, lost + SLIGHT * size)
        return _Slope(measured, tolerance, kink)

    def _along(self, direction: Sequence[np.ndarray], h: float) -> float:
        """J(theta + h v)."""
        pairs = zip(self.theta, direction, strict=True)
        return self.objective([theta + h * v for theta, v in pairs])


def _blame(split: Split, asked: _Asked) -> tuple[str, ...]:
    """The leaves that the loss moves with otherwise than its gradient says."""
    blamed = []
    directions = _directions(asked.theta, len(asked.theta))
    for k, (i, direction) in enumerate(zip(split.floating, directions, strict=True)):
        alone = [v if j == k else np.zeros_like(v) for j, v in enumerate(direction)]
        off, _ = asked.disagrees(alone)
        if off:
            blamed.append(split.paths[i])
    return tuple(blamed)


def _fault(blamed: Sequence[str]) -> str:
    shown, rest = blamed[:6], blamed[6:]
    where = f" at {', '.join(shown)}" if shown else ""
    more = f" and {len(rest)} more" if rest else ""
    return (
        f"jax.grad of the loss is not its derivative{where}{more}: finite differences "
        "in float64 disagree. Look in the loss for stop_gradient, a custom_vjp or "
        "custom_jvp, rounding, or a cast to integers."
    )


def audit_value(value: object, bench: Bench) -> list[str]:
    """Is the value that came with the gradient the loss, up to rounding?"""
    if value is None:
        return []
    came, truth = float(np.asarray(value).astype(np.float64)), bench.truth.value
    unit = float(jnp.finfo(bench.probes[0].dtype).eps)
    lost = max(abs(probe.value - truth) for probe in bench.probes)
    if abs(came - truth) <= MARGIN * max(lost, unit * abs(truth)):
        return []
    return [f"the value that came with the gradient is {came:.6g}, not {truth:.6g}."]
