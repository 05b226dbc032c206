"""`check_gradients` and `assert_gradients`: is this gradient right, and if not, why."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from handgrad.gradcheck.check import Alternatives, Check, Variant, move
from handgrad.gradcheck.points import check_point
from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.report.report import Report, merge
from handgrad.gradcheck.trees import Tree


class GradientMismatch(AssertionError):
    """A gradient that is not the gradient of its loss. The message is the report.

    Attributes:
      report: the `Report`.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(f"\n{report}")
        self.report = report


def check_gradients(
    loss: Callable[..., Any],
    gradient: Callable[..., Any],
    params: Tree,
    *args: Any,
    trials: int = 1,
    key: jax.Array | None = None,
    alternatives: Alternatives | None = None,
    catalogue: Sequence[Variant] = (),
    accuracy: float = 0.0,
    strict: bool = False,
) -> Report:
    """Compare a gradient with autodiff in float64, leaf by leaf, and name what differs.

    The gradient is called as it is, in the dtype of ``params``. It is right if it
    differs from the truth by no more than rounding
    (`handgrad.gradcheck.reference.tolerance`).

    Args:
      loss: ``loss(params, *args)``, a real scalar; (scalar, aux) is understood.
      gradient: ``gradient(params, *args)``, dJ/dparams in the structure, shapes and
        dtypes of ``params``, or a pair (value, gradient) like `jax.value_and_grad`, or
        (gradient, aux). For complex parameters z = x + iy it is dJ/dx - i dJ/dy, as in
        JAX.
      params: any pytree; integer and static leaves are carried along.
      args: the other arguments. Floating arrays among them are cast to float64
        for the reference.
      trials: the number of points; the first is ``params``, the others lie beside it,
        which leaves special points, such as zero biases, behind.
      key: a PRNG key for the other points, needed if there are any.
      alternatives: name -> (params, *args), other points whose gradient may have been
        returned by mistake: yesterday's parameters, the previous batch.
      catalogue: known wrong gradients, for causes that the numbers do not tell.
      accuracy: how far the gradient may be off by design, relative to the norm of a
        leaf: that of an implicit solve, say. What is beyond it is wrong as ever.
      strict: whether a gradient that lies between the one-sided derivatives at a kink
        is wrong where jax.grad has another convention.

    Returns:
      The report; ``report.ok`` and ``print(report)``.

    Raises:
      TypeError: if the loss is no real scalar.
      ValueError: if trials is below 1, or above 1 without a key; if accuracy is no
        share.

    Example:
      >>> import jax.numpy as jnp
      >>> report = check_gradients(
      ...     lambda w: jnp.sum(w**2), lambda w: 3 * w, jnp.array([1.0, 2.0, 4.0, 5.0])
      ... )
      >>> report.ok, report.leaves[0].cause, round(report.leaves[0].scale, 3)
      (False, 'scale', 1.5)
    """
    check = Check(Point(loss, params, args), gradient)
    return check_often(
        check,
        trials=trials,
        key=key,
        alternatives=alternatives or {},
        catalogue=catalogue,
        accuracy=accuracy,
        strict=strict,
    )


def check_often(
    check: Check,
    *,
    trials: int = 1,
    key: jax.Array | None = None,
    again: Callable[[Check, int], Check] | None = None,
    **details: Any,
) -> Report:
    """Check at the point, and at others beside it.

    Args:
      check: the gradient, and the first point.
      trials, key: as in `check_gradients`.
      again: check, number of the trial -> the check with what else is drawn for it.
      details: the other fields of a `Check`.
    """
    _check(trials, key, details.get("accuracy", 0.0))
    check = check._replace(**details)
    reports = [check_point(check)]
    if key is not None and trials > 1:
        # mutants: any numbers that differ
        for trial, k in enumerate(jax.random.split(key, trials)[1:], start=1):
            moved = move(check, k)
            reports.append(check_point(again(moved, trial) if again else moved))
    return merge(reports)


def options_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that `check_gradients` takes, as those of `check_often`.

    Raises:
      TypeError: for one that there is not.
    """
    known = ("trials", "alternatives", "catalogue", "accuracy", "strict")
    for name in options:
        if name not in known:
            raise TypeError(
                f"`{name}` must be an option of check_gradients, one of "
                f"{', '.join(known)}. Remove it."
            )
    given = dict(options)
    given["alternatives"] = given.get("alternatives") or {}
    return given


def assert_gradients(
    loss: Callable[..., Any],
    gradient: Callable[..., Any],
    params: Tree,
    *args: Any,
    **options: Any,
) -> None:
    """Raise if `check_gradients` finds anything wrong, or nothing to test.

    Args:
      loss, gradient, params, args, options: as in `check_gradients`.

    Raises:
      GradientMismatch: with the report as its message.

    Warns:
      UserWarning: if some leaves could not be tested at this point.
    """
    report = check_gradients(loss, gradient, params, *args, **options)
    if not report.ok:
        raise GradientMismatch(report)
    if report.untested:
        names = ", ".join(leaf.path for leaf in report.untested)
        warnings.warn(
            f"gradient untested at {names}: the true gradient is zero or below "
            "rounding there. Check at another point, or with trials=3, key=...",
            stacklevel=2,
        )


def _check(trials: int, key: jax.Array | None, accuracy: float) -> None:
    if trials < 1:
        raise ValueError(f"`trials` must be 1 or more, got {trials}.")
    if trials > 1 and key is None:  # mutants: it is 1 or more
        raise ValueError(
            "`key` must be given for trials > 1, which draw points at random. "
            "Pass key=jax.random.key(0)."
        )
    if not 0 <= accuracy < 1:
        raise ValueError(
            f"`accuracy` must be a share of the gradient from 0 to below 1, got "
            f"{accuracy}. Pass the tolerance of the solve, such as 1e-6."
        )
