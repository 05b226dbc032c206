"""Any set of by-products with the gradient, each shared part computed once."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from handgrad.byproducts import moments, noise, per_sample
from handgrad.byproducts.curvature import deltas_of_roots, kronecker_factors
from handgrad.byproducts.health import health
from handgrad.byproducts.products import ggn_product, hessian_vector_product
from handgrad.network.mlp import gradients
from handgrad.network.samples import as_gradient
from handgrad.network.types import Deltas, Params, Trace, accumulation_dtype


def collect(
    trace: Trace,
    deltas: Deltas,
    what: str | Sequence[str] | Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The gradient, and the by-products that ``what`` names.

    Norms serve clipping and the noise scale, the second moment and the mean gradient
    serve the variance, and so on: no contraction is computed twice, under jit or not.
    In half precision the statistics have a mean gradient of their own, in float32. The
    Kronecker factors are those of ``deltas``: empirical, unless these were sampled.

    Args:
      trace, deltas: of one backward pass; see `handgrad.byproducts`.
      what: a name of a by-product, several, or a mapping from names to what else their
        functions take: {"clipped_gradient": {"clip_norm": 1.0}, "ggn_diagonal":
        {"params": p}}.

    Returns:
      {"gradient": as `handgrad.gradients`, name: as the function of that name, ...}.

    Raises:
      ValueError: for an unknown name, or if trace and deltas do not fit.
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
    recipes = _recipes(trace, deltas)
    unknown = [name for name in options if name not in recipes]
    if unknown:
        raise ValueError(
            f"`what` must name by-products, of {', '.join(recipes)}; got {unknown}."
        )
    for name, arguments in options.items():
        _check_arguments(name, recipes[name], arguments)
    return {
        name: recipes[name](**options.get(name, {}))
        for name in dict.fromkeys(["gradient", *options])
    }


def _check_arguments(
    name: str, recipe: Callable[..., Any], arguments: Mapping[str, Any]
) -> None:
    """What this by-product takes beside trace and deltas."""
    takes = inspect.signature(recipe).parameters
    lacks = [
        argument
        for argument, parameter in takes.items()
        if parameter.default is parameter.empty and argument not in arguments
    ]
    strange = [argument for argument in arguments if argument not in takes]
    if lacks or strange:
        example = ", ".join(f"{argument!r}: ..." for argument in takes)
        raise TypeError(
            f"`what` must give {name} its arguments, {{{name!r}: {{{example}}}}}: "
            + "; ".join(
                [f"{argument} is missing" for argument in lacks]
                + [f"{argument} is none of them" for argument in strange]
            )
            + "."
        )


def _recipes(trace: Trace, deltas: Deltas) -> dict[str, Callable[..., Any]]:
    """Every by-product as a function of its own arguments, over what they share."""

    @functools.cache
    def mean() -> Params:
        return moments.mean_gradient(trace, deltas)

    @functools.cache
    def moment() -> Params:
        return moments.second_moment(trace, deltas)

    @functools.cache
    def layer_norms() -> jax.Array:
        return per_sample.layer_norms(trace, deltas)

    def norms(*, per_layer: bool = False) -> jax.Array:
        found = layer_norms()
        return found if per_layer else per_sample.joint_norm(found)

    def gradient() -> Params:
        dtype = trace.logits.dtype
        if dtype == accumulation_dtype(dtype):
            return as_gradient(mean(), trace, deltas)
        return gradients(trace, deltas)

    def clipped_gradient(
        *,
        clip_norm: Any,
        per_layer: bool = False,
        automatic: bool = False,
        gamma: Any = 0.01,
        divide_by: Any = None,
    ) -> Params:
        return per_sample.clip_by(
            norms(per_layer=per_layer),
            trace,
            deltas,
            clip_norm=clip_norm,
            automatic=automatic,
            gamma=gamma,
            divide_by=divide_by,
        )

    def variance() -> Params:
        return moments.centred(moment(), mean())

    def ggn_diagonal(*, params: Params) -> Params:
        roots = deltas_of_roots(params, trace, deltas.row_sums, deltas.weights)
        return moments.second_moment(trace, roots)

    def ggn_vector_product(*, params: Params, vector: Params) -> Params:
        return ggn_product(params, trace, vector, deltas.row_sums, deltas.weights)

    def hessian_product(*, params: Params, vector: Params) -> Params:
        return hessian_vector_product(params, trace, deltas, vector)

    def health_of(*, saturation: Any = 0.01) -> Any:
        return health(trace, deltas, saturation=saturation)

    return {
        "gradient": gradient,
        "per_sample_gradients": lambda: per_sample.per_sample_gradients(trace, deltas),
        "per_sample_norms": norms,
        "clipped_gradient": clipped_gradient,
        "second_moment": moment,
        "variance": variance,
        "gradient_snr": lambda: moments.signal_to_noise(mean(), variance()),
        "noise_scale": lambda: noise.noise_from(norms(), mean(), deltas),
        "kronecker_factors": lambda: kronecker_factors(trace, deltas),
        "health": health_of,
        "ggn_diagonal": ggn_diagonal,
        "ggn_vector_product": ggn_vector_product,
        "hessian_vector_product": hessian_product,
    }
