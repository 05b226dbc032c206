"""How far a right gradient may be from the truth: the rounding floor of a leaf.

Nothing here is tuned to a network. What autodiff itself loses in the working dtype
is measured, and a hand-written gradient is allowed `SAFETY` times as much:

    T1  a_0 = g_w(theta, x) - g,   a_j = g_w(theta_j, x_j) - g,  j = 1, 2

where g is the gradient in float64, g_w autodiff in the working dtype, and theta_j and
x_j differ from theta and x by half a unit in the last place, root mean square, in
random directions: a backward stable algorithm may lose that much (Higham 2002,
"Accuracy and Stability of Numerical Algorithms", section 1.5). Where the working dtype
is float64, nothing wider is there to tell; then

    T1' a_0 as above,   a_j = g_j - g,  j = 1, 2, 3

where g_j is the gradient in random rounding (`rounding`). With u the unit
roundoff and rms the root mean square over the n entries of a leaf,

    T2  floor_rms = SAFETY c_n max( max_j rms(a_j),   t rms(g) )
    T3  floor_max = SAFETY c_n max( max_j max|a_j|,   t max|g| )
    T4  t = max(u, median over leaves of max_j rms(a_j) / rms(g))

T2 bounds the residual r = candidate - g as a whole, T3 its largest entry, so that one
wrong entry in 100,000 is seen. T4 lends a leaf of few entries, whose a_j may be small
by luck, the loss that is usual in this network.

Rounding is incoherent, algebra is not: along a fixed direction p (g itself, or the
parameter) rounding almost cancels. So the projections are bounded as well, by what
autodiff's own residuals project to and what incoherent noise of floor_rms would:

    T5  |<r, p>| / <p, p>  <=  max( PROJECTED c_n max_j |<a_j, p>| / <p, p>,
                                    PROJECTED (floor_rms / SAFETY) / (rms(p) sqrt(n)),
                                    SHARED u rms(g) / rms(p) )

A small structured error (the projection that a norm takes out, forgotten) points along
g or theta in every row, each time by another share, which cancels over the leaf. So
where a leaf has two axes or more, its lines l (along the last axis, and along the
first) are projected one by one, and the root mean square over them is bounded:

    T5' rms_l |<r_l, p_l>| / |p_l|  <=  max( SAFETY c_k max_j of the same of a_j,
                                             c_k floor_rms,
                                             SHARED u of the same of g )

for p = g, p = theta and p = 1, with k lines.

    T6  c_n = 1 + 3 / n^2

A loss that is estimated from three numbers may be estimated far too low by chance, and
so a leaf of one or two entries gets more room (`test_tolerance` has the odds).

The last term of T5: a scalar that every entry shares (a learning rate, 1/m) may itself
be rounded, and more than once.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from handgrad.gradcheck.reference.norms import largest, projection, rms

SAFETY = 5.0
"""How many times autodiff's own loss is still called rounding (docs/gradcheck.md)."""

PROJECTED = 10.0
"""The same for a projection, which is one number and so varies more than an rms."""

STRICT = 0.6
"""The share of the floor that an explanation may leave. Three times what autodiff lost
is ample for a right one, and a wrong hypothesis that comes near is better `unknown`."""

SHARED = 4.0
"""Roundings of one scalar that multiplies a whole leaf."""

PROBES = 2
"""Autodiff evaluations at inputs moved in the last place."""

DRAWS = 3
"""Evaluations in random rounding: two errors that cancel in one do not in all."""

LOSS_DRAWS = 8
"""The same of the loss alone, which is one number, and has no entries to go by."""


class Floor(NamedTuple):
    """The largest error of a leaf that is still rounding, in the gradient's units."""

    rms: float  # T2
    worst: float  # T3
    along_gradient: float  # T5 with p = g
    along_parameter: float  # T5 with p = theta
    lines: tuple[float, ...] = ()  # T5'

    def loosened(self, accuracy: float, truth: np.ndarray, parameter: Any) -> "Floor":
        """The floor of a rule that may be off by ``accuracy`` |g| by design."""
        size = rms(truth)
        off = accuracy * size

        def share(direction: np.ndarray) -> float:
            length = rms(direction)
            return off / length if 0 < length < np.inf else 0.0

        shares = [off * np.sqrt(n) for n in line_lengths(truth.shape)]
        return Floor(
            self.rms + off,
            self.worst + off * float(np.sqrt(max(truth.size, 1))),
            self.along_gradient + share(truth),
            self.along_parameter + share(parameter),
            tuple(a + b for a, b in zip(self.lines, 3 * shares, strict=True)),
        )


def line_lengths(shape: tuple[int, ...]) -> list[int]:
    """The lengths of the lines of T5': along the last axis, and along the first."""
    return [shape[-1], shape[0]] if len(shape) > 1 and 0 not in shape else []


def projected_lines(
    values: np.ndarray, truth: np.ndarray, parameter: np.ndarray
) -> tuple[float, ...]:
    """The left side of T5' for p = g, p = theta and p = 1."""
    directions = (truth, parameter, np.ones_like(truth, float))
    return tuple(x for p in directions for x in along_lines(values, p))


def along_lines(values: np.ndarray, direction: np.ndarray) -> tuple[float, ...]:
    """The left side of T5', for the last axis and for the first; () for a vector."""
    if values.ndim < 2 or values.size == 0:
        return ()
    return tuple(_along(values, direction, axis) for axis in (-1, 0))


def _along(values: np.ndarray, direction: np.ndarray, axis: int) -> float:
    peak, most = largest(direction), largest(values)
    if peak == 0 or most == 0 or not np.isfinite(peak * most):
        return 0.0
    unit = direction / peak
    lengths = np.sqrt(np.sum(np.abs(unit) ** 2, axis=axis))
    shares = np.abs(np.sum(np.conj(unit) * (values / most), axis=axis))
    return most * rms(
        np.divide(shares, lengths, np.zeros_like(lengths), where=lengths > 0)
    )


class Losses(NamedTuple):
    """What autodiff lost on one leaf: the largest of each figure over its probes."""

    rms: float
    worst: float
    along_gradient: float
    along_parameter: float
    lines: tuple[float, ...] = ()

    @classmethod
    def of(
        cls, truth: np.ndarray, parameter: np.ndarray, probes: Sequence[np.ndarray]
    ) -> "Losses":
        """Measure the probes a_j of T1; one that overflowed says nothing."""
        lost = [probe - truth for probe in probes if np.isfinite(probe).all()]
        lines = [
            projected_lines(a, truth, parameter)
            for a in (lost or [np.zeros_like(truth)])
        ]
        return cls(
            max((rms(a) for a in lost), default=0.0),
            max((largest(a) for a in lost), default=0.0),
            max((abs(projection(a, truth)) for a in lost), default=0.0),
            max((abs(projection(a, parameter)) for a in lost), default=0.0),
            tuple(map(max, zip(*lines, strict=True))),
        )


def typical(losses: Sequence[Losses], sizes: Sequence[float]) -> float:
    """The median of T4: the relative loss that is usual over the leaves.

    Args:
      losses: of every leaf.
      sizes: rms(g) of every leaf.
    """
    pairs = zip(losses, sizes, strict=True)
    relative = [loss.rms / size for loss, size in pairs if size > 0]
    return float(np.median(relative)) if relative else 0.0


def room(entries: int) -> float:
    """c_n of T6."""
    return 1 + 3 / max(entries, 1) ** 2


def floor_of(
    truth: np.ndarray, parameter: np.ndarray, lost: Losses, unit: float, usual: float
) -> Floor:
    """T2, T3 and T5 for one leaf.

    Args:
      truth: g, the gradient in float64.
      parameter: theta, of the same shape.
      lost: what autodiff lost on it.
      unit: u.
      usual: the median of T4.
    """
    usual = max(usual, unit)
    size, scale, more = rms(truth), rms(parameter), room(truth.size)
    whole = SAFETY * more * max(lost.rms, usual * size)
    noise = PROJECTED * whole / SAFETY / np.sqrt(max(truth.size, 1))

    ours = projected_lines(truth, truth, parameter)
    rooms = [room(truth.size // n) for n in line_lengths(truth.shape)] * 3
    lines = tuple(
        max(SAFETY * c * line, c * whole, SHARED * unit * own)
        for c, line, own in zip(rooms, lost.lines, ours, strict=True)
    )

    def along(projected: float, length: float) -> float:
        if not 0 < length < np.inf:  # mutants: norms are 0 or more, or NaN
            return np.inf
        lost_along = PROJECTED * more * projected
        return max(lost_along, noise / length, SHARED * unit * size / length)

    return Floor(
        rms=whole,
        worst=SAFETY * more * max(lost.worst, usual * largest(truth)),
        along_gradient=along(lost.along_gradient, size),
        along_parameter=along(lost.along_parameter, scale),
        lines=lines,
    )
