"""`check_vjp`: a forward and a backward function, in the order of jax.custom_vjp."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.gradients import check_gradients
from handgrad.gradcheck.report.report import Report
from handgrad.gradcheck.trees import dtype_of, is_array, is_floating


def check_vjp(
    function: Callable[..., Any],
    fwd: Callable[..., Any],
    bwd: Callable[..., Any],
    *primals: Any,
    nondiff_argnums: Sequence[int] = (),
    key: jax.Array | None = None,
    **options: Any,
) -> Report:
    """Check a hand-written vector-Jacobian product before registering it.

    With a random cotangent u of the output, ``bwd`` must return the gradient of
    <u, function(primals)>. Pass the plain function, not the `jax.custom_vjp` made of
    it: then autodiff of the plain function is the reference.

    Args:
      function: primals -> output, any pytree of arrays.
      fwd: primals -> (output, residuals).
      bwd: residuals, cotangent -> one cotangent per differentiable primal; None stands
        for zero. Non-differentiable arguments come first, as in `jax.custom_vjp`.
      primals: the arguments.
      nondiff_argnums: the positions that `jax.custom_vjp` is told are not
        differentiated.
      key: a PRNG key for the cotangent (and for more points); default 0.
      options: as in `check_gradients`.

    Returns:
      The report, with one group of leaves per differentiable primal. A ``fwd`` whose
      output is not the function's is a fault.

    Raises:
      TypeError: if ``bwd`` returns another number of cotangents, or ``fwd`` an output
        of another form than the function.

    Example:
      >>> report = check_vjp(
      ...     jnp.sin, lambda x: (jnp.sin(x), x), lambda x, u: (-u * jnp.cos(x),),
      ...     jnp.arange(1.0, 6.0),
      ... )
      >>> report.leaves[0].cause
      'sign'
    """
    key = jax.random.key(0) if key is None else key
    forward = fwd(*primals)[0]
    cotangent = _cotangent(key, forward)
    fixed = tuple(sorted(i % len(primals) for i in nondiff_argnums))
    moving = tuple(i for i in range(len(primals)) if i not in fixed)
    params = tuple(primals[i] for i in moving)

    def loss(params: tuple[Any, ...], u: Any) -> jax.Array:
        output = function(*_put(primals, moving, params))
        _check_form(forward, output)
        return _inner(u, output)

    def gradient(params: tuple[Any, ...], u: Any) -> tuple[jax.Array, Any]:
        output, residuals = fwd(*_put(primals, moving, params))
        cotangents = bwd(*(primals[i] for i in fixed), residuals, _match(u, output))
        return _inner(u, output), _full(cotangents, params)

    return check_gradients(loss, gradient, params, cotangent, key=key, **options)


def _put(
    primals: Sequence[Any], moving: Sequence[int], params: Sequence[Any]
) -> list[Any]:
    """The primals, of which those that move are replaced by ``params``."""
    merged = list(primals)
    for i, value in zip(moving, params, strict=True):
        merged[i] = value
    return merged


def _check_form(forward: Any, output: Any) -> None:
    shapes, expected = (jax.tree.map(np.shape, tree) for tree in (forward, output))
    if shapes != expected:
        raise TypeError(
            "`fwd` must return (output, residuals) with the output of the function, "
            f"whose shapes are {expected}, got {shapes}."
        )


def _cotangent(key: jax.Array, output: Any) -> Any:
    """Normal numbers in the shapes of the floating leaves of the output; None else."""
    seed = np.asarray(jax.random.key_data(key)).ravel().tolist()
    generator = np.random.default_rng(seed)

    def draw(leaf: Any) -> Any:
        if not is_floating(leaf):
            return None
        return jnp.asarray(generator.standard_normal(np.shape(leaf)), dtype_of(leaf))

    return jax.tree.map(draw, output)


def _inner(u: Any, output: Any) -> jax.Array:
    """<u, output> over the floating leaves, in float32, or float64 if there is any."""
    pairs = zip(_leaves(u), jax.tree.leaves(output), strict=True)
    live = [(weight, leaf) for weight, leaf in pairs if weight is not None]
    # mutants: nothing is wider
    double = any(dtype_of(leaf) == np.float64 for _, leaf in live)
    wide = jnp.float64 if double else jnp.float32
    total = jnp.zeros((), wide)
    for weight, leaf in live:
        total += jnp.sum(jnp.asarray(weight, wide) * jnp.asarray(leaf, wide))
    return total


def _match(u: Any, output: Any) -> Any:
    """The cotangent as JAX would pass it: float0 zeros for what is not floating."""

    def fill(weight: Any, leaf: Any) -> Any:
        if weight is None:
            return np.zeros(np.shape(leaf), jax.dtypes.float0)
        return weight

    filled = map(fill, _leaves(u), jax.tree.leaves(output))
    return jax.tree.unflatten(jax.tree.structure(output), list(filled))


def _leaves(u: Any) -> list[Any]:
    return jax.tree.leaves(u, is_leaf=lambda leaf: leaf is None)


def _full(cotangents: Any, params: tuple[Any, ...]) -> tuple[Any, ...]:
    """One cotangent per primal, None replaced by the zeros that it stands for."""
    several = isinstance(cotangents, tuple | list)
    if not several or len(cotangents) != len(params):
        size = len(cotangents) if several else type(cotangents).__name__
        raise TypeError(
            f"`bwd` must return a tuple of {len(params)}, one cotangent per "
            f"differentiable primal, got {size}. Return None where it is zero."
        )

    def zeros(leaf: Any) -> Any:
        if not (is_array(leaf) or isinstance(leaf, float)):
            return leaf
        return jnp.zeros_like(leaf)

    return tuple(
        jax.tree.map(zeros, primal) if part is None else part
        for part, primal in zip(cotangents, params, strict=True)
    )
