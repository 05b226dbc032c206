"""A small problem whose gradient is known by hand, and ways to spoil it.

Softmax regression, J = sum_i w_i l_i / sum_i w_i, with the leaves ['bias'] (4,) and
['weight'] (6, 4). It shares no code with handgrad.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad import Report, check_gradients
from handgrad.gradcheck import Leaf
from handgrad.gradcheck.causes.claims import Mismatch
from handgrad.gradcheck.causes.diagnose import Hypothesis
from handgrad.gradcheck.check import Check
from handgrad.gradcheck.comparison import Comparison
from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.reference.tolerance import Floor

M, N, C = 16, 6, 4
BIAS, WEIGHT = "['bias']", "['weight']"

Params = dict[str, jax.Array]
Change = Callable[[jax.Array], Any]


def point(dtype: Any = jnp.float32) -> tuple[Params, jax.Array, jax.Array]:
    """Parameters, inputs and labels."""
    random = np.random.default_rng(0)
    params = {
        "bias": jnp.asarray(0.3 * random.standard_normal(C), dtype),
        "weight": jnp.asarray(random.standard_normal((N, C)), dtype),
    }
    x = jnp.asarray(random.standard_normal((M, N)), dtype)
    return params, x, jnp.asarray(random.integers(0, C, M))


def sample_weights(dtype: Any = jnp.float32) -> jax.Array:
    """Positive weights, (M,), whose sum is not M."""
    return jnp.asarray(np.random.default_rng(1).uniform(0.2, 2, M), dtype)


def distribution(targets: jax.Array, dtype: Any) -> jax.Array:
    """Targets as a distribution, (M, C)."""
    if targets.ndim == 1:
        return jax.nn.one_hot(targets, C, dtype=dtype)
    return targets.astype(dtype)


def loss(params: Params, x: jax.Array, targets: jax.Array, w: Any = None) -> jax.Array:
    """J."""
    logits = x @ params["weight"] + params["bias"][None, :]
    q = distribution(targets, logits.dtype)
    losses = -jnp.sum(q * jax.nn.log_softmax(logits), axis=1)
    w = jnp.ones(len(x), x.dtype) if w is None else w.astype(x.dtype)
    return jnp.sum(w * losses) / jnp.sum(w)


def right(params: Params, x: jax.Array, targets: jax.Array, w: Any = None) -> Params:
    """dJ/dparams, by hand."""
    logits = x @ params["weight"] + params["bias"][None, :]
    error = jax.nn.softmax(logits) - distribution(targets, logits.dtype)
    w = jnp.ones(len(x), x.dtype) if w is None else w.astype(x.dtype)
    error = error * (w / jnp.sum(w))[:, None]
    return {"bias": jnp.sum(error, axis=0), "weight": x.T @ error}


def spoiled(**changes: Change) -> Callable[..., dict[str, Any]]:
    """The right gradient with some leaves changed: spoiled(weight=lambda g: -g)."""

    def gradient(params: Params, *args: Any) -> dict[str, Any]:
        found = right(params, *args)
        return found | {name: change(found[name]) for name, change in changes.items()}

    return gradient


def check(
    gradient: Callable[..., Any], dtype: Any = jnp.float32, **options: Any
) -> Report:
    """`check_gradients` of a gradient of J at the point."""
    return check_gradients(loss, gradient, *point(dtype), **options)


def leaf_of(report: Report, path: str) -> Leaf:
    """The leaf of this name."""
    (leaf,) = (leaf for leaf in report.leaves if leaf.path == path)
    return leaf


def causes(report: Report) -> dict[str, str | None]:
    """Path -> cause, of the wrong leaves."""
    return {leaf.path: leaf.cause for leaf in report.wrong}


GRID = np.arange(1.0, 13.0).reshape(4, 3) ** 2
"""A truth of four rows and three columns, all of them different."""


def comparison(
    path: str,
    candidate: Any,
    truth: np.ndarray,
    floor: float = 1e-9,
    *,
    parameter: np.ndarray | None = None,
    dtype: str = "float64",
) -> Comparison:
    """Of a leaf that is its own gradient, or not; hardly anything is rounding."""
    floors = Floor(floor, floor, floor, floor)
    parameter = truth if parameter is None else parameter
    kind = np.dtype(jnp.dtype(dtype))
    return Comparison(path, parameter, np.asarray(candidate), truth, floors, kind)


def mismatch(*leaves: Comparison, args: tuple[Any, ...] = ()) -> Mismatch:
    """Leaves to explain, at a point with these other arguments."""
    params = {leaf.path: leaf.parameter for leaf in leaves}
    found = {leaf.path: leaf for leaf in leaves}
    wrong = [leaf.path for leaf in leaves if leaf.wrong]
    return Mismatch(Check(Point(loss, params, args), right), found, wrong)


def explained(
    hypothesis: Hypothesis, *leaves: Comparison, args: tuple[Any, ...] = ()
) -> dict[str, str]:
    """Path -> sentence of all claims of a hypothesis; of two on a leaf, the first."""
    texts: dict[str, str] = {}
    for claim in hypothesis(mismatch(*leaves, args=args)):
        texts = {**claim.explanations, **texts}
    return texts


def mismatch_of(*args: Any, **leaves: np.ndarray) -> Mismatch:
    """Leaves that are right, at a point with these arguments."""
    return mismatch(*(comparison(n, g, g) for n, g in leaves.items()), args=args)
