"""Any set of by-products with the gradient, each shared part computed once."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from handgrad.byproducts import moments, noise, per_sample
from handgrad.byproducts.curvature import ggn_diagonal, kronecker_factors
from handgrad.byproducts.health import health
from handgrad.byproducts.products import ggn_vector_product, hessian_vector_product
from handgrad.network.mlp import gradients
from handgrad.network.types import Deltas, Params, Trace, accumulation_dtype


def collect(
    trace: Trace,
    deltas: Deltas,
    what: Sequence[str] | Mapping[str, Mapping[str, Any]],
    *,
    weights: ArrayLike | None = None,
) -> dict[str, Any]:
    """The gradient, and the by-products that ``what`` names.

    Norms serve clipping and the noise scale, the second moment and the mean gradient
    serve the variance, and so on: no contraction is computed twice, under jit or not.
    In half precision the statistics have a mean gradient of their own, in float32. The
    Kronecker factors are those of ``deltas``: empirical, unless these were sampled.

    Args:
      trace, deltas, weights: of one backward pass; see `handgrad.byproducts`.
      what: names of by-products, or a mapping from names to what else their functions
        take: {"clipped_gradient": {"clip_norm": 1.0}, "ggn_diagonal": {"params": p}}.

    Returns:
      {"gradient": as `handgrad.gradients`, name: as the function of that name, ...}.

    Raises:
      ValueError: for an unknown name, or if trace, deltas and weights do not fit.
      TypeError: for an argument that the by-product does not take, or lacks.

    Example:
      >>> import jax.numpy as jnp
      >>> import handgrad
      >>> params = handgrad.init(jax.random.key(0), (4, 3, 2))
      >>> x, y = jnp.ones((5, 4)), jnp.array([0, 1, 0, 1, 1])
      >>> trace = handgrad.forward(params, x)
      >>> errors = handgrad.deltas(params, trace, y)
      >>> found = collect(trace, errors, ["per_sample_norms", "variance"])
      >>> sorted(found), found["per_sample_norms"].shape
      (['gradient', 'per_sample_norms', 'variance'], (5,))
    """
    if isinstance(what, str):
        what = [what]
    options = dict(what) if isinstance(what, Mapping) else dict.fromkeys(what, {})
    recipes = _recipes(trace, deltas, weights)
    unknown = [name for name in options if name not in recipes]
    if unknown:
        raise ValueError(
            f"`what` must name by-products, of {', '.join(recipes)}; got {unknown}."
        )
    return {
        name: recipes[name](**options.get(name, {}))
        for name in dict.fromkeys(["gradient", *options])
    }


def _recipes(
    trace: Trace, deltas: Deltas, weights: ArrayLike | None
) -> dict[str, Callable[..., Any]]:
    """Every by-product as a function of its own arguments, over what they share."""

    @functools.cache
    def mean() -> Params:
        return moments.mean_gradient(trace, deltas, weights=weights)

    @functools.cache
    def moment() -> Params:
        return moments.second_moment(trace, deltas, weights=weights)

    @functools.cache
    def squares() -> jax.Array:
        return per_sample.squared_norms(trace, deltas, weights)

    def norms(*, per_layer: bool = False) -> jax.Array:
        return jnp.sqrt(squares() if per_layer else squares().sum(axis=1))

    def gradient() -> Params:
        if trace.logits.dtype == accumulation_dtype(trace.logits.dtype):
            return mean()
        return gradients(trace, deltas, weights=weights)

    def clipped(*, per_layer: bool = False, **options: Any) -> Params:
        return per_sample.clip_by(
            norms(per_layer=per_layer), trace, deltas, weights=weights, **options
        )

    def of_model(function: Callable[..., Any], *more: Any) -> Callable[..., Any]:
        def with_params(*, params: Params, **options: Any) -> Any:
            return function(params, trace, *more, weights=weights, **options)

        return with_params

    def variance() -> Params:
        return moments.centred(moment(), mean())

    return {
        "gradient": gradient,
        "per_sample_gradients": lambda: per_sample.per_sample_gradients(
            trace, deltas, weights=weights
        ),
        "per_sample_norms": norms,
        "clipped_gradient": clipped,
        "second_moment": moment,
        "fisher_diagonal": moment,
        "variance": variance,
        "gradient_snr": lambda: moments.signal_to_noise(mean(), variance()),
        "noise_scale": lambda: noise.noise_from(norms(), mean(), weights),
        "kronecker_factors": lambda: kronecker_factors(trace, deltas, weights=weights),
        "health": functools.partial(health, trace, deltas),
        "ggn_diagonal": of_model(ggn_diagonal),
        "ggn_vector_product": of_model(ggn_vector_product),
        "hessian_vector_product": of_model(hessian_vector_product, deltas),
    }
