"""The other ways to check a gradient, each at its defaults, for the scoreboard.

A rival takes a problem, a gradient and the dtype's name, and returns whether it
rejected the gradient and the seconds that this took; or None where it does not apply.
"""

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.test_util
import numpy as np
from common import timed
from jax.flatten_util import ravel_pytree

from handgrad.planted_bugs import Problem
from handgrad.planted_bugs.backward import loss


class Outcome(NamedTuple):
    """What a rival said of one gradient."""

    rejected: bool
    seconds: float
    raised: str = ""  # the exception's name, where there was one


_loss = partial(jax.jit, static_argnums=0)(loss)


@partial(jax.jit, static_argnums=(0, 1))
def _loss_of_vector(h: Any, unravel: Any, vector: Any, *args: Any) -> jax.Array:
    """The loss of raveled parameters, compiled once for a network."""
    return loss(h, unravel(vector), *args)


VERDICTS = ("", "AssertionError", "GradcheckError")
"""What a rival may raise on a right gradient; all else is a rival that cannot run."""


def _rejected(work: Callable[[], Any]) -> Outcome:
    """Whether a check raised: a verdict, or JAX's own complaint about a shape."""

    def attempt() -> str:
        try:
            work()
        except (AssertionError, TypeError, ValueError, RuntimeError) as error:
            return type(error).__name__
        return ""

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raised, seconds = timed(attempt)
    return Outcome(bool(raised), seconds, raised)


def _planted(point: Problem, gradient: Callable[..., Any]) -> Callable[[Any], Any]:
    """The loss as a function of the parameters, with ``gradient`` for its rule."""
    function = jax.custom_vjp(lambda params: _loss(point.h, params, *point.args))

    def backward(params: Any, cotangent: Any) -> tuple[Any]:
        found = gradient(params, *point.args)
        return (jax.tree.map(lambda g: g * cotangent.astype(g.dtype), found),)

    function.defvjp(lambda params: (function(params), params), backward)
    return function


def check_grads(point: Problem, gradient: Callable[..., Any], dtype: str) -> Outcome:
    """jax.test_util.check_grads, first order, reverse mode."""
    function = _planted(point, gradient)
    return _rejected(
        lambda: jax.test_util.check_grads(
            function, (point.params,), order=1, modes=["rev"]
        )
    )


def chex_check(point: Problem, gradient: Callable[..., Any], dtype: str) -> Outcome:
    """chex.assert_numerical_grads; it needs an array, so the parameters are raveled.

    In reverse mode, the one that a `jax.custom_vjp` has.
    """
    function = _planted(point, gradient)
    flat, unravel = ravel_pytree(point.params)
    return _rejected(
        lambda: chex.assert_numerical_grads(
            lambda f: function(unravel(f)), (flat,), 1, modes=["rev"]
        )
    )


def allclose(point: Problem, gradient: Callable[..., Any], dtype: str) -> Outcome:
    """np.allclose, rtol 1e-5 and its default atol, against jax.grad in the dtype."""

    def compare() -> None:
        right = jax.grad(lambda p: loss(point.h, p, *point.args))(point.params)
        came = gradient(point.params, *point.args)
        pairs = zip(jax.tree.leaves(came), jax.tree.leaves(right), strict=True)
        for mine, theirs in pairs:
            a, b = (np.asarray(leaf).astype(np.float64) for leaf in (mine, theirs))
            assert a.shape == b.shape
            assert np.allclose(a, b, rtol=1e-5)

    return _rejected(compare)


def torch_check(
    point: Problem, gradient: Callable[..., Any], dtype: str
) -> Outcome | None:
    """torch.autograd.gradcheck, which is for float64."""
    if dtype != "float64" or importlib.util.find_spec("torch") is None:
        return None
    torch: Any = importlib.import_module("torch")

    flat, unravel = ravel_pytree(point.params)

    class Planted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, vector):
            ctx.save_for_backward(vector)
            value = _loss_of_vector(
                point.h, unravel, vector.detach().numpy(), *point.args
            )
            return torch.tensor(float(value), dtype=torch.float64)

        @staticmethod
        def backward(ctx, *cotangents):
            (vector,) = ctx.saved_tensors
            found = gradient(unravel(vector.detach().numpy()), *point.args)
            return cotangents[0] * torch.tensor(np.array(ravel_pytree(found)[0]))

    start = torch.tensor(np.array(flat), requires_grad=True)
    return _rejected(lambda: torch.autograd.gradcheck(Planted.apply, (start,)))


RIVALS: dict[str, Callable[..., Outcome | None]] = {
    "check_grads": check_grads,
    "chex": chex_check,
    "torch gradcheck": torch_check,
    "allclose 1e-5": allclose,
}
